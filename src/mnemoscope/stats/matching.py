"""Matched controls: for every unit the nearest units of a pool, so that two groups are compared at equal values of something.

Nearest neighbours with replacement inside a caliper (Rubin 1973, Biometrics 29; Stuart 2010, Statistical Science 25, section 3).
"""

import numpy as np
from jaxtyping import Float, Int

from mnemoscope.errors import InputError


def nearest(
    values: Float[np.ndarray, " unit"], pool: Float[np.ndarray, " candidate"], *, k: int, caliper: float
) -> Int[np.ndarray, "unit k"]:
    """The k candidates nearest to every unit, nearest first, ties to the earlier; -1 where none is left within the caliper.

    nan never matches. k must not exceed the pool (all -1 then: an empty control is no control).
    """
    if k < 1 or not caliper > 0:
        raise InputError("matching", found=f"k={k}, caliper={caliper:g}", allowed="k >= 1, caliper > 0")
    found = np.full((len(values), k), -1, dtype=np.int64)
    alive = np.flatnonzero(~np.isnan(pool))
    order = alive[np.argsort(pool[alive], kind="stable")]
    ordered = pool[order]
    for unit in np.flatnonzero(~np.isnan(values)) if len(order) >= k else ():
        place = int(np.searchsorted(ordered, values[unit]))
        near = order[max(0, place - k) : place + k]
        gap = np.abs(pool[near] - values[unit])
        best = np.lexsort((near, gap))[:k]
        found[unit, : len(best)] = np.where(gap[best] <= caliper, near[best], -1)
    return found
