"""Rank correlations: Spearman, Kendall's tau-a, partial, within groups; with intervals over the units that are independent.

Coefficients are plain functions of arrays, nan where undefined (fewer than 3 pairs, a constant input). `correlate` adds the
interval: bootstrap over clusters of rows. For correlations between two maps over heads the rows (heads) are not independent
(B2.2): `map_correlation` leaves out documents instead.
"""

import math
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Real, Shaped
from scipy.stats import kendalltau, rankdata

from mnemoscope.errors import choose
from mnemoscope.stats.bootstrap import bootstrap
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife

KINDS: Final = ("pearson", "spearman", "tau-a")


def pearson(x: Real[np.ndarray, " unit"], y: Real[np.ndarray, " unit"]) -> float:
    """Product-moment correlation over pairs without nan; nan for fewer than 3 pairs or a constant side."""
    x, y = _pairs(x, y)
    if len(x) < 3:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    flat = size <= 1e-12 * len(x) * max(float(np.abs(x).max() * np.abs(y).max()), 1e-300)
    return math.nan if flat or size == 0 else float(np.clip((x @ y) / size, -1, 1))


def spearman(x: Real[np.ndarray, " unit"], y: Real[np.ndarray, " unit"]) -> float:
    """Pearson correlation of midranks, over pairs without nan."""
    x, y = _pairs(x, y)
    return math.nan if len(x) < 3 else pearson(rankdata(x), rankdata(y))


def kendall_tau_a(x: Real[np.ndarray, " unit"], y: Real[np.ndarray, " unit"]) -> float:
    """(concordant - discordant) / all pairs: ties count as neither and stay in the denominator.

    Unlike tau-b it does not reward predictors that avoid ties (Nili et al. 2014, PLoS Comput. Biol. 10), and a constant side
    gives 0 by the formula; here that is nan. Computed from scipy's O(n log n) tau-b by undoing its tie correction.
    """
    x, y = _pairs(x, y)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    pairs = len(x) * (len(x) - 1) / 2
    untied = [pairs - _tied_pairs(side) for side in (x, y)]
    tau_b: Any = kendalltau(x, y, variant="b")
    return float(tau_b.statistic) * math.sqrt(untied[0]) * math.sqrt(untied[1]) / pairs


def _tied_pairs(x: np.ndarray) -> float:
    count = np.unique(x, return_counts=True)[1].astype(float)
    return float((count * (count - 1) / 2).sum())


def _pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matched("correlation", x=len(x), y=len(y))
    x, y = np.asarray(x, float), np.asarray(y, float)
    kept = ~(np.isnan(x) | np.isnan(y))
    return x[kept], y[kept]


def partial_spearman(
    x: Real[np.ndarray, " unit"], y: Real[np.ndarray, " unit"], covariates: Real[np.ndarray, "covariate unit"]
) -> float:
    """Correlation of the residuals of rank(x) and rank(y) after least squares on the ranks of the covariates and a constant.

    Rows with a nan anywhere are left out. nan if fewer than 3 + covariates rows are left, or a residual vanishes.
    """
    table = np.vstack([x, y, covariates]).astype(float)
    table = table[:, ~np.isnan(table).any(axis=0)]
    if table.shape[1] < 3 + len(covariates):
        return math.nan
    rank = rankdata(table, axis=1)
    basis = np.column_stack([np.ones(rank.shape[1]), rank[2:].T])
    left = rank[:2].T - basis @ np.linalg.lstsq(basis, rank[:2].T, rcond=None)[0]
    if (left.std(axis=0) <= 1e-9 * rank.shape[1]).any():
        return math.nan
    return pearson(left[:, 0], left[:, 1])


def coefficient(kind: str, x: Real[np.ndarray, " unit"], y: Real[np.ndarray, " unit"]) -> float:
    """One of KINDS by name."""
    choose("correlation", kind, KINDS)
    return {"pearson": pearson, "spearman": spearman, "tau-a": kendall_tau_a}[kind](x, y)


def within_group(
    x: Real[np.ndarray, " unit"],
    y: Real[np.ndarray, " unit"],
    groups: Shaped[np.ndarray, " unit"],
    *,
    kind: str = "spearman",
    min_size: int = 4,
) -> float:
    """Mean over groups of the correlation inside each group (B6.4: within template across topics; never pooled).

    Pooling would mix in the correlation of group means. Groups weigh alike; those with fewer than `min_size` pairs or a constant
    side do not count; nan if none counts.
    """
    code, n = codes(groups)
    each = [coefficient(kind, x[code == g], y[code == g]) for g in range(n) if (code == g).sum() >= min_size]
    defined = [value for value in each if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def correlate(
    x: Real[np.ndarray, " unit"],
    y: Real[np.ndarray, " unit"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    kind: str = "spearman",
    covariates: Real[np.ndarray, "covariate unit"] | None = None,
    groups: Shaped[np.ndarray, " unit"] | None = None,
    n_boot: int = 2000,
) -> Estimate:
    """A correlation with its BCa interval from resampling clusters of rows; partial with `covariates`, within with `groups`.

    Clusters are the independent units (topics, items). p: twice the smaller bootstrap share beyond 0. With covariates the kind
    must be "spearman"; covariates and groups exclude each other.
    """
    if covariates is not None:
        choose("partial correlation", kind, ("spearman",))

    def statistic(rows: np.ndarray) -> float:
        if covariates is not None:
            return partial_spearman(x[rows], y[rows], covariates[:, rows])
        if groups is not None:
            return within_group(x[rows], y[rows], groups[rows], kind=kind)
        return coefficient(kind, x[rows], y[rows])

    return bootstrap(statistic, clusters, rng=rng, n_boot=n_boot)


def map_correlation(
    first: Real[np.ndarray, "unit cell"],
    second: Real[np.ndarray, "unit cell"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    kind: str = "spearman",
    cells: Shaped[np.ndarray, " cell"] | None = None,
) -> Estimate:
    """Correlation over cells (heads) of two maps that are means over units (documents); jackknife-t over clusters of units.

    The interval says how the number would move with other documents, for these cells; its target is the correlation of the maps
    as measured with this many documents, so noise in the maps pulls it towards 0: print `split_half` beside it. `cells`: labels
    (layers) to correlate within, averaged. Both maps must come from the same units, or pass nan where a unit has no part in a
    map.
    """
    matched("map correlation", first=len(first), second=len(second), clusters=len(clusters))

    def statistic(rows: np.ndarray) -> float:
        a, b = _mean_map(first[rows]), _mean_map(second[rows])
        return coefficient(kind, a, b) if cells is None else within_group(a, b, cells, kind=kind)

    return jackknife(statistic, clusters, fisher=True)


def _mean_map(values: np.ndarray) -> Float[np.ndarray, " cell"]:
    there = ~np.isnan(np.asarray(values, float))
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1), math.nan)


def split_half(
    values: Real[np.ndarray, "unit cell"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    kind: str = "spearman",
    n_splits: int = 100,
) -> Estimate:
    """Reliability of a map over cells: mean correlation r of maps from random halves of the clusters, stepped up to 2 r / (1 + r).

    Spearman 1910 and Brown 1910. The ceiling of the correlation between two maps is the square root of the product of their
    reliabilities; of one map with an error-free target, the root of its own (B2.4). low, high: 2.5 and 97.5 percentiles over
    splits (how the number depends on the split, not a confidence interval). Undefined below 4 clusters; r <= -1/3 is stepped up
    to -1 at most.
    """
    code, n = codes(clusters)
    method = f"split half, Spearman-Brown, {n_splits} splits; range over splits"
    if n < 4:
        return undefined("fewer than 4 clusters to split", method=method, n=len(code), n_units=n)
    halves = np.empty(n_splits)
    for i in range(n_splits):
        mine = np.isin(code, rng.permutation(n)[: n // 2])
        halves[i] = coefficient(kind, _mean_map(values[mine]), _mean_map(values[~mine]))
    if np.isnan(halves).any():
        return undefined("a half has a constant or empty map", method=method, n=len(code), n_units=n)
    low, mid, high = (
        spearman_brown(float(r)) for r in (*np.quantile(halves, [0.025]), halves.mean(), np.quantile(halves, 0.975))
    )
    return Estimate(
        estimate=mid, low=min(low, mid), high=max(mid, high), p=math.nan, n=len(code), n_units=n, method=method
    )


def spearman_brown(r: float, *, longer: float = 2.0) -> float:
    """Reliability of a measure `longer` times as long: k r / (1 + (k - 1) r), not below -1."""
    return max(-1.0, longer * r / (1 + (longer - 1) * r)) if 1 + (longer - 1) * r > 0 else -1.0


def ceiling(*reliabilities: float) -> float:
    """Largest correlation that measures of these reliabilities can show: square root of their product; nan if one is below 0."""
    return math.sqrt(math.prod(reliabilities)) if all(r >= 0 for r in reliabilities) else math.nan
