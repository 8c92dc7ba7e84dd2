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
_DRAFT = "a drafting head that reads the states of another model"
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
    | dict.fromkeys(["gemma4_assistant", "gemma4_unified_assistant"], _DRAFT)
)

# Decoders that no tiny model is made of, and why.
UNBUILT: Final = MappingProxyType(
    {
        "blt": "five nested models over bytes, patched by entropy; none of them is a decoder by itself",
        "dots3_note": "its configuration cannot be cut to fewer layers; dots3_note_text is the same decoder",
        "gemma3n": "its vision tower needs the timm library; gemma3n_text is the same decoder",
    }
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
    | dict.fromkeys(("mamba_chunk_size", "chunk_size", "mamba_n_heads", "mamba_num_heads", "num_heads"), 4)
    | dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 32)  # 4 x 32 = expand 2 x 64
    | dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "index_topk", "indexer_budget"), 8)
    | dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups", "n_group", "topk_group", "num_expert_group"), 1)
    | dict.fromkeys(
        (
            "moe_intermediate_size",
            "shared_expert_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "shared_intermediate_size",
            "expert_ffn_hidden_size",
            "shared_experts_intermediate_size",
        ),
        48,
    )
    | dict.fromkeys(("dff", "dim_ff", "d_inner", "dense_intermediate_size", "intermediate_size_mlp"), 96)
    | dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "index_head_dim"), 16)
    | dict.fromkeys(("linear_num_value_heads", "linear_num_heads"), 4)
    | dict.fromkeys(("linear_num_key_heads", "index_n_heads", "num_experts_per_token", "zero_expert_num"), 2)
    | {
        "vocab_size": 211,
        "vocab_size_per_layer_input": 211,
        "hidden_size_per_layer_input": 16,
        "laurel_rank": 8,
        "head_dim": 32,
        "rotary_dim": 8,
        "kv_channels": 16,
        "word_embed_proj_dim": 64,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "o_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 12,
        "qk_head_dim": 20,
        "v_head_dim": 16,
        "first_k_dense_replace": 1,
        "global_head_dim": 32,
        "prefix_dense_intermediate_size": 96,
    }
)
# Set even where the default leaves them out: then the class computes them from other sizes.
OPTIONAL_SIZES: Final = ("head_dim", "num_key_value_heads", "sliding_window")
# The parts of a multimodal model that a text never reaches.
UNREACHED_SIZES: Final = MappingProxyType(
    dict.fromkeys(("hidden_size", "embed_dim", "intermediate_size", "output_channels", "out_hidden_size"), 32)
    | dict.fromkeys(("num_hidden_layers", "depth", "num_blocks", "encoder_layers"), 1)
    | dict.fromkeys(("num_attention_heads", "num_heads", "encoder_attention_heads"), 2)
    | {"image_size": 28, "patch_size": 14, "crop_size": 28, "encoder_ffn_dim": 32, "d_model": 32}
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

_WINDOWED = {
    "use_sliding_window": True,
    "max_window_layers": 1,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

_INDEXED = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 32,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}

# What one family needs beyond its sizes, each with the reason.
SPECIAL: Final[MappingProxyType[str, dict[str, Any]]] = MappingProxyType(
    {
        # its configuration insists on token ids
        **dict.fromkeys(("cwm", "emu3", "mllama", "modernbert-decoder"), _IDS),
        # layer types that its default configuration does not show
        "qwen2": _WINDOWED,
        "qwen2_moe": _WINDOWED,
        "bamba": {"attn_layer_indices": [1]},
        "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
        "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
        "lfm2": {"full_attn_idxs": None, "layer_types": ["conv", "full_attention", "conv"]},
        "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1},
        "gemma3n_text": {
            "num_hidden_layers": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,  # the last two take keys and values from the first two
            "intermediate_size": [96] * 4,
            "activation_sparsity_pattern": [0.9, 0.0, 0.0, 0.0],
        },
        # sizes that its default configuration leaves open, or that only it has
        "deepseek_v2": {"num_experts_per_tok": 2},
        "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
        "dbrx": {
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
            "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 48},
        },
        "falcon_h1": {"mamba_d_ssm": 128},
        "zamba2": {"mamba_headdim": 16},
        "qwen4_exp": _INDEXED,
        "qwen4_exp_text": _INDEXED,
        "zamba": {
            "num_hidden_layers": 5,  # its shared block has to appear twice
            "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention", "hybrid"],
        },
        "reformer": {
            "is_decoder": True,
            "attn_layers": ["local", "lsh", "local"],
            "axial_pos_embds": False,
            "attention_head_size": 16,
            "feed_forward_size": 96,
        },
        "dots3_note_text": {
            "per_layer_config": {2: {**_LATENT, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 20}}
        },
        # sizes that its code ties together
        "helium": {"head_dim": 16},
        "zaya": {"num_experts_per_tok": 1},
        "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
        # its forward pass compares ids with the padding id
        "gemma4": _IDS,
        "gemma4_unified": _IDS,
    }
)
