"""One streaming pass that computes every variant of the relation index for all heads.

The model runs once per batch of texts (`relation_record`). What a head pushes is then read on the tokens of the texts
only: W_O W_U[:, C] costs as much as the output projection, and no product is ever as wide as the vocabulary.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.measures.relation_asked import FAKE, asked, by_pair, joined, priorities
from mnemoscope.measures.relation_events import Context, Events, context, events
from mnemoscope.measures.relation_gate import Gate
from mnemoscope.measures.relation_index import Reading, Shares, read
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
) -> tuple[Measured, ...]:
    """Run the texts as one batch and measure every head.

    queries    sampled attending positions per text (None: all opportunities)
    draws      tails drawn in place of the true one, for the permutation, where letters are drawn; from `seed` and the document's id
    """
    views = [
        _View.of(text, q, draws=draws, seed=seed) for text, q in zip(texts, queries or [None] * len(texts), strict=True)
    ]
    run = recorded(lm, [text.ids for text in texts], [view.events for view in views])
    maps = Maps.of(lm, [view.ctx for view in views])
    layers: list[dict[int, Layer]] = [{} for _ in views]
    for layer, seen in run.layers.items():
        pushes = Pushes.of(lm, layer, maps, Matrices.of(lm, layer))
        for b, view in enumerate(views):
            scale = None if run.scale is None else run.scale[b, view.queries]
            found, reverse = _shares(view, seen[b], pushes, maps.columns[b], scale)
            layers[b][layer] = Layer(gate=seen[b].forward, shares=found, backward=seen[b].backward, reverse=reverse)
    return tuple(
        Measured(text=text, events=view.events, layers=done)
        for text, view, done in zip(texts, views, layers, strict=True)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """One text: its distinct tokens, its opportunities, and how they are read from the pushes of a layer.

    Pushes come in rows: of RI-lit one per attending position (`queries`), of RI-src and RI-ctx-src one per pair of head word and
    attending position (`sources`, `rows`: their positions and places in `queries`), of RI-out one per attending position again.
    """

    ctx: Context
    events: Events
    queries: Int[Tensor, " row"]
    sources: Int[Tensor, " pair"]
    rows: Int[Tensor, " pair"]
    reading: Reading

    @classmethod
    def of(cls, text: RelationText, queries: Int[Tensor, "triple query"] | None, *, draws: int, seed: int) -> "_View":
        ctx = context(text.ids, text.types)
        found = events(ctx, text.pairs, queries=queries)
        place = text.lead + FAKE
        other = int(ctx.of[place]) if place < len(ctx.of) else -1
        own = seed + zlib.crc32(text.document.id.encode())
        redraws = draws if text.drawn else 0
        here = asked(found, priorities(len(text.pairs), ctx, redraws, own), other)
        back = events(ctx, text.pairs.flip(1), queries=queries)
        backward = asked(back, priorities(len(text.pairs), ctx, 0, own))
        positions, row = found.queries()
        pairs, sources, rows = by_pair(here, found)
        seen = _seen(found, positions, row)
        n, several = len(positions), len(sources)
        last = n + 2 * several
        every = joined([(here, 0), (pairs, n), (pairs, n + several), (here, last), (backward, last)])
        visible = torch.cat([seen, seen[rows], seen[rows], seen])
        return cls(
            ctx=ctx, events=found, queries=positions, sources=sources, rows=rows, reading=Reading.of(visible, every)
        )


def _seen(found: Events, positions: Int[Tensor, " row"], row: Int[Tensor, " event"]) -> Bool[Tensor, "row context"]:
    """Distinct tokens visible at each attending position."""
    first = torch.zeros_like(positions).scatter(0, row, torch.arange(len(row), device=row.device))
    return found.visible[first]


def _shares(
    view: _View, kept: Kept, pushes: Pushes, columns: Int[Tensor, " context"], scale: Float[Tensor, " row"] | None
) -> tuple[dict[str, Shares], Shares | None]:
    """All variants of one layer on one text, and RI-out in the reverse direction."""
    if pushes.folded is None or not len(view.events.query):
        return {}, None
    down = torch.ones(len(view.queries), device=columns.device) if scale is None else 1 / scale
    logits, bound = zip(_embedded(view, pushes, columns), *_in_context(view, kept, pushes, columns, down), strict=True)
    found = read(torch.cat(logits, dim=1), torch.cat(bound, dim=1), view.reading)
    each = [_part(found, i, len(view.events.query)) for i in range(len(VARIANTS) + 1)]
    named: dict[str, Shares] = dict(zip(VARIANTS, each, strict=False))
    return named if pushes.raw is not None else {name: named[name] for name in ("ctx_src", "out")}, each[-1]


def _embedded(view: _View, pushes: Pushes, columns: Int[Tensor, " context"]) -> tuple[Tensor, Tensor]:
    """Pushes of raw embeddings, and the largest there could be: of the current token, then of the head word; 0 without weights."""
    assert pushes.folded is not None
    tokens = view.ctx.of[torch.cat([view.queries, view.sources])]
    if pushes.values is None or pushes.raw is None or pushes.bound is None:
        nothing = torch.zeros(len(pushes.kv), len(tokens), len(columns), device=columns.device)
        return nothing, nothing[..., 0]
    values, raw = (x.index_select(0, columns) for x in (pushes.values, pushes.raw))
    embedded = torch.einsum("ehd,chd->hec", values, raw)
    return embedded.index_select(1, tokens), pushes.bound[:, columns[tokens]]


def _in_context(
    view: _View, kept: Kept, pushes: Pushes, columns: Int[Tensor, " context"], down: Float[Tensor, " row"]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pushes through the final norm, and the largest there could be: of values at the head word, then of whole outputs."""
    assert pushes.folded is not None
    folded, scale = pushes.folded.index_select(0, columns), down[view.rows]
    distinct, of = view.sources.unique(return_inverse=True)
    values = kept.values[distinct][:, pushes.kv]
    context = torch.einsum("shd,chd->hsc", values, folded).index_select(1, of).mul_(scale[None, :, None])
    size = pushes.largest(values, kept.size, distinct)[:, of] * scale[None]
    out = torch.einsum("rhd,chd->hrc", kept.outputs * down[:, None, None], folded)
    return (context, size), (out, pushes.largest(kept.outputs, kept.size, None) * down[None])


def _part(found: Shares, i: int, n: int) -> Shares:
    """Opportunities i n to (i + 1) n."""
    here = slice(i * n, (i + 1) * n)
    return Shares(
        index=found.index[:, here],
        null=found.null[:, here],
        percentile=found.percentile[:, here],
        redrawn=found.redrawn[:, here],
        other=found.other[:, here],
    )
