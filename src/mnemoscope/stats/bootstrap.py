"""Bootstrap over clusters: intervals for ratios and for statistics that have no standard error of their own.

Clusters (documents, topics, items) are drawn with replacement, whole. Three intervals: percentile; BCa (bias-corrected and
accelerated: Efron 1987, JASA 82; acceleration from the delete-one-cluster jackknife); studentised (bootstrap-t, Efron and
Tibshirani 1993, section 12.5), which is the default wherever a standard error exists, because with 10 to 40 clusters the other
two are too short. Means and ratios are reduced to sums per cluster first, so that a resample is one row of a matrix product.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from scipy.stats import norm

from mnemoscope.errors import choose
from mnemoscope.stats.clusters import codes, matched, sums
from mnemoscope.stats.estimate import Estimate, Estimates, reasons, undefined
from mnemoscope.stats.strata import centred, draws, strata_of

INTERVALS: Final = ("percentile", "bca", "studentised")
CELLS_AT_ONCE: Final = 512  # columns per matrix product: n_boot x 512 doubles, 8 MB at 2,000 resamples


def multiplicities(n_clusters: int, n_boot: int, rng: np.random.Generator) -> Float[np.ndarray, "boot cluster"]:
    """How often each cluster occurs in each resample; rows sum to the number of clusters."""
    return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_boot).astype(float)


def bootstrap_ratios(
    numerator: Real[np.ndarray, "unit cell"],
    denominator: Real[np.ndarray, "unit cell"] | None,
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    n_boot: int = 2000,
    interval: str = "studentised",
    null: float = 0.0,
    level: float = 0.95,
) -> Estimates:
    """Ratio of sums, theta = sum A / sum B, per cell; B = 1 per present unit (a mean) where `denominator` is None.

    Units where A or B is nan are left out of that cell. strata: a label (relation) per unit; clusters are drawn within strata
    (`mnemoscope.stats.strata`). Studentised within every resample by the linearised standard error

        V = sum_s n_s/(n_s-1) sum_g (e_g - mean_s e)^2 / (sum B)^2         e_g = A_g - theta B_g, n_s clusters in stratum s

    p is the share (1 + b)/(1 + m) of resamples whose |t| about theta reaches |theta - null| / se (percentile, BCa: twice the
    smaller tail share beyond the null). Undefined: no data, fewer than 3 clusters, no variation, or a denominator that vanishes
    in more than 1% of resamples.
    """
    choose("bootstrap interval", interval, INTERVALS)
    matched("bootstrap", numerator=len(numerator), clusters=len(clusters))
    a = np.asarray(numerator, float)
    b = np.ones_like(a) if denominator is None else np.asarray(denominator, float)
    there = ~(np.isnan(a) | np.isnan(b))
    code, n = codes(clusters)
    a, b, m = (sums(np.where(there, x, 0.0), code, n) for x in (a, b, there.astype(float)))
    stratum = strata_of(clusters, strata)
    weight = draws(stratum, n_boot, rng)
    cells = [slice(i, i + CELLS_AT_ONCE) for i in range(0, a.shape[1], CELLS_AT_ONCE)]
    same = {"stratum": stratum, "interval": interval, "null": null, "level": level}
    parts = [_ratio_cells(a[:, c], b[:, c], weight, **same) for c in cells]
    theta, low, high, p, bad = (np.concatenate([part[i] for part in parts]) for i in range(5))
    units = (m > 0).sum(axis=0)
    few, none = units < 3, m.sum(axis=0) == 0
    hole = np.isnan(low) | np.isnan(high) | few
    gone = np.where(hole, math.nan, 1.0)
    return Estimates(
        estimate=theta,
        low=low * gone,
        high=high * gone,
        p=p * gone,
        n=m.sum(axis=0).astype(np.int64),
        n_units=units.astype(np.int64),
        method=f"cluster bootstrap, {interval}, {n_boot} resamples" + named(stratum),
        reason=reasons(
            theta.shape,
            (none, "no observations"),
            (few, "fewer than 3 clusters"),
            (bad > 0.01, "the denominator vanishes in more than 1% of resamples"),
            (hole | np.isnan(theta), "no variation among clusters: no interval"),
        ),
    )


def named(stratum: Int[np.ndarray, " cluster"]) -> str:
    """How the strata stand behind the name of a method."""
    return f", {stratum.max() + 1} strata" if stratum.max(initial=0) else ""


def _ratio_cells(
    a: np.ndarray,
    b: np.ndarray,
    weight: np.ndarray,
    *,
    stratum: np.ndarray,
    interval: str,
    null: float,
    level: float,
) -> tuple[np.ndarray, ...]:
    """theta, low, high, p and the share of undefined resamples, for one block of cells."""
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = a.sum(axis=0) / b.sum(axis=0)
        below = weight @ b
        star = (weight @ a) / below
        bad = (~np.isfinite(star)).mean(axis=0)
        if interval == "studentised":
            low, high, p = _studentised(a, b, weight, stratum, star=star, theta=theta, null=null, level=level)
        else:
            left = centred((a.sum(axis=0) - a) / (b.sum(axis=0) - b), stratum)[0] if interval == "bca" else None
            low, high, p = tails(star, theta=theta, left_out=left, null=null, level=level)
    hole = np.where((bad > 0.01) | ~np.isfinite(theta), math.nan, 1.0)
    return np.where(np.isfinite(theta), theta, math.nan), low * hole, high * hole, p * hole, bad


def _studentised(
    a: np.ndarray,
    b: np.ndarray,
    weight: np.ndarray,
    stratum: np.ndarray,
    *,
    star: np.ndarray,
    theta: np.ndarray,
    null: float,
    level: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    square = _square(a, b, np.ones((1, len(a))), stratum, theta[None])[0]
    error = np.sqrt(np.maximum(square, 0)) / np.abs(b.sum(axis=0))
    error = np.where(error <= 1e-12 * np.maximum(np.abs(theta), 1e-300), math.nan, error)
    t = (star - theta) / (np.sqrt(np.maximum(_square(a, b, weight, stratum, star), 0)) / np.abs(weight @ b))
    t = np.where(np.isnan(t), 0.0, t)  # 0/0: a resample of one cluster only, equal to theta
    ends = _quantiles(t, (1 - level) / 2, (1 + level) / 2)
    beyond = (np.abs(t) >= np.abs(theta - null) / error).sum(axis=0)
    p = np.where(np.isnan(error), math.nan, (1 + beyond) / (1 + len(t)))
    return theta - ends[1] * error, theta - ends[0] * error, p


def _square(
    a: np.ndarray, b: np.ndarray, weight: np.ndarray, stratum: np.ndarray, theta: np.ndarray
) -> Float[np.ndarray, "boot cell"]:
    """sum_s n_s/(n_s-1) [sum w e^2 - (sum w e)^2 / n_s], e = A_g - theta B_g, in every resample (row of weights)."""
    total = np.zeros((len(weight), a.shape[1]))
    for s in range(int(stratum.max(initial=0)) + 1):
        mine = stratum == s
        w, x, y, n = weight[:, mine], a[mine], b[mine], int(mine.sum())
        whole = w @ (x * x) - 2 * theta * (w @ (x * y)) + theta**2 * (w @ (y * y))
        total += n / max(n - 1, 1) * (whole - (w @ x - theta * (w @ y)) ** 2 / n)
    return total


def _quantiles(values: np.ndarray, *levels: float) -> np.ndarray:
    """Order statistics (no interpolation: resamples may be infinite)."""
    return np.quantile(values, levels, axis=0, method="inverted_cdf")


def tails(
    star: Float[np.ndarray, "boot cell"],
    *,
    theta: Float[np.ndarray, " cell"],
    left_out: Float[np.ndarray, "cluster cell"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """low, high and p from resampled statistics: percentile, or BCa where leave-one-out statistics are given.

    BCa: levels Phi(z0 + (z0 + z)/(1 - a (z0 + z))), z0 = Phi^-1(share below theta, ties half), a = sum d^3 / (6 (sum d^2)^1.5)
    with d = mean(left out) - left out. Resamples that are nan are ignored; constant ones give nan.
    """
    fine = np.isfinite(star)
    count = np.maximum(fine.sum(axis=0), 1)
    ends = np.array([[(1 - level) / 2], [(1 + level) / 2]]) * np.ones_like(theta)
    if left_out is not None:
        share = ((star < theta) & fine).sum(axis=0) + 0.5 * (star == theta).sum(axis=0)
        z0 = norm.ppf(np.clip(share / count, 0.5 / count, 1 - 0.5 / count))
        d = left_out.mean(axis=0) - left_out
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.nan_to_num((d**3).sum(axis=0) / (6 * (d**2).sum(axis=0) ** 1.5))
        z = z0 + norm.ppf(ends)
        ends = norm.cdf(z0 + z / (1 - a * z))
    ordered = np.sort(np.where(fine, star, math.inf), axis=0)
    place = np.clip(np.ceil(ends * count).astype(int) - 1, 0, count - 1)
    low, high = np.take_along_axis(ordered, place, axis=0)
    constant = ordered[0] == np.take_along_axis(ordered, (count - 1)[None], axis=0)[0]
    under, over = ((star <= null) & fine).sum(axis=0), ((star >= null) & fine).sum(axis=0)
    p = np.minimum(1.0, 2 * (1 + np.minimum(under, over)) / (1 + count))
    hole = np.where(constant | ~np.isfinite(theta), math.nan, 1.0)
    return low * hole, high * hole, p * hole


def bootstrap_ratio(
    numerator: Real[np.ndarray, " unit"],
    denominator: Real[np.ndarray, " unit"] | None,
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    n_boot: int = 2000,
    interval: str = "studentised",
    null: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """`bootstrap_ratios` of a single cell; a mean where `denominator` is None."""
    b = None if denominator is None else denominator[:, None]
    same = {"strata": strata, "rng": rng, "n_boot": n_boot, "interval": interval, "null": null, "level": level}
    return bootstrap_ratios(numerator[:, None], b, clusters, **same).at(0)


def bootstrap(
    statistic: Callable[[Int[np.ndarray, " drawn"]], float],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    n_boot: int = 2000,
    interval: str = "bca",
    null: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """Interval of any statistic of row indices; a cluster drawn twice brings its rows twice.

    Not for statistics of *pairs* of units (a copy resembles itself: use `jackknife`). Resamples where the statistic is nan are
    left out; more than 5% of them make the interval nan. Percentile or BCa; studentised needs a standard error:
    `bootstrap_ratios`.
    """
    choose("bootstrap interval", interval, INTERVALS[:2])
    code, n = codes(clusters)
    rows = [np.flatnonzero(code == g) for g in range(n)]
    theta = float(statistic(np.arange(len(code))))
    method = f"cluster bootstrap, {interval}, {n_boot} resamples"
    if math.isnan(theta) or n < 3:
        why = "the statistic is undefined" if math.isnan(theta) else "fewer than 3 clusters"
        return undefined(why, method=method, n=len(code), n_units=n)
    picks = rng.integers(n, size=(n_boot, n))
    star = np.array([[statistic(np.concatenate([rows[g] for g in pick]))] for pick in picks], float)
    left = None
    if interval == "bca":
        left = np.array([[statistic(np.flatnonzero(code != g))] for g in range(n)], float)
        left = left[np.isfinite(left[:, 0])]
    low, high, p = tails(star, theta=np.array([theta]), left_out=left, null=null, level=level)
    bad = float(np.isnan(star).mean())
    hole = bad > 0.05 or bool(np.isnan(low[0]))
    reason = f"undefined in {bad:.0%} of resamples" if bad > 0.05 else "no variation among resamples"
    return Estimate(
        estimate=theta,
        low=math.nan if hole else float(low[0]),
        high=math.nan if hole else float(high[0]),
        p=math.nan if hole else float(p[0]),
        n=len(code),
        n_units=n,
        method=method,
        reason=reason if hole else "",
    )
