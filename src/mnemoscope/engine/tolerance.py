"""How far two evaluations may differ that are equal in mathematics: one table, derived from a measured noise floor.

    tolerance = max(3 x floor, 32 eps(dtype) max|logit|)

The floor is the largest difference among evaluations of the unmodified model: a prompt alone, beside another, padded on
either side, and continued from the model's own cache. Nothing of the engine takes part in it: an engine that is wrong
must not raise its own tolerance. Nor does a model's own fault: an evaluation further off than rounding can explain (a
cache that forgets, a mask that is ignored) is not equal in mathematics for this model, and does not count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padded_inputs, padding_reason
from mnemoscope.model.seams import module_seam

FLOORS = 3.0  # a difference of three floors is still called rounding
ROUNDINGS = 32.0  # units in the last place of the largest logit


def tolerance(floor: float, dtype: torch.dtype, logit_scale: float) -> float:
    """Largest difference in logits that counts as rounding. logit_scale: the largest |logit|."""
    return max(FLOORS * floor, ROUNDINGS * torch.finfo(dtype).eps * logit_scale)


def noise_floor(lm: LM, batch: Batch) -> float:
    """Largest difference of last-position logits among equal evaluations of the batch's first prompt. Logits."""
    return floor_of(differences(lm, batch), lm.dtype)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """By how much each evaluation of one prompt differs from the prompt alone, and its largest |logit|."""

    of: Mapping[str, float]
    scale: float


def differences(lm: LM, batch: Batch) -> Differences:
    """Largest differences of last-position logits from the batch's first prompt alone. Logits."""
    found = dict(evaluations(lm, batch))
    alone = found["alone"]
    return Differences(
        of={name: float((logits - alone).abs().max()) for name, logits in found.items()},
        scale=float(alone.abs().max()),
    )


def floor_of(found: Differences, dtype: torch.dtype) -> float:
    """The largest difference that rounding can explain: at most 32 eps(dtype) max|logit|."""
    most = tolerance(0.0, dtype, found.scale)
    return max((value for value in found.of.values() if value <= most), default=0.0)


def evaluations(lm: LM, batch: Batch) -> Iterator[tuple[str, Float[Tensor, " d_vocab"]]]:
    """(name, logits at the last position) of the batch's first prompt, evaluated in every way the model allows."""
    ids = batch.ids[:1, : int(batch.lengths[0])]
    length = ids.shape[1]
    yield "alone", _last(lm, {"input_ids": ids})
    neighbours = batch.ids[:8, :length] if length <= batch.ids.shape[1] else ids
    yield "beside others", _last(lm, {"input_ids": torch.cat([ids, neighbours])})
    for side in ("right", "left"):
        if not padding_reason(lm, side, width=length + 1) and _fits(lm, length + 1):
            yield f"{side}-padded", _padded(lm, ids, side)
    if length > 1:
        cached = _cached(lm, ids)
        if cached is not None:
            yield "cached", cached


def _fits(lm: LM, length: int) -> bool:
    return lm.n_ctx is None or length <= lm.n_ctx


@torch.no_grad()
def _last(lm: LM, inputs: dict[str, Tensor], column: int = -1) -> Float[Tensor, " d_vocab"]:
    """The first row's logits at one column; only that column is unembedded (a batch of complete rows is large)."""
    head = lm.model.get_output_embeddings()

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (args[0][:1, column][:, None], *args[1:]), dict(kwargs)

    if head is None or not isinstance(head, nn.Module):
        return lm.model(**inputs, use_cache=False).logits[0, column].float()
    with module_seam({"unembedding": head}, before=before):
        return lm.model(**inputs, use_cache=False).logits[0, -1].float()


def _padded(lm: LM, ids: Tensor, side: str) -> Float[Tensor, " d_vocab"]:
    n = ids.shape[1]
    start = 1 if side == "left" else 0
    wide = torch.full((1, n + 1), lm.fill_id, dtype=ids.dtype, device=ids.device)
    mask = torch.zeros_like(wide, dtype=torch.bool)
    wide[:, start : start + n], mask[:, start : start + n] = ids, True
    positions = (torch.arange(n + 1, device=ids.device)[None] - start).clamp(min=0)
    return _last(lm, padded_inputs(lm, wide, mask, positions), column=start + n - 1)


@torch.no_grad()
def _cached(lm: LM, ids: Tensor) -> Float[Tensor, " d_vocab"] | None:
    """The last token continued from the cache of the others; None where the model keeps none."""
    try:
        first = lm.model(input_ids=ids[:, :-1], use_cache=True)
        cache = getattr(first, "past_key_values", None)
        if cache is None:
            return None
        return lm.model(input_ids=ids[:, -1:], past_key_values=cache, use_cache=True).logits[0, -1].float()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return None


def sweep_floor(lm: LM, batch: Batch) -> float:
    """The noise floor of prompts about as long as these, measured once per model and length (powers of two);
    in a run once per job (`Models.begin`), so that a job's tables do not depend on the jobs before it."""
    octave = int(batch.lengths.max()).bit_length()
    return lm.once(f"noise floor 2**{octave} {lm.dtype}", lambda: noise_floor(lm, batch))
