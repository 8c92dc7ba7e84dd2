"""Masks of a base run as its patched rows see them: rows of the model's own mask, aligned at the prompts' ends.

Only masks that follow from positions may be used so. Sparse attention that selects keys by what the tokens are builds
another mask for a patched run, and is refused.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.attend import additive_mask, positional, rules_of
from mnemoscope.engine.body import final_stream
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, attention_seam


def aligned(x: Tensor, ends: Int[np.ndarray, " prompt"], *, axis: int, last: int) -> Tensor:
    """The `last` columns before each prompt's end along `axis`; columns before a prompt's start repeat its first."""
    if (ends == ends[0]).all() and last <= ends[0]:
        return x.narrow(axis, int(ends[0]) - last, last)
    index = torch.from_numpy(np.maximum(ends[:, None] - last + np.arange(last)[None], 0)).to(x.device)
    shape = [1] * x.ndim
    shape[0], shape[axis] = len(ends), last
    target = list(x.shape)
    target[0], target[axis] = len(ends), last
    return x.expand(len(ends), *x.shape[1:]).gather(axis, index.view(shape).expand(target))


def suffix_bias(
    mask: Float[Tensor, "prompts heads query key"], ends: Int[np.ndarray, " prompt"], *, width: int, suffix: int
) -> Float[Tensor, "prompts heads suffix column"] | None:
    """Mask rows of the last `suffix` queries over end-aligned keys; None if they hide nothing.

    Columns before a prompt's start are hidden; queries there read whatever they like: nobody reads them.
    """
    rows = aligned(aligned(mask, ends, axis=2, last=suffix), ends, axis=3, last=width)
    start = torch.from_numpy(width - ends).to(mask.device)
    column = torch.arange(width, device=mask.device)
    absent = column[None] < start[:, None]
    if bool(absent.any()):
        rows = rows.masked_fill(absent[:, None, None, :], -torch.inf)
        nobody = column[None, -suffix:] < start[:, None]
        rows = rows.masked_fill(nobody[:, None, :, None], 0.0)
    return rows.clone() if bool(rows.any()) else None


def refuse_token_masks(lm: LM, batch: Batch, mask: Float[Tensor, "batch heads query key"], layer: int) -> bool:
    """Raise for masks that depend on what the tokens are (sparse attention that selects keys): they answer to patches.

    Causal and sliding masks are recognised; any other mask must be the same for two prompts of equal length. True if
    there are no two such prompts to tell by.
    """
    lengths = batch.lengths.tolist()
    if all(positional(mask[i : i + 1] if mask.shape[0] > 1 else mask, n) for i, n in enumerate(lengths)):
        return False
    twin = next(((i, j) for j in range(len(lengths)) for i in range(j) if lengths[i] == lengths[j]), None)
    if twin is None:
        return True
    n = lengths[twin[0]]
    if mask.shape[0] > 1 and not torch.equal(mask[twin[0], :, :n, :n], mask[twin[1], :, :n, :n]):
        raise token_mask(lm, layer)
    return False


def token_mask(lm: LM, layer: int) -> UnsupportedError:
    """The refusal."""
    return UnsupportedError(
        f"the attention mask of layer {layer} of {lm.name} depends on the tokens",
        found="other masks for other prompts of the same length",
        allowed="masks that follow from positions",
    )


def same_masks(lm: LM, length: int) -> bool:
    """Whether two random prompts of a length get the same masks in every layer."""

    def find() -> bool:
        masks: list[Tensor] = []

        def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
            masks.append(additive_mask(call, rules_of(call)))
            return call()

        ids = torch.randint(0, lm.d_vocab, (2, length), generator=torch.Generator().manual_seed(0))
        with attention_seam(lm.attention_layers, attend):
            final_stream(lm, {"input_ids": ids.to(lm.device)})
        return all(mask.shape[0] == 1 or torch.equal(mask[0], mask[1]) for mask in masks)

    return lm.once(f"masks follow from positions at {length}", find)
