"""Sums of the relation index over the events of every triple of a text, slice by slice, for all heads at once.

`relation_documents` says what the slices are, and averages triples within document. Arithmetic on arrays only: the model has done
its part when this begins.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.measures.relation_cells import STRATUM, TRIPLES
from mnemoscope.measures.relation_events import Events, context, events
from mnemoscope.measures.relation_index import Shares
from mnemoscope.measures.relation_pass import VARIANTS, Layer, Measured
from mnemoscope.measures.relation_texts import RelationText

TAU = 2.2
STRATA = ("other", "far", "at_source", "at_target")
Held = Bool[np.ndarray, "layer head _event"]  # as long as its text has opportunities

_PLACE: Mapping[str, Any] = {"document": pl.String, "text": pl.String, "triple": pl.Int64, "relation": pl.String}
_COUNTS: Mapping[str, Any] = {"passes": pl.Int64, "events": pl.Int64, "total": pl.Float64, "chances": pl.Int64}
_MEANS = ("n", "index", "null", "percentile")
_CELL: Mapping[str, Any] = {name: TRIPLES[name] for name in ("layer", "head", "variant", *_MEANS)}
CHANCES: Mapping[str, Any] = {**_PLACE, **dict.fromkeys(STRATA, pl.Int64)}
ROWS: Mapping[str, Any] = {**_PLACE, "slice": pl.String, **_CELL, **_COUNTS}


@dataclass(frozen=True, kw_only=True)
class Summed:
    """rows: per triple, head, slice and variant in which the head passes (`free`: always); triples: with redrawn tails."""

    rows: pl.DataFrame
    triples: pl.DataFrame


def summed(one: Measured, star: float, held: Held | None) -> Summed:
    """Everything about one text."""
    layers, triple = list(one.layers), one.events.triple.cpu().numpy()
    masks = _masks(one, star, held)
    where = {name: _Where.of(mask, triple, len(one.text.pairs)) for name, mask in masks.items()}
    chances = {
        name: np.bincount(triple[mask], minlength=len(one.text.pairs)) for name, mask in strata(one.events).items()
    }
    pieces: list[dict[str, np.ndarray]] = []
    kept: list[dict[str, np.ndarray]] = []
    for variant in VARIANTS:
        forward = _stacked(one, lambda layer, v=variant: layer.shares.get(v))
        for name, places in where.items():
            if name == "reverse" and variant != "out":
                continue
            used = _stacked(one, lambda layer: layer.reverse) if name == "reverse" else forward
            found = places.sums(used["index"], used["null"], used["percentile"])
            pieces.append(_labelled(found, name, variant, chances[STRATUM.get(name, "other")]))
            if name == "tau":
                redrawn = places.drawn(used["index"], used["null"], used["redrawn"], found)
                kept.append({**_labelled(found, name, variant, chances["other"]), "redrawn": redrawn})
                fake = places.sums(used["other"], used["null"], np.full_like(used["null"], np.nan))
                pieces.append(_labelled(fake, "fake", variant, chances["other"]))
    return Summed(rows=_frame(pieces, one.text, layers, ROWS), triples=_triples(kept, one.text, layers))


def strata(event: Events) -> dict[str, Bool[np.ndarray, " event"]]:
    """Which opportunities count as what; `far` are those of `other` with j - s >= 2."""
    at_source, at_target = event.query == event.source, event.query == event.target
    other = ~(at_source | at_target | (event.current == event.head) | (event.current == event.tail))
    found = {
        "other": other,
        "far": other & (event.query - event.source >= 2),
        "at_source": at_source,
        "at_target": at_target & ~at_source,
    }
    return {name: mask.cpu().numpy() for name, mask in found.items()}


def chances_of(text: RelationText, queries: Int[Tensor, "triple query"] | None = None) -> pl.DataFrame:
    """How many opportunities each triple of a text has, by stratum; of those at the given positions."""
    event = events(context(text.ids, text.types), text.pairs, queries=queries)
    triple, n = event.triple.cpu().numpy(), len(text.pairs)
    count = {name: np.bincount(triple[mask], minlength=n) for name, mask in strata(event).items()}
    return (
        _places(text)
        .drop("tail", "together")
        .with_columns(**{k: pl.Series(v, dtype=pl.Int64) for k, v in count.items()})
    )


def _places(text: RelationText) -> pl.DataFrame:
    n = len(text.pairs)
    columns = {
        "document": [text.document.unit] * n,
        "text": [text.document.id] * n,
        "triple": list(range(n)),
        "relation": list(text.relations),
        "tail": text.ids[text.pairs[:, 1]].tolist(),
        "together": list(text.together),
    }
    return pl.DataFrame(columns, schema={**_PLACE, "tail": pl.Int64, "together": pl.String})


def _masks(one: Measured, star: float, held: Held | None) -> dict[str, Bool[np.ndarray, "layer head event"]]:
    def stack(read: Callable[[Layer], Tensor]) -> np.ndarray:
        return torch.stack([read(layer) for layer in one.layers.values()]).cpu().numpy()

    ratio, awake = stack(lambda x: x.gate.ratio), stack(lambda x: x.gate.ratio_no_sink)
    back, at = stack(lambda x: x.backward.ratio), strata(one.events)
    other, wide = at["other"], ratio > TAU
    masks: dict[str, np.ndarray] = {
        "tau": wide & other,
        "argmax": (ratio > 1) & other,
        "tau_2.0": (ratio > 2.0) & other,
        "tau_2.5": (ratio > 2.5) & other,
        "no_sink": (awake > TAU) & other,
        "free": np.broadcast_to(other, ratio.shape),
        **{name: wide & at[name] for name in ("far", "at_source", "at_target")},
        "reverse": (back > TAU) & other,
    }
    masks |= {"tau_star": (ratio > max(star, 1.0)) & other} if star == star else {}
    return masks | ({"held": held} if held is not None else {})


def _stacked(one: Measured, read: Callable[[Layer], Shares | None]) -> dict[str, Float[np.ndarray, "..."]]:
    """The shares of a variant, flat over [layer head event]; nan in layers that lack it."""
    shape = next(iter(one.layers.values())).gate.ratio.shape
    found = [read(layer) for layer in one.layers.values()]
    draws = next((share.redrawn.shape[-1] for share in found if share is not None), 0)
    stacked: dict[str, np.ndarray] = {}
    for name in ("index", "null", "percentile", "other", "redrawn"):
        own = (*shape, draws) if name == "redrawn" else tuple(shape)
        parts = [np.full(own, np.nan) if share is None else getattr(share, name).cpu().numpy() for share in found]
        stacked[name] = np.stack(parts).reshape(len(parts) * shape[0] * shape[1], *own[2:])
    return stacked


@dataclass(frozen=True, kw_only=True, eq=False)
class _Where:
    """The events of a mask: flat place in [layer head event], and the number of their (triple, layer, head)."""

    place: Int[np.ndarray, " passing"]
    key: Int[np.ndarray, " passing"]
    cells: Int[np.ndarray, " cell"]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "layer head event"], triple: Int[np.ndarray, " event"], n: int) -> "_Where":
        layers, heads, count = mask.shape
        place = np.flatnonzero(mask)
        key = triple[place % count] * (layers * heads) + place // count if count else place
        cells, key = np.unique(key, return_inverse=True)
        return cls(place=place, key=key, cells=cells, shape=(n, layers, heads))

    def _sum(self, values: Float[np.ndarray, " passing"] | Bool[np.ndarray, " passing"]) -> Float[np.ndarray, " cell"]:
        return np.bincount(self.key, values, minlength=len(self.cells)).astype(np.float64)  # whole numbers if empty

    def sums(
        self,
        index: Float[np.ndarray, " flat"],
        null: Float[np.ndarray, " flat"],
        percentile: Float[np.ndarray, " flat"],
    ) -> dict[str, np.ndarray]:
        """Passes; events with an index; their total; n with index and null, and means over those; mean percentile."""
        x, at_null, rank = index[self.place], null[self.place], percentile[self.place]
        defined, ranked = ~np.isnan(x), ~np.isnan(rank)
        both = defined & ~np.isnan(at_null)
        n = self._sum(both)
        triple, layer, head = np.unravel_index(self.cells, self.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "triple": triple,
                "layer": layer,
                "head": head,
                "passes": np.bincount(self.key, minlength=len(self.cells)),
                "events": self._sum(defined),
                "total": self._sum(np.where(defined, x, 0)),
                "n": n,
                "index": self._sum(np.where(both, x, 0)) / n,
                "null": self._sum(np.where(both, at_null, 0)) / n,
                "percentile": self._sum(np.where(ranked, rank, 0)) / self._sum(ranked),
            }

    def drawn(
        self,
        index: Float[np.ndarray, " flat"],
        null: Float[np.ndarray, " flat"],
        redrawn: Float[np.ndarray, "flat draw"],
        found: Mapping[str, np.ndarray],
    ) -> Float[np.ndarray, "cell draw"]:
        """Mean excess of every redraw over the same events."""
        both = ~np.isnan(index[self.place] + null[self.place])
        values = np.where(both[:, None], redrawn[self.place], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [self._sum(values[:, k]) / found["n"] for k in range(values.shape[1])]
        return np.stack(means, -1) if means else np.empty((len(self.cells), 0))


def _labelled(found: Mapping[str, np.ndarray], name: str, variant: str, chances: np.ndarray) -> dict[str, np.ndarray]:
    n = len(found["triple"])
    labels = {"slice": np.full(n, name, dtype=object), "variant": np.full(n, variant, dtype=object)}
    return {**found, **labels, "chances": chances[found["triple"]]}


def _frame(
    pieces: list[dict[str, np.ndarray]], text: RelationText, layers: list[int], schema: Mapping[str, Any]
) -> pl.DataFrame:
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0] if name != "redrawn"}
    joined["layer"] = np.array(layers, dtype=np.int64)[joined["layer"]]
    words = {name: pl.Series(joined.pop(name).tolist(), dtype=pl.String) for name in ("slice", "variant")}
    frame = pl.DataFrame({**joined, **words}).join(_places(text), on="triple", how="left", maintain_order="left")
    wanted = [name for name in schema if name in frame.columns]
    return frame.select(wanted).cast({name: schema[name] for name in wanted})


def _triples(pieces: list[dict[str, np.ndarray]], text: RelationText, layers: list[int]) -> pl.DataFrame:
    frame = _frame(pieces, text, layers, TRIPLES)
    redrawn = np.concatenate([piece["redrawn"] for piece in pieces]).astype(np.float32)
    lists = pl.Series("redrawn", redrawn.tolist(), dtype=pl.List(pl.Float32))
    return frame.with_columns(lists).filter(pl.col("n") > 0).select(list(TRIPLES))
