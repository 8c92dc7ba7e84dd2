"""What chosen heads do, part by part, on the topics they were not chosen on (methods.md P2.2, B6.4). No torch.

A mover attends to the topic, writes the topic, and writes more of it where it attends more; and the answer needs it. Each is a
row of evidence of its own. The correlation of attention and (published, norm-free) write is taken within template across topics,
and within topic across templates, never pooled. Copy-suppression heads attend to the topic and write against it (McDougall et
al. 2023); they are chosen by attribution on the other half, since interchange does not look for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.schema.recall_carriers import ROLES
from mnemoscope.stats.clusters import bounded_mean, clustered_mean
from mnemoscope.stats.correlation import within_group
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife
from mnemoscope.stats.multiplicity import holm
from mnemoscope.studies.recall.config import MOVERS, SMALLEST

Head = tuple[int, int]
HALVES = {"a": "b", "b": "a"}  # measured on -> chosen on
MEANS = {  # evidence -> (column, column of its chance or None)
    "interchange": ("interchange", None),  # change of pi of the answer
    "partner_gain": ("partner", None),  # change of pi of the partner's answer
    "path": ("path", None),
    "attention": ("attention", "even"),
    "attention_first": ("attention_first", "even"),
    "write": ("to_topic", None),
    "write_specific": ("to_topic_foil", None),  # minus another topic: not merely a word of this kind
    "write_first": ("to_topic_first", None),
    "write_answer": ("to_answer_mean", None),
}
CORRELATIONS = {"correlation_topics": ("relation", "template"), "correlation_templates": ("relation", "topic")}
# What a role rests on: evidence -> (side, smallest effect of interest beyond chance).
NEEDED: Mapping[str, Mapping[str, tuple[int, float]]] = {
    "task_head": {"interchange": (-1, 0.1)},
    "mover": {"interchange": (-1, 0.1), "attention": (1, 0.05), "write": (1, 0.1), "write_specific": (1, 0.1)},
    "copy_suppression": {"attention": (1, 0.05), "write": (-1, 0.1)},
}
SIDES = {
    "interchange": (-1, 0.1),
    "partner_gain": (1, 0.1),
    "path": (-1, 0.1),
    "attention": (1, 0.05),
    "attention_first": (1, 0.05),
    "write": (1, 0.1),
    "write_specific": (1, 0.1),
    "write_first": (1, 0.1),
    "write_answer": (1, 0.1),
    "correlation_topics": (1, 0.05),
    "correlation_templates": (1, 0.05),
}
GROUP = (-1, -1)  # layer and head of a whole group


def evidence(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The table `roles`: per half the heads chosen on the other, and over both halves the group of them."""
    parts: list[pl.DataFrame] = []
    for copy in tables["selection"]["copy"].unique(maintain_order=True):
        wide = joined(tables, copy)
        for role in ("task_head", "mover", "copy_suppression"):
            chosen = {half: choice(tables, copy, role, on=HALVES[half]) for half in HALVES}
            for half, heads in chosen.items():
                parts.append(_measured(wide.filter(pl.col("half") == half), heads, copy, role, half))
            parts.append(_measured(grouped(wide, chosen), [GROUP], copy, role, "both"))
    return pl.concat(parts).select(list(ROLES.schema)) if parts else ROLES.empty()


def choice(tables: Mapping[str, pl.DataFrame], copy: str, role: str, *, on: str) -> list[Head]:
    """The heads chosen for a role on one half of the topics: at most three, strongest first."""
    if role == "copy_suppression":
        return _suppressors(tables["component_prompts"].filter((pl.col("copy") == copy) & (pl.col("half") == on)))
    rows = tables["selection"].filter(
        (pl.col("copy") == copy) & (pl.col("half") == on) & (pl.col("relation") == "") & pl.col(role)
    )
    return [(row["layer"], row["head"]) for row in rows.sort("effect").head(MOVERS).iter_rows(named=True)]


def joined(tables: Mapping[str, pl.DataFrame], copy: str) -> pl.DataFrame:
    """One row per head and prompt of a copy: attributions, attention, and the effects on the answer."""
    at = ["relation", "topic", "template", "layer", "head"]
    heads = tables["component_prompts"].filter((pl.col("copy") == copy) & (pl.col("part") == "head"))
    moved = tables["effect_prompts"].filter((pl.col("copy") == copy) & (pl.col("shots") == 0) & (pl.col("head") >= 0))
    swap = moved.filter(pl.col("method") == "interchange").select(*at, pl.col("answer").alias("interchange"), "partner")
    path = moved.filter((pl.col("method") == "path") & (pl.col("receiver") == "logits")).select(
        *at, pl.col("answer").alias("path")
    )
    wide = heads.join(swap, on=at, how="left").join(path, on=at, how="left").fill_nan(None)
    return wide.sort("relation", "topic", "template", "layer", "head")


def grouped(wide: pl.DataFrame, chosen: Mapping[str, Sequence[Head]]) -> pl.DataFrame:
    """Every prompt with the mean over the heads that were chosen on the other half, as one head."""
    some = [_these(wide.filter(pl.col("half") == half), heads) for half, heads in chosen.items()]
    numbers = [column for column, _ in MEANS.values()] + ["even", "to_topic_literal"]
    means = (
        pl.concat(some)
        .group_by("relation", "topic", "template", "half", maintain_order=True)
        .agg(pl.col(numbers).mean())
    )
    return means.with_columns(layer=pl.lit(GROUP[0]), head=pl.lit(GROUP[1])).sort("relation", "topic", "template")


def _these(wide: pl.DataFrame, heads: Iterable[Head]) -> pl.DataFrame:
    where = pl.DataFrame(list(heads), schema={"layer": pl.Int64, "head": pl.Int64}, orient="row")
    return wide.join(where, on=["layer", "head"], how="semi")


def confirmed(roles: pl.DataFrame) -> pl.DataFrame:
    """copy, role, half, layer, head, confirmed: whether every part that the role rests on is shown on the other half."""
    place = ["copy", "role", "half", "layer", "head"]
    parts = roles.filter(pl.col("needed")).group_by(place, maintain_order=True).agg(confirmed=pl.col("shown").all())
    return parts.sort(place)


def _suppressors(some: pl.DataFrame) -> list[Head]:
    means = (
        some.filter(pl.col("part") == "head")
        .group_by("layer", "head", maintain_order=True)
        .agg(pl.col("attention").mean(), pl.col("to_topic").fill_nan(None).mean())
        .filter((pl.col("attention") >= SMALLEST) & (pl.col("to_topic") <= -SMALLEST))
        .with_columns(score=pl.col("attention") * pl.col("to_topic"))
        .sort("score", "layer", "head")
    )
    return [(row["layer"], row["head"]) for row in means.head(MOVERS).iter_rows(named=True)]


def _measured(frame: pl.DataFrame, heads: Sequence[Head], copy: str, role: str, half: str) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for layer, head in heads:
        own = frame.filter((pl.col("layer") == layer) & (pl.col("head") == head))
        for name in (*MEANS, *CORRELATIONS):
            if own.height:
                rows.append(_row(name, own, {"copy": copy, "role": role, "half": half, "layer": layer, "head": head}))
    for name in (*MEANS, *CORRELATIONS):
        some = [row for row in rows if row["evidence"] == name]
        corrected = holm(np.array([row["p"] for row in some], dtype=np.float64)) if some else []
        for row, p in zip(some, corrected, strict=True):
            row["p"] = float(p)
    return pl.DataFrame(rows, schema=ROLES.schema)


def _row(name: str, own: pl.DataFrame, place: dict[str, Any]) -> dict[str, Any]:
    found, chance = mean_over_topics(own, name) if name in MEANS else (correlation(own, name), 0.0)
    needed = NEEDED[place["role"]]
    side, least = needed.get(name, SIDES[name])
    near = found.low - chance if side > 0 else chance - found.high
    return {
        **place,
        "evidence": name,
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "chance": chance,
        "p": found.p,
        "needed": name in needed,
        "shown": bool(near > least),
        "n": found.n,
        "n_units": found.n_units,
        "method": found.method,
        "reason": found.reason,
    }


def mean_over_topics(own: pl.DataFrame, name: str) -> tuple[Estimate, float]:
    """Mean of one number of one head, prompts within topic first; its p against its chance."""
    column, even = MEANS[name]
    units = own.group_by("relation", "topic", maintain_order=True).agg(
        pl.col(column).mean().alias("value"),
        (pl.col(even).mean() if even else pl.lit(0.0)).alias("chance"),
        pl.col(column).count().alias("n"),
    )
    units = units.sort("relation", "topic").drop_nulls("value")
    if not units.height:
        return undefined("no such number of this head", method="mean"), 0.0
    values, chance = units["value"].to_numpy(), units["chance"].to_numpy()
    topics, relations = (units[name].to_numpy().astype(str) for name in ("topic", "relation"))
    there = clustered_mean(values, topics, strata=relations)
    above = clustered_mean(values - chance, topics, strata=relations)
    if column.startswith("attention"):  # full attention on every topic has no variance, yet an interval
        even = float(chance.mean())
        there = bounded_mean(np.clip(values, 0, 1), topics, strata=relations, limits=(0.0, 1.0), null=even)
        above = there if np.isnan(above.p) else above
    return replace(there, p=above.p, n=int(units["n"].sum())), float(chance.mean())


def correlation(own: pl.DataFrame, name: str) -> Estimate:
    """Pearson correlation of attention to the topic and write of W_U[topic], within groups; jackknife-t over topics."""
    some = own.drop_nulls(["attention", "to_topic_literal"])
    if some.height < 4:
        return undefined("fewer than 4 prompts", method="jackknife-t over units")
    x, y = some["attention"].to_numpy(), some["to_topic_literal"].to_numpy()
    groups = (some[CORRELATIONS[name][0]] + "\n" + some[CORRELATIONS[name][1]].cast(pl.String)).to_numpy().astype(str)

    def statistic(kept: np.ndarray) -> float:
        return within_group(x[kept], y[kept], groups[kept], kind="pearson", min_size=3)

    topics, relations = (some[name].to_numpy().astype(str) for name in ("topic", "relation"))
    return jackknife(statistic, topics, strata=relations, fisher=True)
