"""From rows per prompt to units per topic: what every interval of this study rests on (B2.2). No torch.

Prompts are averaged within (relation, topic), so that a topic asked with more templates weighs no more. Intervals cluster by
topic, so that a topic that several relations have counts as one, and are stratified by relation (`mnemoscope.stats.strata`), so
that what relations differ by is no uncertainty about these relations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int, Shaped

from mnemoscope.stats.clusters import bounded_mean, clustered_means
from mnemoscope.stats.estimate import Estimate, Estimates

UNIT = ("relation", "topic")


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """values: mean over prompts [unit, cell], nan where a unit has none; n: prompts per cell; cells: one row per cell."""

    values: Float[np.ndarray, "unit cell"]
    n: Int[np.ndarray, " cell"]
    relations: Shaped[np.ndarray, " unit"]
    topics: Shaped[np.ndarray, " unit"]
    halves: Shaped[np.ndarray, " unit"]
    cells: pl.DataFrame

    def cell(self, **where: Any) -> int:
        """The column of one cell; -1 if there is none."""
        test = [pl.col(name) == value for name, value in where.items()]
        found = self.cells.with_row_index("cell").filter(*test)["cell"]
        return int(found[0]) if len(found) else -1


def units(frame: pl.DataFrame, cells: Sequence[str], value: str) -> Units:
    """The mean of a column per unit and cell; a nan does not count."""
    kept = frame.with_columns(pl.col(value).fill_nan(None))
    means = kept.group_by([*UNIT, "half", *cells], maintain_order=True).agg(
        pl.col(value).mean().alias("mean"), pl.col(value).count().alias("n")
    )
    who = means.select(*UNIT, "half").unique().sort(*UNIT)
    where = means.select(*cells).unique().sort(*cells)
    every = who.join(where, how="cross").join(means, on=[*UNIT, "half", *cells], how="left", nulls_equal=True)
    every = every.sort(*UNIT, *cells)
    shape = (len(who), len(where))
    return Units(
        values=every["mean"].fill_null(np.nan).to_numpy().astype(np.float64).reshape(shape),
        n=every["n"].fill_null(0).to_numpy().reshape(shape).sum(axis=0).astype(np.int64),
        relations=who["relation"].to_numpy().astype(object),
        topics=who["topic"].to_numpy().astype(object),
        halves=who["half"].to_numpy().astype(object),
        cells=where,
    )


def means(found: Units, *, null: float = 0.0) -> Estimates:
    """Mean over units of every cell, interval over topics stratified by relation; n counts prompts."""
    topics, relations = found.topics.astype(str), found.relations.astype(str)
    return replace(clustered_means(found.values, topics, strata=relations, null=null), n=found.n)


def share(
    values: Float[np.ndarray, " unit"],
    topics: Shaped[np.ndarray, " unit"],
    relations: Shaped[np.ndarray, " unit"],
    *,
    null: float = 0.0,
) -> Estimate:
    """Mean of numbers in [0, 1] over units, with an interval also where all agree."""
    return bounded_mean(values, topics.astype(str), strata=relations.astype(str), limits=(0.0, 1.0), null=null)


def rows(found: Estimates, cells: pl.DataFrame, **same: Any) -> pl.DataFrame:
    """Cells with their estimates as columns estimate, low, high, p, n, n_units, method, reason."""
    return cells.with_columns(
        estimate=pl.Series(found.estimate, dtype=pl.Float64),
        low=pl.Series(found.low, dtype=pl.Float64),
        high=pl.Series(found.high, dtype=pl.Float64),
        p=pl.Series(found.p, dtype=pl.Float64),
        n=pl.Series(found.n, dtype=pl.Int64),
        n_units=pl.Series(found.n_units, dtype=pl.Int64),
        method=pl.lit(found.method),
        reason=pl.Series([str(text) for text in found.reason], dtype=pl.String),
        **{name: pl.lit(value) for name, value in same.items()},
    )


def conditioned(frame: pl.DataFrame, known: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows over all facts, and those whose fact is known on other templates (B6.3)."""
    told = known.filter(pl.col("known")).select("relation", "topic", "template")
    return {"all": frame, "known": frame.join(told, on=["relation", "topic", "template"], how="semi")}
