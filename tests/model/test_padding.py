"""Each prompt of a batch has the numbers it has alone, on both sides, or the side is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnemoscope.model.batch import batch_of_ids, forward_inputs
from mnemoscope.model.lm import LM, view
from mnemoscope.model.padding import padding_reason
from mnemoscope.model.tiny import TWELVE, tiny

BROKEN_BY_LEFT_PADDING = ("gpt2", "gpt-sw3", "biogpt", "ctrl", "gpt_bigcode", "openai-gpt", "xglm")
ROWS = [(5, 6, 7, 8), (9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19), (20,), (21, 22, 23, 24, 25, 26, 27, 28)]


def together_and_alone(lm: LM, side: str) -> tuple[float, float]:
    """Largest difference of any logit of any prompt's token, and the largest logit."""
    batch = batch_of_ids(lm, ROWS, padding=side)
    worst, largest = 0.0, 0.0
    with torch.no_grad():
        padded = lm.model(**forward_inputs(lm, batch), use_cache=False).logits
        for i, row in enumerate(ROWS):
            alone = lm.model(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()
            start = int(batch.first[i])
            worst = max(worst, float((padded[i, start : start + len(row)].float() - alone).abs().max()))
            largest = max(largest, float(alone.abs().max()))
    return worst, largest


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", sorted({*TWELVE, *BROKEN_BY_LEFT_PADDING}))
def test_padded_is_alone(name: str, side: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    assert padding_reason(lm, side) == ""
    worst, largest = together_and_alone(lm, side)
    assert worst <= 32 * torch.finfo(torch.float32).eps * largest


@pytest.mark.parametrize("name", BROKEN_BY_LEFT_PADDING)
def test_what_other_tools_do_is_wrong_here(name: str, tiny_lm: Callable[..., Any]) -> None:
    """Left padding with nothing, and for most with only a mask, moves the logits by far more than rounding."""
    lm = tiny_lm(name)
    row = ROWS[0]
    ids = torch.tensor([[0] * 5 + list(row)])
    with torch.no_grad():
        alone = lm.model(input_ids=torch.tensor([row]), use_cache=False).logits
        naive = lm.model(input_ids=ids, use_cache=False).logits[:, 5:]
    assert float((naive - alone).abs().max()) > 0.1


@pytest.mark.parametrize("name", ["rwkv", "cpmant"])
def test_models_that_stay_wrong_are_refused(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    assert "left padding moves its logits" in padding_reason(lm, "left")
    assert "left padding moves its logits" in lm.reason("padding")


def test_a_real_model_in_half_precision(stories: Any) -> None:
    from mnemoscope.model.load import load

    for dtype in ("float32", "bfloat16"):
        lm = load(str(stories), dtype=dtype, device="cpu")
        assert lm.reason("padding") == ""
        for side in ("left", "right"):
            worst, largest = together_and_alone(lm, side)
            assert worst <= 32 * torch.finfo(lm.dtype).eps * largest


def test_rotary_that_follows_the_batch_is_bucketed_not_padded() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    lm = view(tiny("llama", rope_parameters=rope, max_position_embeddings=8))
    assert padding_reason(lm, "right", width=8) == padding_reason(lm, "right")
    assert "longest prompt of a batch beyond 8" in padding_reason(lm, "right", width=9)
