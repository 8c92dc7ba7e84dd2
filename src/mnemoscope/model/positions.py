"""Which columns of a batch are meant by "last", "all", "each" or the name of a role.

"all" and "each" are the same columns (every token of the prompt; the engine patches them together or one by one). A role
means all of its tokens; `align="last"` takes only the last of them, for roles whose token counts differ.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.axes import POSITION_MODES
from mnemoscope.errors import PromptError, choose, listed
from mnemoscope.model.batch import Batch

ALIGNMENTS = ("equal", "last")


def columns(batch: Batch, which: str = "last", *, align: str = "equal") -> tuple[tuple[int, ...], ...]:
    """Columns of the rectangle, per prompt, in text order; padding is never among them.

    which: "last" | "all" | "each" | a role. align: "equal" wants every prompt to have as many tokens of the role as the
    others; "last" takes the last token of each. A prompt without the role raises PromptError.
    """
    choose("alignment", align, ALIGNMENTS)
    if which in POSITION_MODES:
        first, last = batch.first.tolist(), batch.last.tolist()
        if which == "last":
            return tuple((stop,) for stop in last)
        return tuple(tuple(range(start, stop + 1)) for start, stop in zip(first, last, strict=True))
    choose("position or role", which, (*POSITION_MODES, *batch.spans))
    found = tuple(tuple(c for a, b in ranges for c in range(a, b)) for ranges in batch.spans[which])
    missing = [f"prompt {i}" for i, chosen in enumerate(found) if not chosen]
    if missing:
        raise PromptError(f"role {which!r} is missing", found=listed(missing), allowed="every prompt has the role")
    if align == "last":
        return tuple(chosen[-1:] for chosen in found)
    if len({len(chosen) for chosen in found}) > 1:
        raise PromptError(
            f"role {which!r} has unequal numbers of tokens",
            found=listed(f"prompt {i}: {len(chosen)}" for i, chosen in enumerate(found)),
            allowed="equal numbers of tokens",
            hint='use align="last" (the last token of the role)',
        )
    return found


def positions(batch: Batch, which: str = "last", *, align: str = "equal") -> Int[Tensor, "batch chosen"]:
    """`columns` as a tensor on the batch's device; raises PromptError where prompts have unequal numbers of them."""
    chosen = columns(batch, which, align=align)
    if len({len(row) for row in chosen}) > 1:
        raise PromptError(
            f"positions {which!r} are no rectangle",
            found=f"{min(map(len, chosen))} to {max(map(len, chosen))} tokens per prompt",
            allowed="prompts of equal length",
            hint="ask for one prompt at a time, or for 'last' or a role",
        )
    return torch.tensor(chosen, dtype=torch.long, device=batch.ids.device)
