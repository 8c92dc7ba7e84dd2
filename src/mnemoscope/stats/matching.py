"""Matched controls: for every unit the nearest candidate of each group of a pool, so that two sides are compared at equal values.

Nearest neighbours with replacement inside a caliper (Rubin 1973, Biometrics 29; Stuart 2010, Statistical Science 25, section 3).
One per group, because groups (texts) are what is independent: the k nearest of a whole pool can all lie in two texts.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched


def nearest(
    values: Float[np.ndarray, " unit"],
    pool: Float[np.ndarray, " candidate"],
    groups: Shaped[np.ndarray, " candidate"],
    *,
    caliper: float,
) -> Int[np.ndarray, "unit group"]:
    """Index into the pool of the candidate nearest to every unit, in every group (sorted order), ties to the earlier.

    -1 where a group has none within the caliper. nan never matches.
    """
    if not caliper > 0:
        raise InputError("matching", found=f"caliper={caliper:g}", allowed="caliper > 0")
    matched("matching", pool=len(pool), groups=len(groups))
    code, n = codes(groups)
    found = np.full((len(values), n), -1, dtype=np.int64)
    units = np.flatnonzero(~np.isnan(values))
    for group in range(n):
        alive = np.flatnonzero((code == group) & ~np.isnan(pool))
        if len(alive) and len(units):
            gap = np.abs(values[units][:, None] - pool[alive])
            best = gap.argmin(axis=1)
            near = gap[np.arange(len(units)), best] <= caliper
            found[units, group] = np.where(near, alive[best], -1)
    return found
