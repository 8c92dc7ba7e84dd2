"""The head that is rebuilt gives the model's own logits, and its facts are those of the model's parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnemoscope.errors import PromptError, UnsupportedError
from mnemoscope.model.head import final_norm, normed, unembed, unembedding
from mnemoscope.model.seams import block_seam
from mnemoscope.model.tiny import TWELVE
from mnemoscope.model.weights import W_U, b_U

LAYER_NORM = ("gpt2", "opt", "gpt_neox", "phi")
CAPPED = {"gemma2": 30.0, "nanochat": 15.0}
MORE = ("cohere", "granite", "openai-gpt", "inkling_text", "nanochat", "stablelm")
IDS = torch.tensor([[4, 9, 2, 77, 5, 1], [8, 8, 6, 120, 30, 3]])


def observed(lm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The stream after the last block, and the model's logits."""
    kept: list[torch.Tensor] = []
    with torch.no_grad(), block_seam(lm.blocks[-1:], after=lambda _, resid: kept.append(resid)):
        logits = lm.model(input_ids=IDS, use_cache=False).logits
    return kept[0], logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*TWELVE, *MORE])
def test_unembed_is_the_models_own(name: str, dtype: torch.dtype, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name, dtype)
    resid, logits = observed(lm)
    tokens = torch.tensor([7, 200, 7, 0])
    with torch.no_grad():
        everything, some = unembed(lm, resid), unembed(lm, resid, tokens)
    allowed = 8 * torch.finfo(dtype).eps * float(logits.abs().max())
    assert float((everything - logits).abs().max()) <= allowed
    assert float((some - logits[..., tokens]).abs().max()) <= allowed
    assert unembedding(lm).softcap == (pytest.approx(CAPPED[name]) if name in CAPPED else None)


@pytest.mark.parametrize("name", [n for n in [*TWELVE, *MORE] if n not in CAPPED])
def test_normed_stream_times_W_U_is_the_logits(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    resid, logits = observed(lm)
    head = unembedding(lm)
    with torch.no_grad():
        x = normed(lm, resid) / (head.head.multiplier if head.head else 1.0)  # W_U holds the multiplier
        torch.testing.assert_close(x @ W_U(lm) + b_U(lm), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TWELVE)
def test_norm_facts_rebuild_the_norm(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name, torch.float64)
    resid, _ = observed(lm)
    norm = final_norm(lm)
    assert norm is not None
    assert norm.reason == ""
    assert norm.kind == ("layer" if name in LAYER_NORM else "rms")
    x = resid - resid.mean(-1, keepdim=True) if norm.centres else resid
    rebuilt = norm.gain * x / norm.scale(resid) + norm.bias
    tolerance = 1e-12 if name in LAYER_NORM else 1e-6  # rms norms compute in float32 whatever the model's type
    with torch.no_grad():
        assert float((rebuilt - norm.module(resid)).abs().max()) <= tolerance * float(rebuilt.abs().max()) * 10


def test_gain_and_epsilon_are_the_parameters(tiny_lm: Callable[..., Any]) -> None:
    gemma, llama, gpt2 = (final_norm(tiny_lm(name)) for name in ("gemma2", "llama", "gpt2"))
    assert gemma is not None and llama is not None and gpt2 is not None  # noqa: PT018
    assert torch.equal(gemma.gain, 1 + gemma.module.weight.detach().double())
    assert torch.equal(llama.gain, llama.module.weight.detach().double())
    assert torch.equal(gpt2.bias, gpt2.module.bias.detach().double())
    assert gemma.eps == pytest.approx(1e-6, rel=1e-3)
    assert gpt2.eps == pytest.approx(1e-5, rel=1e-3)


def test_what_is_not_understood_is_refused(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("cpmant")
    assert "the stream has the shape" in unembedding(lm).reason
    assert "lost between the last block" in unembedding(tiny_lm("inkling2_text")).reason
    with pytest.raises(UnsupportedError, match="not understood"):
        unembed(lm, torch.zeros(1, 1, 64))
    with pytest.raises(PromptError, match="outside the vocabulary"):
        unembed(tiny_lm("llama"), torch.zeros(1, 1, 64), torch.tensor([211]))
