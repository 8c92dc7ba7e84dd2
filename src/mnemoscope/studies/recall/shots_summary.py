"""Zero against few shots: are the maps alike, as far as their noise lets one see? No torch.

rank_correlation   Spearman over heads of the two interchange maps (same topics and templates), jackknife-t over topics; its
                   ceiling is the root of the product of the two split-half reliabilities
overlap            share of the k strongest heads that both maps have; chance k / heads
larger             change of the effect of the strongest zero-shot heads (chosen on the other half), few minus zero
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.recall_carriers import SHOTS
from mnemoscope.stats.clusters import clustered_mean, codes
from mnemoscope.stats.correlation import ceiling, pearson, spearman
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife
from mnemoscope.studies.recall.carriers_summary import maps
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.units import Units

Likeness = Callable[[np.ndarray, np.ndarray], float]
SPLITS: Final = 10  # random halves, the same for every jackknife replicate


def few(n_heads: int) -> int:
    """How many heads are "few": a tenth of all, at least 2, at most 5 (C2.1)."""
    return min(5, max(2, n_heads // 10))


def shots(raw: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The table `shots`, trained model, interchange at the last position."""
    interchange = raw.filter((pl.col("method") == "interchange") & (pl.col("copy") == "trained"))
    numbers = sorted(k for k in interchange["shots"].unique().to_list() if k > 0)
    rows = [row for k in numbers for row in _compared(*paired(interchange, k), k, config)]
    return pl.DataFrame(rows, schema=SHOTS.schema)


def paired(interchange: pl.DataFrame, k: int) -> tuple[Units, Units]:
    """Both maps on the prompts that both have."""
    at = ["relation", "topic", "template"]
    zero, some = (interchange.filter(pl.col("shots") == n) for n in (0, k))
    shared = zero.select(at).unique().join(some.select(at).unique(), on=at, how="inner")
    return maps(zero.join(shared, on=at, how="semi")), maps(some.join(shared, on=at, how="semi"))


def strongest(effect: Float[np.ndarray, " cell"], k: int) -> Int[np.ndarray, " k"]:
    """The k cells with the largest drop."""
    return np.argsort(np.nan_to_num(effect, nan=np.inf), kind="stable")[:k]


def _compared(zero: Units, some: Units, k: int, config: Config) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed_of(config.seed, f"split halves {k}"))
    most = few(len(zero.cells))
    rows: list[dict[str, Any]] = []
    for measure, like, least in (
        ("rank_correlation", spearman, -1.0),
        ("correlation", pearson, -1.0),
        ("overlap", lambda a, b: shared(a, b, most), 0.0),
    ):
        alike, top = across_halves(zero, some, like=like, rng=rng, least=least)
        chance = most / len(zero.cells) if measure == "overlap" else 0.0
        rows.append(_row(measure, alike, k, ceiling=top, chance=chance))
    return [*rows, _row("larger", larger(zero, some, most), k, ceiling=np.nan, chance=0.0)]


def across_halves(
    zero: Units, some: Units, *, like: Likeness, rng: np.random.Generator, least: float
) -> tuple[Estimate, float]:
    """Likeness of two maps from disjoint halves of the topics, averaged over random halves; and its ceiling.

    Interval: jackknife-t over topics, cut at `least` and 1. (On Fisher's scale small differences near 1 would be blown up.)
    """
    topics = zero.topics.astype(str)
    code, n = codes(topics)
    if n < 4:
        return undefined("fewer than 4 topics to split", method="likeness across halves"), np.nan
    sides = [np.isin(code, rng.permutation(n)[: n // 2]) for _ in range(SPLITS)]

    def between(first: Units, second: Units, kept: Int[np.ndarray, " kept"]) -> float:
        found = [
            like(_map(first.values[kept[one[kept]]]), _map(second.values[kept[~one[kept]]]))
            for side in sides
            for one in (side, ~side)
        ]
        return float(np.mean(found))

    alike = jackknife(lambda kept: between(zero, some, kept), topics, strata=zero.relations.astype(str))
    if not np.isnan(alike.low):
        alike = replace(alike, low=max(alike.low, least), high=min(alike.high, 1.0))
    everyone = np.arange(len(topics))
    return alike, ceiling(between(zero, zero, everyone), between(some, some, everyone))


def shared(first: Float[np.ndarray, " cell"], second: Float[np.ndarray, " cell"], most: int) -> float:
    """Share of the `most` strongest heads of one map that are among those of the other."""
    return len(set(strongest(first, most).tolist()) & set(strongest(second, most).tolist())) / most


def _map(values: Float[np.ndarray, "unit cell"]) -> Float[np.ndarray, " cell"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a cell that no unit has stays nan
        return np.nanmean(values, axis=0)


def larger(zero: Units, some: Units, most: int) -> Estimate:
    """How much more the answer falls with few shots than with none when one of the strongest zero-shot heads is exchanged."""
    change = np.full(len(zero.topics), np.nan)
    for half in ("a", "b"):
        here = zero.halves == half
        if here.any() and (~here).any():
            heads = strongest(_map(zero.values[~here]), most)
            change[here] = (zero.values[here][:, heads] - some.values[here][:, heads]).mean(axis=1)
    if np.isnan(change).all():
        return undefined("one half has no topics", method="mean over topics")
    return clustered_mean(change, zero.topics.astype(str), strata=zero.relations.astype(str))


def _row(measure: str, found: Estimate, k: int, *, ceiling: float, chance: float) -> dict[str, Any]:
    return {
        "copy": "trained",
        "shots": k,
        "measure": measure,
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "ceiling": ceiling,
        "chance": chance,
        "n": found.n,
        "n_units": found.n_units,
        "method": found.method,
        "reason": found.reason,
    }
