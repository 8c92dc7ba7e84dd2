"""Are early heads the late heads? Maps of heads at two checkpoints, measured on different halves of the units. No torch."""

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.stats import rankdata

from mnemoscope.results.schema.emergence import PERSISTENCE
from mnemoscope.stats.correlation import map_correlation
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.studies.emergence.curves import FOLLOWED_SHARE, Block, mean


def persistence(series: str, score: str, found: Block) -> pl.DataFrame:
    """Every pair of checkpoints, both ways round; the diagonal is the reliability of the map."""
    if len(found.units) < 2 or len(found.heads) < 3:
        return pl.DataFrame(schema=PERSISTENCE.schema)
    even, odd = _maps(found, 0), _maps(found, 1)
    kept = ~np.isnan(even + odd).any(0)  # heads that are defined throughout
    even, odd, layer = even[:, kept], odd[:, kept], np.array([place[0] for place in found.heads])[kept]
    whole = _both_ways(_correlations(even, odd))
    each = [_both_ways(_correlations(even[:, layer == one], odd[:, layer == one])) for one in np.unique(layer)]
    within = mean(np.moveaxis(np.array(each), 0, -1)) if each else np.full_like(whole, np.nan)
    k = max(2, round(FOLLOWED_SHARE * len(layer)))
    same = _both_ways(_overlaps(even, odd, k))
    first, second = (axis.ravel() for axis in np.indices(whole.shape))
    flat = np.isnan(whole.ravel())
    return pl.DataFrame(
        {
            "series": series,
            "score": score,
            "first": found.steps[first],
            "second": found.steps[second],
            "estimate": whole.ravel(),
            "within_layer": within.ravel(),
            "kept": same.ravel(),
            "kept_by_chance": k / max(len(layer), 1),
            "n": len(layer),
            "n_units": len(found.units),
            "reason": np.where(flat, "a map is the same for all heads, or fewer than 3 heads have one", ""),
        },
        schema=PERSISTENCE.schema,
    )


def early_late(found: Block, early: int) -> Estimate:
    """Rank correlation of the map at an early checkpoint (every other unit) with the last one (the units between)."""
    if len(found.units) < 6:
        return undefined("fewer than 6 units", method="map correlation")
    first, last = found.values[early].copy(), found.values[-1].copy()
    first[1::2], last[::2] = np.nan, np.nan
    return map_correlation(first, last, np.arange(len(found.units)))


def _maps(found: Block, half: int) -> Float[np.ndarray, "checkpoint head"]:
    return mean(np.moveaxis(found.values[:, half::2], 1, -1))


def _correlations(
    first: Float[np.ndarray, "checkpoint head"], second: Float[np.ndarray, "checkpoint head"]
) -> Float[np.ndarray, "checkpoint checkpoint"]:
    """Rank correlation of every map with every other; nan for constant maps and fewer than 3 heads."""
    if first.shape[1] < 3:
        return np.full((len(first), len(second)), np.nan)
    sides: list[np.ndarray] = []
    for maps in (first, second):
        ranks = rankdata(maps, axis=1)
        centred = ranks - ranks.mean(1, keepdims=True)
        size = np.sqrt((centred**2).sum(1, keepdims=True))
        sides.append(centred / np.where(size > 0, size, np.nan))
    return np.clip(sides[0] @ sides[1].T, -1, 1)


def _both_ways(table: Float[np.ndarray, "checkpoint checkpoint"]) -> Float[np.ndarray, "checkpoint checkpoint"]:
    return (table + table.T) / 2


def _overlaps(
    first: Float[np.ndarray, "checkpoint head"], second: Float[np.ndarray, "checkpoint head"], k: int
) -> Float[np.ndarray, "checkpoint checkpoint"]:
    """Share of the k strongest heads of a map that are among the k strongest of another."""
    tops = [np.zeros_like(first), np.zeros_like(second)]
    for top, maps in zip(tops, (first, second), strict=True):
        np.put_along_axis(top, np.argsort(-maps, axis=1, kind="stable")[:, :k], 1.0, axis=1)
    return tops[0] @ tops[1].T / k
