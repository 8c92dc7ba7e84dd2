"""Sufficient statistics of the relation index: events averaged within triple, triples within document (methods.md B1.3).

Everything that inference needs later is written down as rows, so that it can be done without the model and again. Each row
belongs to a `slice`: which opportunities count, and under which gate.

    tau         the published gate, tau = 2.2, at attending positions other than s and o whose token is neither t_s nor t_o
    argmax      the same without the margin; tau_2.0, tau_2.5: with another one; tau_star: the model's own (`tau_star`)
    no_sink     tau = 2.2 among positions that are not sinks
    free        no gate: all these opportunities
    far         tau, and j - s >= 2
    at_source   tau, j = s;     at_target: tau, j = o
    reverse     tau, attending to the tail; share of the head word (RI-out only)
    fake        tau; share of a fixed other token of the text instead of the tail's
    held        opportunities chosen beforehand, per head (`attending`): the same events for every checkpoint
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from mnemoscope.measures.relation_cells import DOCUMENTS, OPPORTUNITIES, TRIPLES
from mnemoscope.measures.relation_events import context, events
from mnemoscope.measures.relation_index import Shares
from mnemoscope.measures.relation_pass import VARIANTS, Measured, measure_texts
from mnemoscope.measures.relation_record import recorded
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model.lm import LM

TAU = 2.2
BATCH = 8  # texts of one forward pass
Held = Bool[np.ndarray, "layer head event"]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Rows as declared in `relation_cells`: opportunities per document, shares per document, shares per triple."""

    opportunities: pl.DataFrame
    documents: pl.DataFrame
    triples: pl.DataFrame


@torch.no_grad()
def relation_statistics(
    lm: LM,
    texts: Sequence[RelationText],
    *,
    tau_star: float = float("nan"),
    draws: int = 0,
    seed: int = 0,
    held: Sequence[Held] | None = None,
) -> Statistics:
    """Measure every head on the texts, which must hold all texts of each document (`Document.unit`), and sum up.

    tau_star  the model's own tau, nan without one;  draws  redrawn tails kept per triple;  held  events of the slice `held`,
    one array per text. Texts without a usable triple only count as documents.
    """
    used = [i for i, text in enumerate(texts) if len(text.pairs)]
    opportunities = [_opportunities(texts[i]) for i in used]
    found: list[pl.DataFrame] = []
    for start in range(0, len(used), BATCH):
        part = used[start : start + BATCH]
        for i, one in zip(part, measure_texts(lm, [texts[i] for i in part], draws=draws, seed=seed), strict=True):
            found.append(_rows(one, tau_star, None if held is None else held[i]))
    chances = pl.concat(opportunities) if opportunities else pl.DataFrame(schema=_CHANCES)
    triples = pl.concat(found) if found else pl.DataFrame(schema=_ROWS)
    return Statistics(
        opportunities=_by_document(chances),
        documents=_documents(triples, chances),
        triples=triples.filter((pl.col("slice") == "tau") & (pl.col("n") > 0)).select(list(TRIPLES)),
    )


@torch.no_grad()
def tau_star(lm: LM, texts: Sequence[RelationText], *, share: float = 0.05) -> float:
    """The published rule for tau, on this model: exceeded by 5% of the dominance ratios of all heads.

    A dominance ratio is a head's largest attention weight over its second largest; at all attending positions of opportunities of
    the texts. Published for one model (2.2); nan without texts.
    """
    used = [text for text in texts if len(text.pairs)][:BATCH]
    if not used:
        return float("nan")
    found = [events(context(text.ids, text.types), text.pairs) for text in used]
    run = recorded(lm, [text.ids for text in used], found)
    ratios = [kept.forward.dominance.flatten().cpu().numpy() for layer in run.layers.values() for kept in layer]
    return float(np.nanquantile(np.concatenate(ratios), 1 - share))


@torch.no_grad()
def attending(lm: LM, texts: Sequence[RelationText]) -> tuple[Held, ...]:
    """Per text, the opportunities at which each head's largest weight is on the head word: events to hold fixed."""
    chosen: list[Held] = []
    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        found = [events(context(text.ids, text.types), text.pairs) for text in part]
        run = recorded(lm, [text.ids for text in part], found)
        for b, event in enumerate(found):
            ratio = torch.stack([kept[b].forward.ratio for kept in run.layers.values()]).cpu().numpy()
            chosen.append((ratio > 1) & _strata(event)["other"])
    return tuple(chosen)


_PLACE = {"document": pl.String, "text": pl.String, "triple": pl.Int64, "relation": pl.String}
_CHANCES = {**_PLACE, "other": pl.Int64, "far": pl.Int64, "at_source": pl.Int64, "at_target": pl.Int64}
_ROWS = {
    **TRIPLES,
    "slice": pl.String,
    "passes": pl.Int64,
    "events": pl.Int64,
    "total": pl.Float64,
    "chances": pl.Int64,
}


def _strata(event) -> Mapping[str, Bool[np.ndarray, " event"]]:
    name = np.array(event.stratum(), dtype=object)
    other = name == "other"
    far = ((event.query - event.source) >= 2).cpu().numpy()
    return {"other": other, "far": other & far, "at_source": name == "source", "at_target": name == "target"}


def _opportunities(text: RelationText) -> pl.DataFrame:
    """How many opportunities each triple of a text has, by stratum."""
    event = events(context(text.ids, text.types), text.pairs)
    triple = event.triple.cpu().numpy()
    count = {name: np.bincount(triple[mask], minlength=len(text.pairs)) for name, mask in _strata(event).items()}
    return pl.DataFrame({**_places(text), **count}, schema=_CHANCES)


def _places(text: RelationText) -> dict[str, list]:
    n = len(text.pairs)
    return {
        "document": [text.document.unit] * n,
        "text": [text.document.id] * n,
        "triple": list(range(n)),
        "relation": list(text.relations),
    }


STRATUM = {"far": "far", "at_source": "at_source", "at_target": "at_target"}  # of a slice; "other" else


def _rows(one: Measured, star: float, held: Held | None) -> pl.DataFrame:
    """One row per triple, head, slice and variant in which the head passes at least once (`free`: always)."""
    layers = list(one.layers)
    event, text = one.events, one.text
    strata = _strata(event)
    stack = lambda read: torch.stack([read(one.layers[layer]) for layer in layers]).cpu().numpy()  # noqa: E731
    ratio, awake = stack(lambda x: x.gate.ratio), stack(lambda x: x.gate.ratio_no_sink)
    back = stack(lambda x: x.backward.ratio)
    shape = ratio.shape
    other = strata["other"]
    masks: dict[str, np.ndarray] = {
        "tau": (ratio > TAU) & other,
        "argmax": (ratio > 1) & other,
        "tau_2.0": (ratio > 2.0) & other,
        "tau_2.5": (ratio > 2.5) & other,
        "no_sink": (awake > TAU) & other,
        "free": np.broadcast_to(other, shape),
        "far": (ratio > TAU) & strata["far"],
        "at_source": (ratio > TAU) & strata["at_source"],
        "at_target": (ratio > TAU) & strata["at_target"],
        "reverse": (back > TAU) & other,
    }
    masks |= {"tau_star": (ratio > star) & other} if star == star else {}
    masks |= {"held": held} if held is not None else {}
    sums = _Sums(event.triple.cpu().numpy(), len(text.pairs), shape)
    frames: list[pl.DataFrame] = []
    tails = text.ids[text.pairs[:, 1]].tolist()
    chances = {name: sums.count(np.broadcast_to(mask, shape)) for name, mask in strata.items()}
    for variant in VARIANTS:
        values = _values(one, layers, lambda x, v=variant: x.shares.get(v), shape)
        for name, mask in masks.items():
            if name == "reverse" and variant != "out":
                continue
            used = _values(one, layers, lambda x: x.reverse, shape) if name == "reverse" else values
            found = sums.of(mask, used, redrawn=name == "tau")
            frames.append(_frame(found, chances[STRATUM.get(name, "other")], name, variant, layers))
        fake = {"index": values["other"], "null": values["null"], "percentile": np.full(shape, np.nan), "redrawn": None}
        frames.append(_frame(sums.of(masks["tau"], fake), chances["other"], "fake", variant, layers))
    places = pl.DataFrame({**_places(text), "tail": tails}, schema={**_PLACE, "tail": pl.Int64})
    return pl.concat(frames).join(places, on="triple", how="left").select(list(_ROWS)).cast(_ROWS)


def _values(one: Measured, layers: list[int], read, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The shares of a variant as arrays [layer head event ...]; nan in layers that lack it."""
    found: list[Shares | None] = [read(one.layers[layer]) for layer in layers]
    first = next((share for share in found if share is not None), None)
    draws = 0 if first is None else first.redrawn.shape[-1]
    stacked: dict[str, np.ndarray] = {}
    for name in ("index", "null", "percentile", "other", "redrawn"):
        own = (*shape, draws) if name == "redrawn" else shape
        stacked[name] = np.full(own, np.nan, dtype=np.float32)
        for i, share in enumerate(found):
            if share is not None:
                stacked[name][i] = getattr(share, name).cpu().numpy()
    return stacked


class _Sums:
    """Sums over the events of every triple, for all heads at once."""

    def __init__(self, triple: Int[np.ndarray, " event"], n_triples: int, shape: tuple[int, ...]) -> None:
        self.triple, self.shape = triple, (n_triples, *shape[:2])
        self.cell = np.arange(shape[0] * shape[1]).reshape(*shape[:2], 1)

    def count(self, mask: Bool[np.ndarray, "layer head event"]) -> Int[np.ndarray, "triple layer head"]:
        """Events of the mask."""
        return self._sum(mask, None).astype(np.int64)

    def _sum(self, mask: np.ndarray, values: np.ndarray | None) -> Float[np.ndarray, "triple layer head"]:
        layer, head, event = np.nonzero(mask)
        key = self.triple[event] * (self.shape[1] * self.shape[2]) + layer * self.shape[2] + head
        weights = None if values is None else values[layer, head, event].astype(np.float64)
        size = int(np.prod(self.shape))
        return np.bincount(key, weights, minlength=size).reshape(self.shape).astype(np.float64)

    def of(self, mask: np.ndarray, values: Mapping[str, np.ndarray | None], *, redrawn: bool = False) -> dict:
        """Counts and means per triple: passes, events with an index, n with index and null, and their means."""
        index, null, percentile = (np.asarray(values[name]) for name in ("index", "null", "percentile"))
        defined = mask & ~np.isnan(index)
        both = defined & ~np.isnan(null)
        ranked = mask & ~np.isnan(percentile)
        n = self._sum(both, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "passes": self._sum(mask, None),
                "events": self._sum(defined, None),
                "total": self._sum(defined, index),
                "n": n,
                "index": self._sum(both, index) / n,
                "null": self._sum(both, null) / n,
                "percentile": self._sum(ranked, percentile) / self._sum(ranked, None),
            }
            drawn = values["redrawn"] if redrawn else None
            if drawn is not None:
                each = [self._sum(both, drawn[..., k]) / n for k in range(drawn.shape[-1])]
                found["redrawn"] = np.stack(each, -1) if each else np.empty((*self.shape, 0))
        return found


def _frame(found: Mapping[str, np.ndarray], chances: np.ndarray, name: str, variant: str, layers: list[int]):
    triple, layer, head = np.nonzero(found["passes"])
    at = (triple, layer, head)
    redrawn = found.get("redrawn")
    lists = [[]] * len(triple) if redrawn is None else redrawn[at].astype(np.float32).tolist()
    columns = {key: value[at] for key, value in found.items() if key != "redrawn"}
    return pl.DataFrame(
        {
            "triple": triple,
            "layer": np.array(layers, dtype=np.int64)[layer],
            "head": head,
            "slice": pl.Series([name] * len(triple), dtype=pl.String),
            "variant": pl.Series([variant] * len(triple), dtype=pl.String),
            **columns,
            "redrawn": pl.Series(lists, dtype=pl.List(pl.Float32)),
            "chances": chances[at],
        }
    )


def _by_document(chances: pl.DataFrame) -> pl.DataFrame:
    """Opportunities of each document and relation; triples: those with at least one headline opportunity."""
    grouped = chances.group_by("document", "relation", maintain_order=True)
    strata = [pl.col(name).sum() for name in ("other", "far", "at_source", "at_target")]
    triples = [(pl.col(name) > 0).sum().cast(pl.Int64).alias(f"triples_{name}") for name in ("other", "far")]
    return grouped.agg(pl.col("text").n_unique().cast(pl.Int64).alias("texts"), *triples, *strata).select(
        list(OPPORTUNITIES)
    )


def _documents(triples: pl.DataFrame, chances: pl.DataFrame) -> pl.DataFrame:
    """Triples averaged within document. Per opportunity: what fails the gate counts 0, undefined ones do not count."""
    strata = chances.unpivot(
        on=["other", "far", "at_source", "at_target"],
        index=["document", "relation"],
        variable_name="stratum",
        value_name="chances",
    )
    there = strata.filter(pl.col("chances") > 0).group_by("document", "relation", "stratum").agg(pl.len().alias("of"))
    counted = pl.col("chances") - (pl.col("passes") - pl.col("n"))
    each = triples.with_columns(
        stratum=pl.col("slice").replace_strict(STRATUM, default="other"),
        rate=pl.col("passes") / pl.col("chances"),
        gained=(pl.col("n") > 0) * pl.col("index").fill_nan(0.0) * pl.col("n") / counted.clip(lower_bound=1),
        gained_null=(pl.col("n") > 0) * pl.col("null").fill_nan(0.0) * pl.col("n") / counted.clip(lower_bound=1),
    )
    key = ["document", "relation", "layer", "head", "slice", "variant"]
    mean = lambda name: pl.col(name).fill_nan(None).mean().fill_null(float("nan"))  # noqa: E731
    grouped = each.group_by([*key, "stratum"], maintain_order=True).agg(
        pl.col("passes", "events", "n").sum(),
        pl.col("total").sum(),
        (pl.col("n") > 0).sum().cast(pl.Int64).alias("triples"),
        mean("index"),
        mean("null"),
        mean("percentile"),
        pl.col("rate", "gained", "gained_null").sum(),
    )
    joined = grouped.join(there, on=["document", "relation", "stratum"], how="left")
    return joined.with_columns(
        pass_rate=pl.col("rate") / pl.col("of"),
        per_opportunity=pl.col("gained") / pl.col("of"),
        null_per_opportunity=pl.col("gained_null") / pl.col("of"),
    ).select(list(DOCUMENTS))
