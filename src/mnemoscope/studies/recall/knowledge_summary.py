"""What is known, with intervals: per relation, template and number of demonstrations. No torch.

accuracy     the answer is the top of the vocabulary              choice     it is the top of the relation's answers
probability  of the answer token         log10_rank  log10(1 + rank)         pi   logit minus the vocabulary's mean
known        (per fact and template) on at least half of the fact's other templates the answer is the top of the
             relation's answers and among the first ten of the vocabulary (methods.md B6.3)
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema.recall import KNOWLEDGE
from mnemoscope.stats.clusters import clustered_means, codes, sums
from mnemoscope.stats.estimate import Estimate
from mnemoscope.studies.recall.config import AMONG
from mnemoscope.studies.recall.units import share

MEASURES = ("accuracy", "choice", "probability", "log10_rank", "pi", "known")
SHARES = ("accuracy", "choice", "probability", "known")


def known(raw: pl.DataFrame) -> pl.DataFrame:
    """relation, topic, template, known: decided on the fact's other templates; null where there is no other one."""
    plain = raw.filter((pl.col("copy") == "trained") & (pl.col("shots") == 0))
    right = plain.with_columns(right=((pl.col("place") == 0) & (pl.col("rank") < AMONG)).cast(pl.Float64))
    over = ["relation", "topic"]
    others = pl.len().over(over) - 1
    told = (pl.col("right").sum().over(over) - pl.col("right")) / others
    return right.select(
        "relation", "topic", "template", known=pl.when(others > 0).then(told >= 0.5).otherwise(None).cast(pl.Boolean)
    ).sort("relation", "topic", "template")


def knowledge(raw: pl.DataFrame) -> pl.DataFrame:
    """The table `knowledge`: each relation and template, each relation, and all relations together."""
    told = known(raw)
    wide = raw.join(told, on=["relation", "topic", "template"], how="left").with_columns(
        accuracy=(pl.col("rank") == 0).cast(pl.Float64),
        choice=(pl.col("place") == 0).cast(pl.Float64),
        probability=pl.col("logprob").exp(),
        log10_rank=(1 + pl.col("rank")).log10(),
        pi=pl.col("centred"),
        known=pl.when((pl.col("shots") == 0) & (pl.col("copy") == "trained")).then(pl.col("known").cast(pl.Float64)),
        even=1 / pl.col("n_answers"),
    )
    first = pl.col("template") == 0  # what all numbers of demonstrations were asked with
    parts = [
        *(
            _part(f, relation=f["relation"][0], template=f["template"][0])
            for f in _groups(wide, "relation", "template")
        ),
        *(_part(f, relation=f["relation"][0], template=-1) for f in _groups(wide, "relation")),
        *(_part(f, relation="", template=-1) for f in _groups(wide)),
        *(_part(f, relation="", template=0) for f in _groups(wide.filter(first))),
    ]
    return pl.concat(parts)


def _groups(wide: pl.DataFrame, *names: str) -> list[pl.DataFrame]:
    return wide.partition_by("copy", "shots", *names, maintain_order=True)


def _part(frame: pl.DataFrame, *, relation: str, template: int) -> pl.DataFrame:
    """All measures of one group of prompts: prompts averaged within topic and relation, intervals over topics."""
    values = frame.select(MEASURES).to_numpy().astype(np.float64)  # nulls become nan
    who = (frame["relation"] + "\n" + frame["topic"]).to_numpy().astype(str)
    code, n_units = codes(who)
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means = sums(np.where(there, values, 0.0), code, n_units) / sums(there.astype(float), code, n_units)
    relations, topics = np.array([name.split("\n", 1) for name in np.unique(who)]).T
    found = clustered_means(means, topics, strata=relations)
    rows = [
        _row(name, found.at(i), means[:, i], (topics, relations), int(there[:, i].sum()))
        for i, name in enumerate(MEASURES)
    ]
    shown = {"copy": frame["copy"][0], "shots": frame["shots"][0], "relation": relation, "template": template}
    chance = float(frame["even"].to_numpy().mean())
    filled = [{**shown, **row, "chance": chance if row["measure"] == "choice" else np.nan} for row in rows if row["n"]]
    return pl.DataFrame(filled, schema=KNOWLEDGE.schema)


def _row(
    name: str, one: Estimate, means: Float[np.ndarray, " unit"], who: tuple[np.ndarray, np.ndarray], n: int
) -> dict[str, Any]:
    """One measure. A share where all topics agree has an interval, too; and none reaches beyond 0 and 1."""
    if name in SHARES and n:
        there = ~np.isnan(means)
        one = share(np.clip(means[there], 0, 1), *(one[there] for one in who)) if np.isnan(one.low) else one
        one = replace(one, low=max(one.low, 0.0), high=min(one.high, 1.0))
    told = {key: getattr(one, key) for key in ("estimate", "low", "high", "n_units", "method", "reason")}
    return {"measure": name, "n": n, **told}
