"""Does a model give a padded prompt the numbers it has alone? Asked of the model itself, once per side.

Left padding without positions is wrong by 0.3 to 1.8 logits on several families and raises no error; some models take
no positions and stay wrong whatever is passed. So nothing is read from a table: a short prompt is run alone and beside
a longer one, and the two results are compared at the tolerance of the engine, max(3 x floor, 32 eps max|logit|), where
the floor is the difference that an equally long neighbour makes.
"""

import inspect
import math

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mnemoscope.model.lm import LM

_LONG, _SHORT = 11, 6  # tokens; both longer than the shortest convolution, shorter than any context


def takes_positions(lm: LM) -> bool:
    """Whether `position_ids` reach the decoder."""
    outer = inspect.signature(lm.model.forward).parameters
    if "position_ids" in outer:
        return True
    inner = inspect.signature(lm.structure.decoder.forward).parameters
    passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in outer.values())
    return passes_on and "position_ids" in inner


def padded_inputs(
    lm: LM,
    ids: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    positions: Int[Tensor, "batch pos"],
) -> dict[str, Tensor]:
    """What goes to the model for a padded batch: positions where it takes them, and never without the mask."""
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if takes_positions(lm):
        inputs["position_ids"] = positions
    return inputs


def padding_reason(lm: LM, side: str, *, width: int = 0) -> str:
    """Why padding on one side is refused; "" where each prompt keeps its numbers.

    width: columns of the batch in question; rotary frequencies that follow the length of the batch change beyond the
    length the model was first trained on.
    """
    limit = _batch_dependent_rotary_limit(lm)
    if limit is not None and width > limit:
        return f"its rotary frequencies depend on the longest prompt of a batch beyond {limit} tokens"
    return lm.once(f"{side} padding", lambda: _probed(lm, side))


def _batch_dependent_rotary_limit(lm: LM) -> int | None:
    """Length beyond which "dynamic" and "longrope" frequencies depend on the batch; None for every other model."""
    rope = getattr(lm.config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    for kind in kinds:
        if kind.get("rope_type") in ("dynamic", "longrope"):
            original = kind.get("original_max_position_embeddings")
            return int(original or lm.config.max_position_embeddings)
    return None


def _probed(lm: LM, side: str) -> str:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, lm.d_vocab, (2, _LONG), generator=generator)
    start = _LONG - _SHORT if side == "left" else 0
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1] = False
    mask[1, start : start + _SHORT] = True
    positions = torch.arange(_LONG).expand(2, -1).clone()
    positions[1] = (positions[1] - start).clamp(min=0)
    ids, mask, positions = (value.to(lm.device) for value in (ids, mask, positions))
    short = ids[1:, start : start + _SHORT]
    try:
        alone = _logits(lm, {"input_ids": short})
        beside = _logits(lm, {"input_ids": torch.cat([short, ids[:1, :_SHORT]])})[:1]
        padded = _logits(lm, padded_inputs(lm, ids, mask, positions))[1:, start : start + _SHORT]
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"{side}-padded prompts cannot be run: {type(error).__name__}: {str(error).splitlines()[0]}"
    difference = _largest(padded - alone)
    floor = _largest(beside - alone)
    allowed = max(3 * floor, 32 * torch.finfo(lm.dtype).eps * _largest(alone))
    if difference <= allowed:
        return ""
    return f"{side} padding moves its logits by {difference:.2g} (allowed: {allowed:.2g})"


@torch.no_grad()
def _logits(lm: LM, inputs: dict[str, Tensor]) -> Tensor:
    return lm.model(**inputs, use_cache=False).logits.float()


def _largest(values: Tensor) -> float:
    largest = float(values.abs().max())
    return largest if not math.isnan(largest) else math.inf
