"""Delete-one-unit jackknife-t: the interval for statistics of pairs of items (RSA), where a bootstrap would compare copies.

Naive item bootstrap of a representational alignment is biased by +.13, because a resampled item is identical to its copy
(B7.2); leaving one item out makes no copies. Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11, eq. 11.5.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.stats import t as student

from mnemoscope.stats.clusters import codes
from mnemoscope.stats.estimate import Estimate, Estimates, reasons
from mnemoscope.stats.strata import spread, strata_of


def jackknife_t(
    whole: Float[np.ndarray, " cell"],
    without: Float[np.ndarray, "unit cell"],
    *,
    n: int,
    stratum: Int[np.ndarray, " unit"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
    fisher: bool = False,
    bias_corrected: bool = False,
) -> Estimates:
    """Intervals from the statistic on all units and with each unit left out.

        V = (m-1)/m sum_u (theta_(u) - mean theta_(.))^2        interval theta -+ t_{m-1} sqrt V        p: t test of theta = null

    `fisher`: interval and test on the arctanh scale (for correlations; limits stay inside -1, 1). `bias_corrected`: estimate
    m theta - (m-1) mean theta_(.) instead of theta. stratum: units spread within strata only
    (`mnemoscope.stats.strata`, where V is). A unit whose deletion leaves the statistic undefined (nan) makes the interval nan
    with a reason. Fewer than 3 units: nan.
    """
    units = len(without)
    stratum = np.zeros(units, np.int64) if stratum is None else stratum
    strata = int(stratum.max(initial=0)) + 1
    inside = np.clip(np.stack([whole, *without]), -1 + 1e-12, 1 - 1e-12) if fisher else np.stack([whole, *without])
    scale = np.arctanh(inside) if fisher else inside
    theta, left = scale[0], scale[1:]
    error = np.sqrt(spread(left, stratum))
    if bias_corrected:
        theta = units * theta - (units - 1) * left.mean(axis=0)
    flat = error <= 1e-12 * np.maximum(np.abs(theta), 1e-12)
    good = np.isfinite(error) & ~flat & (units >= 3)
    error = np.where(good, error, math.nan)
    df = max(units - strata, 1)
    half = student.ppf((1 + level) / 2, df) * error
    back = np.tanh if fisher else np.asarray
    return Estimates(
        estimate=back(theta) if bias_corrected else np.asarray(whole, float),
        low=back(theta - half),
        high=back(theta + half),
        p=2 * student.sf(np.abs(theta - (math.atanh(null) if fisher else null)) / error, df),
        n=np.full(whole.shape, n, np.int64),
        n_units=np.full(whole.shape, units, np.int64),
        method="jackknife-t over units"
        + (f", {strata} strata" if strata > 1 else "")
        + (", Fisher z" if fisher else ""),
        reason=reasons(
            whole.shape,
            (np.isnan(whole), "the statistic is undefined"),
            (np.full(whole.shape, units < 3), "fewer than 3 units"),
            (flat, "no variation among units: no interval"),
            (~good, "undefined when a unit is left out"),
        ),
    )


def jackknife(
    statistic: Callable[[Int[np.ndarray, " kept"]], float],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    null: float = 0.0,
    level: float = 0.95,
    fisher: bool = False,
) -> Estimate:
    """Jackknife-t of any statistic of row indices, leaving out one cluster at a time. strata: a label (relation) per unit."""
    code, n = codes(clusters)
    whole = np.array([statistic(np.arange(len(code)))])
    without = np.array([[statistic(np.flatnonzero(code != g))] for g in range(n)])
    stratum = strata_of(clusters, strata)
    return jackknife_t(whole, without, n=len(code), stratum=stratum, null=null, level=level, fisher=fisher).at(0)
