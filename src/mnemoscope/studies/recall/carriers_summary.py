"""Which heads and MLPs carry the answer: effects over topics, corrected over the whole map (B2.1, B6.1). No torch."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.recall_carriers import EFFECTS
from mnemoscope.stats.bootstrap import bootstrap_ratios
from mnemoscope.stats.maxt import sign_flip_max_t
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.units import Units, conditioned, means, rows, units

CELLS = ("layer", "head")
FLOOR = 1.0  # logits: percent of pi only above it (B6.1)
MAP = ("copy", "shots", "method", "receiver")


def effects(raw: pl.DataFrame, known: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The table `effects`: one map per copy, condition, number of demonstrations, method and receiver."""
    parts: list[pl.DataFrame] = []
    for key, frame in raw.group_by(*MAP, maintain_order=True):
        place = dict(zip(MAP, key, strict=True))
        some = conditioned(frame, known) if place["copy"] == "trained" else {"all": frame}
        for facts, chosen in some.items():
            if chosen.height:
                seed = seed_of(config.seed, "/".join(map(str, (*key, facts))))
                parts.append(_map(chosen, {**place, "facts": facts}, np.random.default_rng(seed)))
    return pl.concat(parts) if parts else EFFECTS.empty()


def maps(raw: pl.DataFrame, **where: object) -> Units:
    """Values per topic of the heads (not MLPs) of one map, nan where a unit has no part in it."""
    test = [pl.col(name) == value for name, value in where.items()]
    return units(raw.filter(*test, pl.col("head") >= 0), CELLS, "answer")


def _map(frame: pl.DataFrame, place: Mapping[str, object], rng: np.random.Generator) -> pl.DataFrame:
    found = units(frame, CELLS, "answer")
    partner = units(frame, CELLS, "partner")
    base = units(frame, CELLS, "base")
    family = sign_flip_max_t(found.values, found.topics.astype(str), rng=rng, side="two-sided")
    table = rows(means(found), found.cells)
    low, middle, high, why = _percent(found, base, rng)
    with np.errstate(invalid="ignore"):
        there = ~np.isnan(partner.values)
        gained = np.where(there, partner.values, 0.0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    reason = pl.when(pl.col("reason") == "").then(pl.lit(why)).otherwise(pl.col("reason"))
    table = table.with_columns(
        p_maxt=pl.Series(family.p),
        partner=pl.Series(gained),
        percent=pl.Series(middle),
        percent_low=pl.Series(low),
        percent_high=pl.Series(high),
        method_of=pl.col("method") + f"; {family.method}",
        reason=reason,
    )
    table = table.with_columns(**{name: pl.lit(value) for name, value in place.items()})
    return table.select([pl.col(name).cast(dtype) for name, dtype in EFFECTS.schema.items()])


def _percent(found: Units, base: Units, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """100 x mean effect / mean pi before, with its bootstrap interval; nan where pi is not safely above 1 logit."""
    low = means(base).low
    low = low[~np.isnan(low)]
    if not len(low) or low.min() <= FLOOR:
        nothing = np.full(len(found.cells), np.nan)
        return nothing, nothing, nothing, f"no percent: the lower limit of pi is not above {FLOOR:g} logit"
    ratio = bootstrap_ratios(
        found.values, base.values, found.topics.astype(str), strata=found.relations.astype(str), rng=rng, n_boot=1000
    )
    return 100 * ratio.low, 100 * ratio.estimate, 100 * ratio.high, ""
