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

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.measures.relation_cells import DOCUMENTS, OPPORTUNITIES, RATES, STRATUM, TRIPLES
from mnemoscope.measures.relation_distance import rates
from mnemoscope.measures.relation_events import context, events
from mnemoscope.measures.relation_pass import measure_texts
from mnemoscope.measures.relation_record import recorded
from mnemoscope.measures.relation_sums import CHANCES, ROWS, Held, chances_of, strata, summed
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model.lm import LM

BATCH = 8  # texts of one forward pass


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Rows as declared in `relation_cells`: opportunities per document, shares per document, shares per triple.

    rates: where they were asked for, pass rates of every head beside what its distances give (`relation_distance.pass_null`).
    """

    opportunities: pl.DataFrame
    documents: pl.DataFrame
    triples: pl.DataFrame
    rates: pl.DataFrame


@torch.no_grad()
def relation_statistics(
    lm: LM,
    texts: Sequence[RelationText],
    *,
    tau_star: float = float("nan"),
    draws: int = 0,
    seed: int = 0,
    positions: int | None = None,
    held: Sequence[Held] | None = None,
    attending_rates: bool = False,
) -> Statistics:
    """Measure every head on the texts, which must hold all texts of each document (`Document.unit`), and sum up.

    tau_star   the model's own tau, nan without one
    draws      redrawn tails kept per triple
    positions  at most so many attending positions per triple, drawn evenly (None: all); seed decides, whatever the model
    held       events of the slice `held`, one array per text; then all positions must be looked at
    attending_rates   whether `rates` are wanted
    Texts without a usable triple do not count.
    """
    used = [i for i, text in enumerate(texts) if len(text.pairs)]
    chances: list[pl.DataFrame] = []
    found: list[pl.DataFrame] = []
    triples: list[pl.DataFrame] = []
    attended: list[pl.DataFrame] = []
    for start in range(0, len(used), BATCH):
        part = used[start : start + BATCH]
        queries = [drawn_positions(texts[i], positions, seed) for i in part]
        chances += [chances_of(texts[i], q) for i, q in zip(part, queries, strict=True)]
        measured = measure_texts(lm, [texts[i] for i in part], queries, draws=draws, seed=seed)
        for i, one in zip(part, measured, strict=True):
            sums = summed(one, tau_star, None if held is None else held[i])
            found.append(sums.rows)
            triples.append(sums.triples)
            attended += [rates(one)] if attending_rates else []
    counted = pl.concat([pl.DataFrame(schema=dict(CHANCES)), *chances])
    rows = pl.concat([pl.DataFrame(schema=ROWS), *found])
    return Statistics(
        opportunities=_by_document(counted),
        documents=_documents(rows, counted),
        triples=pl.concat([pl.DataFrame(schema=dict(TRIPLES)), *triples]),
        rates=_rates(pl.concat([pl.DataFrame(schema=dict(RATES)), *attended])),
    )


def drawn_positions(text: RelationText, most: int | None, seed: int) -> Int[Tensor, "triple query"] | None:
    """At most `most` attending positions per triple: the first, which is s or o, and others drawn evenly; None: all."""
    if most is None or not len(text.pairs):
        return None
    rng = np.random.default_rng([seed, zlib.crc32(text.document.id.encode())])
    n = len(text.ids)
    chosen = np.full((len(text.pairs), most), -1, dtype=np.int64)
    for row, first in enumerate(text.pairs.amax(-1).tolist()):
        later = np.arange(first + 1, n)
        drawn = rng.choice(later, size=min(most - 1, len(later)), replace=False)
        chosen[row, : len(drawn) + 1] = [first, *np.sort(drawn)]
    return torch.from_numpy(chosen).to(text.ids.device)


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
            chosen.append((ratio > 1) & strata(event)["other"])
    return tuple(chosen)


def _by_document(chances: pl.DataFrame) -> pl.DataFrame:
    """Opportunities of each document and relation; triples: those with at least one headline opportunity."""
    grouped = chances.group_by("document", "relation", maintain_order=True)
    strata = [pl.col(name).sum() for name in ("other", "far", "at_source", "at_target")]
    triples = [(pl.col(name) > 0).sum().cast(pl.Int64).alias(f"triples_{name}") for name in ("other", "far")]
    return grouped.agg(pl.col("text").n_unique().cast(pl.Int64).alias("texts"), *triples, *strata).select(
        list(OPPORTUNITIES)
    )


def _rates(texts: pl.DataFrame) -> pl.DataFrame:
    """Texts of a document together, triples alike."""
    key = ["document", "relation", "slice", "layer", "head"]
    mean = [(pl.col(x) * pl.col("triples")).sum() / pl.col("triples").sum() for x in ("pass_rate", "null_pass_rate")]
    return texts.group_by(key, maintain_order=True).agg(pl.col("triples").sum(), *mean).select(list(RATES))


def _documents(triples: pl.DataFrame, chances: pl.DataFrame) -> pl.DataFrame:
    """Triples averaged within document. Per opportunity: what fails the gate counts 0, undefined ones do not count."""
    strata = chances.unpivot(
        on=["other", "far", "at_source", "at_target"],
        index=["document", "relation"],
        variable_name="stratum",
        value_name="chances",
    )
    there = (
        strata.filter(pl.col("chances") > 0)
        .group_by("document", "relation", "stratum", maintain_order=True)
        .agg(pl.len().alias("of"))
    )
    counted = pl.col("chances") - (pl.col("passes") - pl.col("n"))
    each = triples.with_columns(
        stratum=pl.col("slice").replace_strict(STRATUM, default="other"),
        rate=pl.col("passes") / pl.col("chances"),
        gained=(pl.col("n") > 0) * pl.col("index").fill_nan(0.0) * pl.col("n") / counted.clip(lower_bound=1),
        gained_null=(pl.col("n") > 0) * pl.col("null").fill_nan(0.0) * pl.col("n") / counted.clip(lower_bound=1),
    )
    key = ["document", "relation", "layer", "head", "slice", "variant"]
    grouped = each.group_by([*key, "stratum"], maintain_order=True).agg(
        pl.col("passes", "events", "n", "total", "rate", "gained", "gained_null").sum(),
        (pl.col("n") > 0).sum().cast(pl.Int64).alias("triples"),
        pl.col("index", "null", "percentile").fill_nan(None).mean().fill_null(float("nan")),
    )
    joined = grouped.join(there, on=["document", "relation", "stratum"], how="left")
    return joined.with_columns(
        pass_rate=pl.col("rate") / pl.col("of"),
        per_opportunity=pl.col("gained") / pl.col("of"),
        null_per_opportunity=pl.col("gained_null") / pl.col("of"),
    ).select(list(DOCUMENTS))
