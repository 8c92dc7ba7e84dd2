"""What the levels of in-context learning lose without a group of heads, against layer-matched random sets (B5). No torch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema import relation_cause as schema
from mnemoscope.stats.clusters import clustered_mean

WORSE: Mapping[str, int] = {"loss": 1, "loss_reduction": 1, "format": -1, "pattern": -1, "right": -1}  # sign of harm


def group_effects(rows: pl.DataFrame) -> pl.DataFrame:
    """The table `relation_group_effects`."""
    found: list[dict[str, Any]] = []
    for k in rows["k"].unique().sort():
        here = rows.filter(pl.col("k") == k)
        for level in WORSE:
            found += _level(here.filter(pl.col("level") == level), int(k), level)
    return pl.DataFrame(found, schema=schema.RELATION_GROUP_EFFECTS.schema)


def _level(rows: pl.DataFrame, k: int, level: str) -> list[dict[str, Any]]:
    plain = rows.filter(pl.col("group") == "none").sort("item")
    if not plain.height:
        return []
    base, units = plain["value"].to_numpy(), plain["unit"].to_numpy()
    named = rows.filter(~pl.col("group").str.starts_with("random") & (pl.col("group") != "none"))
    ordinary = set(_heads(rows, "ordinary"))
    found: list[dict[str, Any]] = []
    for (group, op), one in named.sort("group", "op").group_by("group", "op", maintain_order=True):
        change = one.sort("item")["value"].to_numpy() - base
        heads = _heads(rows, str(group))
        place = {
            "k": k,
            "level": level,
            "group": group,
            "op": op,
            "heads": " ".join(heads),
            "overlap": len(ordinary & set(heads)),
        }
        random = (
            _random(rows, "ordinary" if group == "ordinary" else "semantic", base) if op == "mean" else np.empty((0, 0))
        )
        found.append(
            place | {"against": "nothing"} | _row(change, units) | _sets(change, random, level, rows, str(group))
        )
        if len(random):
            excess = change - random.mean(0)
            found.append(
                place
                | {"against": "random heads"}
                | _row(excess, units)
                | _sets(change, random, level, rows, str(group))
            )
    found += _contrast(rows, k, level, units)
    return found


def _contrast(rows: pl.DataFrame, k: int, level: str, units: np.ndarray) -> list[dict[str, Any]]:
    """Semantic minus ordinary, with and without the heads that are both."""
    mean = rows.filter(pl.col("op") == "mean")
    values = {
        str(group): one.sort("item")["value"].to_numpy()
        for (group,), one in mean.group_by("group", maintain_order=True)
        if not str(group).startswith("random")
    }
    return [
        {
            "k": k,
            "level": level,
            "group": group,
            "op": "mean",
            "heads": " ".join(_heads(rows, group)),
            "overlap": len(set(_heads(rows, "ordinary")) & set(_heads(rows, group))),
            "against": "ordinary heads",
            **_row(values[group] - values["ordinary"], units),
            **_NO_SETS,
        }
        for group in ("semantic", "semantic_not_ordinary")
        if group in values and "ordinary" in values
    ]


def _heads(rows: pl.DataFrame, group: str) -> list[str]:
    kept = rows.filter(pl.col("group") == group)
    return str(kept["heads"][0]).split() if kept.height else []


def _random(rows: pl.DataFrame, group: str, base: np.ndarray) -> Float[np.ndarray, "set item"]:
    """Change of every item under every random set of the same make."""
    kept = rows.filter(pl.col("group") == f"random_{group}").sort("set", "item")
    return kept["value"].to_numpy().reshape(-1, len(base)) - base if kept.height else np.empty((0, len(base)))


def _row(change: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    one = clustered_mean(change, units)
    return {
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "n_units": one.n_units,
        "reason": one.reason,
    }


_NO_SETS: Mapping[str, Any] = {
    "random_mean": math.nan,
    "random_low": math.nan,
    "random_high": math.nan,
    "p_sets": math.nan,
    "smallest_p": math.nan,
    "n_sets": 0,
    "complete": False,
}


def _sets(change: np.ndarray, random: np.ndarray, level: str, rows: pl.DataFrame, group: str) -> dict[str, Any]:
    """Where the group stands among its random counterparts; p: share of sets that harm at least as much, the group included."""
    if not len(random) or np.isnan(random).all():
        return dict(_NO_SETS)
    means, own = np.nanmean(random, axis=1), np.nanmean(change)
    harm = WORSE[level]
    own_kind = "ordinary" if group == "ordinary" else "semantic"
    complete = bool(rows.filter(pl.col("group") == f"random_{own_kind}")["complete"][0])
    return {
        "random_mean": float(means.mean()),
        "random_low": float(np.quantile(means, 0.025)),
        "random_high": float(np.quantile(means, 0.975)),
        "p_sets": float((1 + (harm * means >= harm * own - 1e-12).sum()) / (1 + len(means))),
        "smallest_p": 1 / (1 + len(means)),
        "n_sets": len(means),
        "complete": complete,
    }
