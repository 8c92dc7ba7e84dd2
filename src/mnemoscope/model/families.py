"""Facts about families that cannot be discovered: which classes are no decoders, and sizes that only one family needs.

One frozen value per family, each with its reason. Nothing here is read when a model of the user is observed; it serves
the tiny random models on which that is tested.
"""

from types import MappingProxyType
from typing import Any, Final

TWELVE: Final = (
    "gpt2",
    "opt",
    "gpt_neox",
    "llama",
    "qwen3",
    "gemma2",
    "gemma3_text",
    "phi",
    "olmo2",
    "mixtral",
    "gpt_oss",
    "deepseek_v3",
)

_SEQ2SEQ = "the decoder half of an encoder-decoder model"
_ENCODER = "an encoder; causal only when configured against its training"
NOT_DECODERS: Final = MappingProxyType(
    dict.fromkeys(
        [
            "bart",
            "bigbird_pegasus",
            "blenderbot",
            "blenderbot-small",
            "marian",
            "mbart",
            "mvp",
            "pegasus",
            "plbart",
            "prophetnet",
            "trocr",
            "whisper",
            "musicgen",
            "musicgen_melody",
        ],
        _SEQ2SEQ,
    )
    | dict.fromkeys(
        [
            "bert",
            "bert-generation",
            "big_bird",
            "camembert",
            "data2vec-text",
            "electra",
            "ernie",
            "megatron-bert",
            "rembert",
            "roberta",
            "roberta-prelayernorm",
            "roc_bert",
            "roformer",
            "xlm-roberta",
            "xlm-roberta-xl",
            "xmod",
            "xlm",
        ],
        _ENCODER,
    )
)

# A size is chosen by its name in the configuration. Awkward on purpose: 4 heads of 32 on a stream of 64 (explicit
# width), 2 kv heads, a window of 6, 211 words.
SIZES: Final = MappingProxyType(
    dict.fromkeys(("hidden_size", "d_model", "n_embd"), 64)
    | dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads"), 4)
    | dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2)
    | dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"), 96)
    | dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 64)
    | dict.fromkeys(("sliding_window", "attention_chunk_size"), 6)
    | dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4)
    | dict.fromkeys(("num_experts_per_tok", "top_k_experts", "moe_topk", "moe_k"), 2)
    | {
        "vocab_size": 211,
        "head_dim": 32,
        "moe_intermediate_size": 48,
        "shared_expert_intermediate_size": 48,
        "word_embed_proj_dim": 64,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 12,
        "v_head_dim": 16,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    }
)

_COMMON = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 211,
    "max_position_embeddings": 64,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "intermediate_size": 96}
_LATENT = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 12, "v_head_dim": 16}
_ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 48}

# Written out, so that the classes everything is tested on do not change when a rule does.
EXPLICIT: Final = MappingProxyType(
    {
        "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 211, "n_positions": 64},
        "opt": {**_COMMON, "ffn_dim": 96, "word_embed_proj_dim": 64},
        "gpt_neox": {**_COMMON, "intermediate_size": 96},
        "llama": {**_GROUPED, "head_dim": 24},
        "qwen3": {**_GROUPED, "head_dim": 32},
        "gemma2": {**_GROUPED, "head_dim": 24, "sliding_window": 6, "query_pre_attn_scalar": 20},
        "gemma3_text": {
            **_GROUPED,
            "head_dim": 24,
            "sliding_window": 6,
            "query_pre_attn_scalar": 20,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "phi": {**_COMMON, "intermediate_size": 96},
        "olmo2": _GROUPED,
        "mixtral": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6},
        "gpt_oss": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 24, "sliding_window": 6},
        "deepseek_v3": {**_GROUPED, "num_key_value_heads": 4, **_LATENT, **_ROUTED, "first_k_dense_replace": 1},
    }
)

# What one family needs beyond its sizes, each with the reason.
SPECIAL: Final[MappingProxyType[str, dict[str, Any]]] = MappingProxyType({})
