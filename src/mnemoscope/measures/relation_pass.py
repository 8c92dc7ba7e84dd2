"""One streaming pass that computes every variant of the relation index for all heads.

The model runs once per batch of texts (`relation_record`). What a head pushes is then read on the tokens of the texts
only: W_O W_U[:, C] costs as much as the output projection, and no product is ever as wide as the vocabulary.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.measures.relation_asked import FAKE, asked, by_pair, priorities
from mnemoscope.measures.relation_events import Context, Events, context, events
from mnemoscope.measures.relation_index import Asked, Gate, Shares, promotion, read, shares
from mnemoscope.measures.relation_pushes import Maps, Matrices, Pushes
from mnemoscope.measures.relation_record import Kept, recorded
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model.lm import LM

VARIANTS = ("lit", "src", "ctx_src", "out")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer's heads did at all opportunities of one text. shares: by variant; one that a layer lacks is absent.

    backward, reverse: the gate at the tail, and RI-out of the head word there, for the reverse direction.
    """

    gate: Gate
    shares: Mapping[str, Shares]
    backward: Gate
    reverse: Shares | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One text: its opportunities and, layer by layer, what the heads did."""

    text: RelationText
    events: Events
    layers: Mapping[int, Layer]


def measure_texts(
    lm: LM,
    texts: Sequence[RelationText],
    queries: Sequence[Int[Tensor, "_ _"] | None] | None = None,
    *,
    draws: int = 0,
    seed: int = 0,
    kept: dict[int, Matrices] | None = None,
) -> tuple[Measured, ...]:
    """Run the texts as one batch and measure every head.

    queries    sampled attending positions per text (None: all opportunities)
    draws      tails drawn in place of the true one, for the permutation; from `seed` and the document's id
    kept       where value and output weights are kept between batches: to find them takes as long as a forward pass
    """
    views = [
        _View.of(text, q, draws=draws, seed=seed) for text, q in zip(texts, queries or [None] * len(texts), strict=True)
    ]
    run = recorded(lm, [text.ids for text in texts], [view.events for view in views])
    maps = Maps.of(lm, [view.ctx for view in views])
    layers: list[dict[int, Layer]] = [{} for _ in views]
    found_weights = {} if kept is None else kept
    for layer, seen in run.layers.items():
        if layer not in found_weights:
            found_weights[layer] = Matrices.of(lm, layer)
        pushes = Pushes.of(lm, layer, maps, found_weights[layer])
        for b, view in enumerate(views):
            scale = None if run.scale is None else run.scale[b, view.events.queries()[0]]
            found, reverse = _shares(view, seen[b], pushes, maps.columns[b], scale)
            layers[b][layer] = Layer(gate=seen[b].forward, shares=found, backward=seen[b].backward, reverse=reverse)
    return tuple(
        Measured(text=text, events=view.events, layers=done)
        for text, view, done in zip(texts, views, layers, strict=True)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """One text: its distinct tokens, its opportunities, and what is asked at each, forward and backward."""

    ctx: Context
    events: Events
    asked: Asked
    pairs: tuple[Asked, Int[Tensor, " row"], Int[Tensor, " row"]]
    backward: Asked

    @classmethod
    def of(cls, text: RelationText, queries: Int[Tensor, "triple query"] | None, *, draws: int, seed: int) -> "_View":
        ctx = context(text.ids, text.types)
        found = events(ctx, text.pairs, queries=queries)
        place = text.lead + FAKE
        other = int(ctx.of[place]) if place < len(ctx.of) else -1
        own = seed + zlib.crc32(text.document.id.encode())
        forward = asked(found, priorities(len(text.pairs), ctx, draws, own), other)
        back = events(ctx, text.pairs.flip(1), queries=queries)
        backward = asked(back, priorities(len(text.pairs), ctx, 0, own))
        return cls(ctx=ctx, events=found, asked=forward, pairs=by_pair(forward, found), backward=backward)

    def seen(self) -> Tensor:
        """Distinct tokens visible at each attending position [row context]."""
        queries, row = self.events.queries()
        first = torch.zeros_like(queries).scatter(0, row, torch.arange(len(row), device=row.device))
        return self.events.visible[first]


def _shares(
    view: _View, kept: Kept, pushes: Pushes, columns: Int[Tensor, " context"], scale: Float[Tensor, " row"] | None
) -> tuple[dict[str, Shares], Shares | None]:
    """All variants of one layer on one text, and RI-out in the reverse direction."""
    if pushes.folded is None or not len(view.events.query):
        return {}, None
    queries, _ = view.events.queries()
    down = torch.ones(len(queries), device=columns.device) if scale is None else 1 / scale
    folded, seen = pushes.folded.index_select(0, columns), view.seen()
    pairs, sources, rows = view.pairs
    found: dict[str, Shares] = {}
    if pushes.values is not None and pushes.raw is not None and pushes.bound is not None:
        values, raw = (x.index_select(0, columns) for x in (pushes.values, pushes.raw))
        embedded = torch.einsum("ehd,chd->hec", values, raw)
        now, head, bound = view.ctx.of[queries], view.ctx.of[sources], pushes.bound[:, columns]
        found["lit"] = shares(embedded.index_select(1, now), bound[:, now], seen, view.asked)
        found["src"] = shares(embedded.index_select(1, head), bound[:, head], seen[rows], pairs)
    distinct, of = sources.unique(return_inverse=True)
    values, by_row = kept.values[distinct][:, pushes.kv], down[rows]
    size = pushes.largest(values, kept.size, distinct)[:, of] * by_row[None]
    context = torch.einsum("shd,chd->hsc", values, folded).index_select(1, of).mul_(by_row[None, :, None])
    found["ctx_src"] = shares(context, size, seen[rows], pairs)
    size = pushes.largest(kept.outputs, kept.size, None) * down[None]
    out = promotion(torch.einsum("rhd,chd->hrc", kept.outputs * down[:, None, None], folded), size, seen)
    found["out"] = read(out, view.asked)
    return found, read(out, view.backward)
