"""What is read out of a head's pushes at each opportunity: the tail, its rivals, tails drawn in its place, a fake one.

The matched null and its permutation are ours (docs/method.md); the fake target is a control of Ren et al. 2024 (arXiv
2402.13055), who put a fixed other token of the text in the place of the tail.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.measures.relation_events import Context, Events
from mnemoscope.measures.relation_index import Asked

FAKE = 10  # position of the fake target, counted from the text's first token


def asked(event: Events, priority: Float[Tensor, "triple context draw"], other: int = -1) -> Asked:
    """The questions of all opportunities of one text; rows are the attending positions (`Events.queries`).

    priority   random numbers, fixed per triple: a drawn tail is the member of {matched, tail} that comes first in them, so every
               member is drawn with the same probability, and a triple keeps its drawn tail while the members are the same
    other      context index of the fake target; -1 without one, or where it is the tail itself
    """
    width = max(1, int(event.same_type.sum(-1).amax())) if len(event.tail) else 1
    order = (~event.same_type).long().argsort(dim=-1, stable=True)[:, :width]
    there = event.same_type.gather(1, order)
    members = event.candidates.scatter(1, event.tail[:, None], True)
    drawn = priority[event.triple].masked_fill(~members[..., None], -1.0).argmax(1)
    fake = torch.full_like(event.tail, other)
    seen = event.visible[torch.arange(len(fake)), fake.clamp(min=0)] if len(fake) else fake.bool()
    taken = (fake == event.tail) | (fake == event.head) | ~seen
    return Asked(
        row=event.queries()[1],
        tail=event.tail,
        rivals=order.where(there, -1),
        matched=event.candidates.gather(1, order) & there,
        redrawn=drawn,
        other=fake.masked_fill(taken, -1),
    )


def by_pair(one: Asked, event: Events) -> tuple[Asked, Int[Tensor, " row"], Int[Tensor, " row"]]:
    """The same questions where the pushed vector belongs to the head word: a row per (head word, attending position).

    Also returns of each row the head word's position, and its index into `Events.queries`.
    """
    n = int(event.query.amax()) + 1 if len(event.query) else 1
    pairs, row = (one.row * n + event.source).unique(return_inverse=True)
    return replace(one, row=row), pairs % n, pairs // n


def joined(parts: Sequence[tuple[Asked, int]]) -> Asked:
    """Questions to be read from one set of rows: each part with the number of rows in front of its own.

    The parts' opportunities follow one another; narrower ones are filled up with "none" (rivals) and the tail (redraws).
    """

    def wide(values: Tensor, width: int, filling: Tensor | int) -> Tensor:
        more = torch.empty(len(values), width - values.shape[1], dtype=values.dtype, device=values.device)
        more.copy_(filling if isinstance(filling, Tensor) else torch.full_like(more, filling))
        return torch.cat([values, more], dim=1)

    rivals = max(one.rivals.shape[1] for one, _ in parts)
    draws = max(one.redrawn.shape[1] for one, _ in parts)
    return Asked(
        row=torch.cat([one.row + first for one, first in parts]),
        tail=torch.cat([one.tail for one, _ in parts]),
        rivals=torch.cat([wide(one.rivals, rivals, -1) for one, _ in parts]),
        matched=torch.cat([wide(one.matched, rivals, 0) for one, _ in parts]),
        redrawn=torch.cat([wide(one.redrawn, draws, one.tail[:, None]) for one, _ in parts]),
        other=torch.cat([one.other for one, _ in parts]),
    )


def priorities(n_triples: int, ctx: Context, draws: int, seed: int) -> Float[Tensor, "triple context draw"]:
    """Random numbers for `asked`, from a seed: the same for every head, every layer and every model."""
    rng = np.random.default_rng(seed)
    made = rng.random((n_triples, len(ctx.ids), draws), dtype=np.float32)
    return torch.from_numpy(made).to(ctx.ids.device)
