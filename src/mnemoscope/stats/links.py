"""Within-item regression: does a change inside an item go with another change inside the same item (B7.5)?

Items differ in difficulty; a correlation across items would confuse "easy items have both" with "more of one brings more of the
other". Both variables are demeaned within item, the slope is fitted through the origin, and items are resampled.
"""

import math

import numpy as np
from jaxtyping import Real, Shaped

from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.clusters import codes
from mnemoscope.stats.estimate import Estimate, undefined


def within_slope(
    x: Real[np.ndarray, " unit"],
    y: Real[np.ndarray, " unit"],
    items: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    n_boot: int = 2000,
    interval: str = "studentised",
    standardise: bool = False,
) -> Estimate:
    """Slope of y on x within items: sum (x - x_item)(y - y_item) / sum (x - x_item)^2, with an item-cluster bootstrap.

    The fixed-effects ("within") estimator. Unit: y per x; `standardise` divides both by their within-item standard deviation
    (then the slope is the within-item correlation). Rows with nan are left out, items with one row carry nothing. Undefined:
    fewer than 3 items with two rows, or no variation of x within items.
    """
    kept = ~(np.isnan(np.asarray(x, float)) | np.isnan(np.asarray(y, float)))
    code, n = codes(items[kept])
    dx, dy = (_demeaned(np.asarray(v, float)[kept], code, n) for v in (x, y))
    several = np.bincount(code, minlength=n)[code] >= 2 if n else np.zeros(0, bool)
    dx, dy, code = dx[several], dy[several], code[several]
    units = len(np.unique(code))
    method = f"within-item slope, item bootstrap, {interval}, {n_boot} resamples"
    flat = float(dx @ dx) <= 1e-20 * max(float((np.asarray(x, float)[kept] ** 2).sum()), 1e-300)
    if units < 3 or flat:
        why = "fewer than 3 items with several rows" if units < 3 else "x does not vary within items"
        return undefined(why, method=method, n=len(dx), n_units=units)
    if standardise:
        size_x, size_y = math.sqrt(float(dx @ dx)), math.sqrt(float(dy @ dy))
        if size_y <= 1e-10 * max(float(np.abs(np.asarray(y, float)[kept]).max()), 1e-300):
            return undefined("y does not vary within items", method=method, n=len(dx), n_units=units)
        dx, dy = dx / size_x, dy / size_y
    return bootstrap_ratio(dx * dy, dx * dx, code, rng=rng, n_boot=n_boot, interval=interval)


def _demeaned(x: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    return x - (np.bincount(code, x, n) / np.maximum(np.bincount(code, minlength=n), 1))[code]
