"""Parts sum to the stream and to the logits; single parts are what a computation by hand gives."""

from functools import cache

import pytest
import torch

from mnemoscope.engine.decompose import Decomposition, decompose
from mnemoscope.engine.record import trace
from mnemoscope.errors import OptionError, UnsupportedError
from mnemoscope.model.head import capped, unembedding
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import TWELVE, tiny

IDS = torch.randint(0, 211, (2, 9), generator=torch.Generator().manual_seed(1))
LAYER_NORM = ("gpt2", "opt", "gpt_neox", "phi")


@cache
def lm_of(name: str, dtype: torch.dtype = torch.float32, **overrides: object) -> LM:
    model = tiny(name, dtype=dtype, **overrides)
    if dtype == torch.float64:
        model.set_experts_implementation("eager")
    return view(model, name=name)


def rebuilt(parts: Decomposition) -> torch.Tensor:
    """Logits from the parts: sum, unembed, scale, cap."""
    lm, head = parts.lm, unembedding(parts.lm)
    stream = parts.normed().sum(0) + parts.norm_bias
    weight = head.head.module.weight.to(stream.dtype)
    bias = head.head.module.bias
    raw = stream @ weight.T * head.head.multiplier
    return capped(lm, (raw if bias is None else raw + bias.to(raw)) * head.scale).detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TWELVE)
def test_parts_sum_to_the_logits(name: str, dtype: torch.dtype) -> None:
    lm = lm_of(name, dtype)
    with torch.no_grad():
        own = lm.model(input_ids=IDS, use_cache=False).logits.double()
    found = decompose(lm, IDS, "all")
    exact = {torch.float64: 1e-9 if name in LAYER_NORM else 1e-5, torch.float32: 1e-4, torch.bfloat16: 0.2}[dtype]
    assert float((rebuilt(found).double() - own).abs().max()) <= exact
    assert len([c for c in found.components if c.kind == "head"]) == lm.n_layers * lm.n_heads
    assert found.notes == ()


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_oss", "phi"])
def test_reading_along_a_direction_is_the_product_with_the_outputs(name: str) -> None:
    found = decompose(lm_of(name), IDS, "all")
    direction = torch.randn(found.whole.shape, generator=torch.Generator().manual_seed(2))
    expected = torch.einsum("cbpd,bpd->cbp", found.normed(), direction)
    torch.testing.assert_close(found.read(direction), expected, atol=2e-5, rtol=1e-4)


def test_a_head_is_z_times_its_rows_of_the_projection() -> None:
    lm = lm_of("llama")
    found = decompose(lm, IDS)
    z = trace(lm, IDS, ("z",))["z"]
    outputs = found.outputs()
    for layer, block in enumerate(lm.model.model.layers):
        for head in range(4):
            rows = block.self_attn.o_proj.weight.T[head * 24 : (head + 1) * 24]
            (place,) = found.select(kind="head", layer=layer, head=head)
            torch.testing.assert_close(outputs[place], (z[layer, :, :, head] @ rows).detach(), atol=1e-5, rtol=1e-5)


def test_embeddings_and_biases_are_parts_of_their_own() -> None:
    lm = lm_of("gpt2")
    found = decompose(lm, IDS)
    outputs = found.outputs()
    names = [str(c) for c in found.components]
    body = lm.model.transformer
    torch.testing.assert_close(outputs[names.index("embed")][:, 0], body.wte.weight[IDS[:, -1]].detach())
    torch.testing.assert_close(outputs[names.index("wpe")][0, 0], body.wpe.weight[IDS.shape[1] - 1].detach())
    torch.testing.assert_close(outputs[names.index("L1.attn_bias")][0, 0], body.h[1].attn.c_proj.bias.detach())


def test_a_post_norm_is_held_at_its_scale() -> None:
    lm = lm_of("olmo2")
    found = decompose(lm, IDS, "all")
    added = trace(lm, IDS, ("attn_out",), "all")["attn_out"]
    for layer in range(lm.n_layers):
        heads = found.outputs()[found.select(kind="head", layer=layer)].sum(0)
        torch.testing.assert_close(heads, added[layer], atol=1e-5, rtol=1e-4)


def test_residual_multipliers_are_in_the_parts() -> None:
    lm = lm_of("granite", residual_multiplier=0.22)
    found = decompose(lm, IDS)
    added = trace(lm, IDS, ("mlp_out",))["mlp_out"]
    (place,) = found.select(kind="mlp", layer=1)
    torch.testing.assert_close(found.outputs()[place], added[1], atol=1e-6, rtol=1e-5)


def test_unseparable_heads_are_one_part_with_a_reason() -> None:
    found = decompose(lm_of("diffllama"), IDS)
    assert {c.kind for c in found.components} == {"embed", "attn", "mlp"}
    assert "not separable" in found.notes[0]


def test_what_is_no_sum_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="post-layer-norm"):
        decompose(lm_of("openai-gpt"), IDS)
    found = decompose(lm_of("gpt2"), IDS)
    with pytest.raises(OptionError, match="no component"):
        found.select(kind="head", layer=7)
    with pytest.raises(OptionError, match="another shape"):
        found.read(torch.zeros(2, 3, 64))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pretrained_model(stories, dtype: str) -> None:
    from mnemoscope.model.load import load

    lm = load(str(stories), dtype=dtype)
    found = decompose(lm, ["Once upon a time, there was a little girl named Lily. She"], "all")
    with torch.no_grad():
        own = lm.model(found.batch.ids, use_cache=False).logits
    assert float((rebuilt(found) - own).abs().max()) <= (1e-4 if dtype == "float32" else 0.3)
    assert found.notes == ()
