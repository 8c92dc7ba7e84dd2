"""Means whose observations come in clusters, one-way or two-way: the estimator behind most tables.

Events of one document share the document, events with one tail word share the word; treating events as independent makes
intervals too short. The variance here is the delete-one-cluster jackknife of a (weighted) mean, called CV3 by MacKinnon,
Nielsen and Webb (2023, "Cluster-robust inference: a guide to empirical practice", J. Econometrics 232, eq. 12 and 15); two-way
it is the inclusion-exclusion of Cameron, Gelbach and Miller (2011, "Robust inference with multiway clustering", JBES 29, eq.
2.11) on CV3 parts, and never smaller than either one-way variance.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped
from scipy import sparse
from scipy.stats import beta
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate, Estimates, reasons
from mnemoscope.stats.strata import freedom, spread, strata_of

AGREE = "mean; all clusters agree: exact binomial bound"  # method of a mean whose clusters do not differ


def codes(labels: Shaped[np.ndarray, " unit"]) -> tuple[Int[np.ndarray, " unit"], int]:
    """Labels as integers 0..k-1 (in sorted order of the labels), and k."""
    distinct, code = np.unique(labels, return_inverse=True)
    return code.reshape(-1).astype(np.int64), len(distinct)


def crossed(
    first: Shaped[np.ndarray, " unit"], second: Shaped[np.ndarray, " unit"]
) -> tuple[Int[np.ndarray, " unit"], int]:
    """Codes of the combinations (first, second) that occur."""
    (a, _), (b, n_b) = codes(first), codes(second)
    return codes(a * n_b + b)


def matched(asked: str, **lengths: int) -> None:
    """Refuse arrays that should describe the same units and differ in length; lists them all."""
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"{asked}: arrays of different length", found=found, allowed="one entry per unit in each")


def sums(
    values: Real[np.ndarray, "unit cell"], code: Int[np.ndarray, " unit"], n_clusters: int
) -> Float[np.ndarray, "cluster cell"]:
    """Sum of every column within every cluster."""
    units = len(code)
    member = sparse.csr_matrix((np.ones(units), (code, np.arange(units))), shape=(n_clusters, units))
    return np.asarray(member @ np.asarray(values, float))


def clustered_means(
    values: Real[np.ndarray, "unit cell"],
    first: Shaped[np.ndarray, " unit"],
    second: Shaped[np.ndarray, " unit"] | None = None,
    *,
    weights: Real[np.ndarray, "unit cell"] | Real[np.ndarray, " unit"] | None = None,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> Estimates:
    """Weighted mean of every cell with an interval that knows the clusters (one-way, or two-way with `second`).

        m = sum w x / sum w            over the entries that are not nan
        V(c) = (G-1)/G sum_g [ (A_g - m W_g) / (W - W_g) ]^2      A_g, W_g: sums of w x, w in cluster g of grouping c
        one-way  V = V(first)          two-way  V = max( V(first) + V(second) - V(both), V(first), V(second) )
        interval m -+ t_{G-1} sqrt V   p: two-sided t test of m = null;  two-way: G the smaller number of clusters

    strata: one label per unit (relation); clusters of `first` spread within strata only (`mnemoscope.stats.strata`), with as many
    degrees of freedom fewer as there are strata.
    Events averaged within triple and triples within document (B1.3) are the weights 1 / (triples of the document x events of
    the triple). Undefined, with a reason: no data; fewer than 2 clusters (one holding all the weight counts as such); no
    variation among clusters (estimate given, interval nan: a width of 0 would pretend certainty).
    """
    values = np.asarray(values, float)
    matched("clustered mean", values=len(values), first=len(first), second=len(first if second is None else second))
    there = ~np.isnan(values)
    w = _weights(weights, there)
    x = np.where(there, values, 0.0)
    total = w.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(total > 0, (w * x).sum(axis=0) / total, math.nan)
    score = w * (x - np.nan_to_num(mean))
    code, n_first = codes(first)
    stratum = None if strata is None else strata_of(first, strata)
    variance, units, df = _variance(score, w, (code, n_first), n_reach=total, stratum=stratum)
    if second is not None:
        other, others, dfs = _variance(score, w, codes(second), n_reach=total)
        cell, n_both = crossed(first, second)
        of_both = None if stratum is None else stratum[code[np.unique(cell, return_index=True)[1]]]
        both, *_ = _variance(score, w, (cell, n_both), n_reach=total, stratum=of_both)
        variance = np.maximum(np.maximum(variance, other), variance + other - both)
        units, df = np.minimum(units, others), np.minimum(df, dfs)
    way = "CV3 t, clustered" if second is None else "CGM two-way on CV3, t"
    way += "" if stratum is None or stratum.max(initial=0) == 0 else f", {stratum.max() + 1} strata"
    return t_intervals(
        mean,
        np.sqrt(variance),
        n=there.sum(axis=0),
        n_units=units,
        df=df,
        null=null,
        level=level,
        method=f"mean; {way}",
    )


def _weights(weights: np.ndarray | None, there: Bool[np.ndarray, "unit cell"]) -> Float[np.ndarray, "unit cell"]:
    if weights is None:
        return there.astype(float)
    w = np.asarray(weights, float)
    w = w[:, None] if w.ndim == 1 else w
    if not np.all(w >= 0):
        raise InputError("weights of a mean are negative or nan", found=str(np.nanmin(w)), allowed=">= 0")
    return np.where(there, w, 0.0)


def _variance(
    score: np.ndarray,
    weight: np.ndarray,
    clusters: tuple[np.ndarray, int],
    *,
    n_reach: np.ndarray,
    stratum: np.ndarray | None = None,
) -> tuple[Float[np.ndarray, " cell"], Int[np.ndarray, " cell"], Int[np.ndarray, " cell"]]:
    """CV3 variance of the weighted mean, the number of clusters with weight, and degrees of freedom, per cell."""
    code, n = clusters
    a, w = sums(score, code, n), sums(weight, code, n)
    groups = (w > 0).sum(axis=0)
    rest = n_reach - w
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = np.where(w > 0, a / rest, 0.0)
        variance = (groups - 1) / groups * (gone**2).sum(axis=0) if stratum is None else spread(gone, stratum, w > 0)
    df = np.maximum(groups - 1, 1) if stratum is None else freedom(stratum, w > 0)
    alone = (rest <= 1e-12 * n_reach).any(axis=0)
    return np.where(alone | (groups < 2), math.nan, variance), np.where(alone, np.minimum(groups, 1), groups), df


def t_intervals(
    mean: Float[np.ndarray, " cell"],
    error: Float[np.ndarray, " cell"],
    *,
    n: Int[np.ndarray, " cell"],
    n_units: Int[np.ndarray, " cell"],
    method: str,
    df: Int[np.ndarray, " cell"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> Estimates:
    """Estimates and standard errors to intervals by Student's t with df (default n_units - 1) degrees of freedom, cell by cell."""
    flat = error <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    good = (n_units >= 2) & ~flat & np.isfinite(error)
    df = np.where(good, np.maximum(n_units - 1, 1) if df is None else df, 1)
    error = np.where(good, error, math.nan)
    half = student.ppf((1 + level) / 2, df) * error
    return Estimates(
        estimate=np.asarray(mean, float),
        low=mean - half,
        high=mean + half,
        p=2 * student.sf(np.abs(mean - null) / error, df),
        n=np.asarray(n, np.int64),
        n_units=np.asarray(n_units, np.int64),
        method=method,
        reason=reasons(
            mean.shape,
            (np.asarray(n == 0), "no observations"),
            (n_units < 2, "fewer than 2 independent units"),
            (flat, "no variation among units: no interval"),
            (~good, "standard error undefined"),
        ),
    )


def clustered_mean(
    values: Real[np.ndarray, " unit"],
    first: Shaped[np.ndarray, " unit"],
    second: Shaped[np.ndarray, " unit"] | None = None,
    *,
    weights: Real[np.ndarray, " unit"] | None = None,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """`clustered_means` of a single cell."""
    return clustered_means(values[:, None], first, second, weights=weights, strata=strata, null=null, level=level).at(0)


def bounded_mean(
    values: Real[np.ndarray, " unit"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    limits: tuple[float, float],
    strata: Shaped[np.ndarray, " unit"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
) -> Estimate:
    """`clustered_mean` of values that cannot leave `limits` (shares, differences of shares), with an interval where all agree.

    A probe that is right on all 30 items has no variance, yet is not certain. Where every cluster has the same value v, the
    share of clusters that could deviate is bounded by the exact binomial limit u for 0 of n, and the interval is v -+ u times
    the distance to the limits (for 0/1 values: Clopper-Pearson over clusters); p is then the exact chance of no deviation if the
    mean were `null`, two-sided, nan where null is not between v and a limit. Intervals are cut at the limits.
    """
    low, high = limits
    x = np.asarray(values, float)
    if np.any((x < low) | (x > high)):
        raise InputError(
            "values outside their limits", found=f"{np.nanmin(x)} to {np.nanmax(x)}", allowed=f"{low:g} to {high:g}"
        )
    one = clustered_mean(x, clusters, strata=strata, null=null, level=level)
    if math.isnan(one.low) and strata is not None and np.nanmax(x) - np.nanmin(x) > 1e-12:
        return bounded_mean(
            x, clusters, limits=limits, null=null, level=level
        )  # constant within strata: the wider interval
    if not math.isnan(one.low):
        return replace(one, low=max(one.low, low), high=min(one.high, high))
    if one.n_units < 2 or np.nanmax(x) - np.nanmin(x) > 1e-12:
        return one
    v, u = one.estimate, float(beta.ppf((1 + level) / 2, 1, one.n_units))
    room = (low - v) if null < v else (high - v)
    share = (null - v) / room if room != 0 else math.nan
    return replace(
        one,
        low=v - u * (v - low),
        high=v + u * (high - v),
        p=min(1.0, 2 * (1 - share) ** one.n_units) if 0 < share <= 1 else 1.0 if share == 0 else math.nan,
        method=AGREE,
        reason="",
    )
