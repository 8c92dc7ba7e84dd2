"""The matrices are those of the model's own parameters, whatever their arrangement, or they are absent with a reason."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from einops import rearrange

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.affine import attention_map
from mnemoscope.model.lm import view
from mnemoscope.model.seams import AttentionCall, attention_seam, module_seam
from mnemoscope.model.tiny import TWELVE, tiny
from mnemoscope.model.weights import (
    W_E,
    W_K,
    W_O,
    W_Q,
    W_U,
    W_V,
    b_K,
    b_O,
    b_Q,
    b_U,
    b_V,
    embedding_multiplier,
    weight_reason,
)

NORMED = ("qwen3", "gemma3_text", "olmo2", "deepseek_v3")  # q and k pass a norm


def close(found: torch.Tensor, true: torch.Tensor) -> None:
    torch.testing.assert_close(found, true.detach(), rtol=1e-5, atol=2e-6)


def per_head(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """A linear layer's weight [out, in] as [head, in, width]."""
    return rearrange(weight, "(head width) d_model -> head d_model width", head=heads)


@pytest.mark.parametrize(
    ("name", "kv_heads"), [("llama", 2), ("mixtral", 2), ("gemma2", 2), ("gpt_oss", 2), ("phi", 4)]
)
def test_separate_projections(name: str, kv_heads: int, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    attention = lm.attentions[1]
    yarn = lm.model.model.rotary_emb.attention_scaling  # 1 for all but gpt_oss
    assert (yarn != 1) == (name == "gpt_oss")
    close(W_Q(lm, 1), per_head(attention.q_proj.weight, 4) * yarn)
    close(W_K(lm, 1), per_head(attention.k_proj.weight, kv_heads) * yarn)
    close(W_V(lm, 1), per_head(attention.v_proj.weight, kv_heads))
    out = attention.dense if name == "phi" else attention.o_proj
    close(W_O(lm, 1), rearrange(out.weight, "d_model (head width) -> head width d_model", head=4))


def test_fused_and_transposed(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("gpt2")
    fused = lm.attentions[2].c_attn
    q, k, v = fused.weight.split(64, dim=1)
    for found, part in ((W_Q(lm, 2), q), (W_K(lm, 2), k), (W_V(lm, 2), v)):
        close(found, rearrange(part, "d_model (head width) -> head d_model width", head=4))
    biases = rearrange(fused.bias, "(which head width) -> which head width", which=3, head=4)
    for found, part in zip((b_Q(lm, 2), b_K(lm, 2), b_V(lm, 2)), biases, strict=True):
        close(found, part)
    close(W_O(lm, 2), rearrange(lm.attentions[2].c_proj.weight, "(head width) d -> head width d", head=4))
    close(b_O(lm, 2), lm.attentions[2].c_proj.bias)


def test_interleaved(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("gpt_neox")
    fused = lm.attentions[0].query_key_value
    parts = rearrange(fused.weight, "(head which width) d_model -> which head d_model width", which=3, head=4)
    biases = rearrange(fused.bias, "(head which width) -> which head width", which=3, head=4)
    for i, (W, b) in enumerate(((W_Q, b_Q), (W_K, b_K), (W_V, b_V))):
        close(W(lm, 0), parts[i])
        close(b(lm, 0), biases[i])


def test_opt_scales_its_queries(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("opt")
    attention = lm.attentions[0]
    close(W_Q(lm, 0), per_head(attention.q_proj.weight, 4) * attention.scaling)
    close(b_Q(lm, 0), rearrange(attention.q_proj.bias, "(head width) -> head width", head=4) * attention.scaling)


@pytest.mark.parametrize("name", TWELVE)
def test_z_through_W_O_is_what_attention_gives(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    zs: list[torch.Tensor] = []
    outs: list[torch.Tensor] = []

    def handler(call: AttentionCall) -> Any:
        z, pattern = call()
        zs.append(z)
        return z, pattern

    modules = {"attention": lm.attentions[1]}
    with (
        torch.no_grad(),
        attention_seam({lm.attentions[1]: 1}, handler),
        module_seam(modules, after=lambda _, output: outs.append(output[0])),
    ):
        lm.model(input_ids=torch.arange(4, 12)[None], use_cache=False)
    rebuilt = torch.einsum("bqhd,hdm->bqm", zs[0], W_O(lm, 1)) + b_O(lm, 1)
    torch.testing.assert_close(rebuilt, outs[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NORMED)
def test_no_matrix_where_a_norm_stands(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    with pytest.raises(UnsupportedError, match=r"has no W_Q in layer 0 .* not an affine function of its input"):
        W_Q(lm, 0)
    assert weight_reason(lm, "W_K") == "it is not an affine function of its input"
    assert (weight_reason(lm, "W_V") == "") == (name != "deepseek_v3")  # its values come out of a normed latent
    assert weight_reason(lm, "W_O") == ""
    assert "no W_Q in layers 0, 1, 2" in lm.reason("weights")


def test_no_matrix_where_a_gate_or_no_attention_stands(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("qwen3_next")
    assert "gated" in weight_reason(lm, "W_O", 2)
    assert "no attention on the attention interface" in weight_reason(lm, "W_V", 0)


def test_a_bias_far_larger_than_the_weights_leaves_them_exact() -> None:
    """Real models have key biases of hundreds beside weights of hundredths; in bfloat16 one unit would drown them."""
    model = tiny("qwen2", dtype=torch.bfloat16)
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.bias.fill_(300.0)
    lm = view(model)
    true = per_head(model.model.layers[0].self_attn.k_proj.weight, 2).detach()
    error = (W_K(lm, 0).float() - true.float()).norm() / true.float().norm()
    assert float(error) < 1e-2
    assert attention_map(lm, 0, "W_K").error < 64 * torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("name", TWELVE)
def test_embedding_and_unembedding(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    # Gemma multiplies its embeddings by sqrt(d_model); gemma2 behind the embedding, gemma3 inside it
    factor = 8.0 if name in ("gemma2", "gemma3_text") else 1.0
    close(W_E(lm), lm.model.get_input_embeddings().weight * factor)
    close(W_U(lm), lm.model.get_output_embeddings().weight.T)
    bias = lm.model.get_output_embeddings().bias
    close(b_U(lm), torch.zeros(211) if bias is None else bias)


def test_logit_scale_is_in_W_U(tiny_lm: Callable[..., Any]) -> None:
    cohere, granite = tiny_lm("cohere"), tiny_lm("granite", logits_scaling=4.0, embedding_multiplier=3.0)
    close(W_U(cohere), cohere.model.lm_head.weight.T * cohere.model.config.logit_scale)
    close(W_U(granite), granite.model.lm_head.weight.T / 4.0)
    assert embedding_multiplier(granite) == 3.0


def test_no_W_E_where_a_norm_stands_behind_it(tiny_lm: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"has no W_E .* no multiple of the embedding"):
        W_E(tiny_lm("bloom"))
