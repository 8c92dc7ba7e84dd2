"""Intervals for shares of yes and no: Wilson for reporting, exact binomial (Clopper-Pearson) for judging.

Only for independent trials. Prompts of one topic or item are not: use `clusters.clustered_mean` on 0/1 values there.
"""

import math

from scipy.stats import beta, binomtest, norm

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate, undefined


def wilson(successes: int, n: int, *, null: float = math.nan, level: float = 0.95) -> Estimate:
    """Share of successes with Wilson's score interval (1927, JASA 22); p: exact two-sided binomial test of `null`, if given.

    centre (k + z^2/2) / (n + z^2), half width z / (n + z^2) sqrt(k (n - k) / n + z^2 / 4). n = 0: undefined.
    """
    if not _checked(successes, n):
        return undefined("no trials", method="Wilson")
    z = float(norm.ppf((1 + level) / 2))
    centre = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return _share(successes, n, low=low, high=high, null=null, method="Wilson")


def exact(successes: int, n: int, *, null: float = math.nan, level: float = 0.95) -> Estimate:
    """Share of successes with the exact interval of Clopper and Pearson (1934, Biometrika 26); never covers less than `level`."""
    if not _checked(successes, n):
        return undefined("no trials", method="Clopper-Pearson")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return _share(successes, n, low=low, high=high, null=null, method="Clopper-Pearson")


def _checked(successes: int, n: int) -> bool:
    if not 0 <= successes <= n:
        raise InputError("this is no share", found=f"{successes} of {n}", allowed="0 <= successes <= n")
    return n > 0


def _share(successes: int, n: int, *, low: float, high: float, null: float, method: str) -> Estimate:
    p = math.nan if math.isnan(null) else float(binomtest(successes, n, null).pvalue)
    return Estimate(estimate=successes / n, low=low, high=high, p=p, n=n, n_units=n, method=method)
