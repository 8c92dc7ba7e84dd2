"""Two crossed groupings (document x tail type), both resampled: the pigeonhole bootstrap.

Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1. Conservative; `clusters.clustered_means` is the
primary two-way interval.
"""

import math

import numpy as np
from jaxtyping import Real, Shaped

from mnemoscope.stats.bootstrap import multiplicities, tails
from mnemoscope.stats.clusters import codes
from mnemoscope.stats.estimate import Estimate, undefined


def pigeonhole_mean(
    values: Real[np.ndarray, " unit"],
    first: Shaped[np.ndarray, " unit"],
    second: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    weights: Real[np.ndarray, " unit"] | None = None,
    n_boot: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """Weighted mean over two crossed groupings: both are resampled, a unit counts (draws of its first) x (draws of its second).

    Percentile interval. Conservative: without two-way effects its variance is up to three times the true one (Owen 2007, theorem
    3); it stands beside the two-way t interval of `clusters`, as a check that does not use a normal approximation.
    """
    there = ~np.isnan(np.asarray(values, float))
    w = (np.ones(len(values)) if weights is None else np.asarray(weights, float))[there]
    x = np.asarray(values, float)[there]
    (a, n_a), (b, n_b) = codes(first[there]), codes(second[there])
    method = f"pigeonhole bootstrap, percentile, {n_boot} resamples"
    if min(n_a, n_b) < 3:
        return undefined("fewer than 3 clusters in one grouping", method=method, n=len(x), n_units=min(n_a, n_b))
    one, two = multiplicities(n_a, n_boot, rng), multiplicities(n_b, n_boot, rng)
    star = np.empty((n_boot, 1))
    for i in range(n_boot):  # row by row: units x resamples would not fit for millions of events
        drawn = w * one[i, a] * two[i, b]
        total = drawn.sum()
        star[i, 0] = (drawn @ x) / total if total > 0 else math.nan
    theta = np.array([(w @ x) / w.sum()])
    low, high, p = tails(star, theta=theta, level=level)
    hole = bool(np.isnan(low[0]))
    return Estimate(
        estimate=float(theta[0]),
        low=float(low[0]),
        high=float(high[0]),
        p=float(p[0]),
        n=len(x),
        n_units=min(n_a, n_b),
        method=method,
        reason="no variation among resamples" if hole else "",
    )
