"""Ratios whose denominator may be nothing: percent of a base score, recovery of a transplant (B6.1, B7.6).

A ratio is printed only where its denominator is safely away from zero; otherwise it is nan with that reason, because a ratio over
noise looks like a large effect. Numerator and denominator come from the same units and are resampled together.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.stats.bootstrap import bootstrap_ratio, named, tails
from mnemoscope.stats.clusters import clustered_mean, codes, sums
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.strata import centred, draws, strata_of


def guarded_ratio(
    numerator: Real[np.ndarray, " unit"],
    denominator: Real[np.ndarray, " unit"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    floor: float = 1.0,
    scale: float = 1.0,
    n_boot: int = 2000,
    interval: str = "studentised",
) -> Estimate:
    """scale x mean(numerator) / mean(denominator), only where the denominator's lower 95% limit exceeds `floor`.

    B6.1: 100 (pi_patched - pi_orig) / pi_orig is `guarded_ratio(effect, pi_orig, topics, floor=1.0, scale=100)`: percent, with
    pi in logits. B7.6's "interval excludes 0" is floor=0.0 (a negative denominator fails as well: turn its sign first).
    """
    base = clustered_mean(np.asarray(denominator, float), clusters, strata=strata)
    if not base.low > floor:
        shown = base.reason or f"mean {base.estimate:.3g}, lower limit {base.low:.3g}"
        why = f"the denominator is not above {floor:g}: {shown}"
        return undefined(why, method="guarded ratio", n=base.n, n_units=base.n_units)
    ratio = bootstrap_ratio(numerator, denominator, clusters, rng=rng, strata=strata, n_boot=n_boot, interval=interval)
    ends = sorted((ratio.low * scale, ratio.high * scale)) if not math.isnan(ratio.low) else [math.nan, math.nan]
    return replace(ratio, estimate=ratio.estimate * scale, low=ends[0], high=ends[1])


def difference_of_ratios(
    first: tuple[Real[np.ndarray, " unit"], Real[np.ndarray, " unit"]],
    second: tuple[Real[np.ndarray, " unit"], Real[np.ndarray, " unit"]],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    strata: Shaped[np.ndarray, " unit"] | None = None,
    floor: float = 0.0,
    n_boot: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """sum A1 / sum B1 - sum A2 / sum B2, both pairs from the same units; BCa over clusters resampled jointly.

    B7.6: recovery of a transplant minus recovery of the neutral prefix is first = (patched - before, after - before), second =
    (neutral - before, after - before). Undefined unless both denominators have a lower limit above `floor`. strata: a label
    (relation) per unit; clusters are drawn within strata.
    """
    columns = np.stack([np.asarray(x, float) for x in (*first, *second)], axis=1)
    kept = ~np.isnan(columns).any(axis=1)
    columns, code, n = columns[kept], *codes(clusters[kept])
    labels = None if strata is None else strata[kept]
    stratum = strata_of(code, labels)
    method = f"difference of ratios, cluster bootstrap, bca, {n_boot} resamples" + named(stratum)
    for side in (1, 3):
        base = clustered_mean(columns[:, side], code, strata=labels)
        if not base.low > floor:
            why = f"a denominator is not above {floor:g}: {base.reason or f'lower limit {base.low:.3g}'}"
            return undefined(why, method=method, n=len(columns), n_units=n)
    total = sums(columns, code, n)
    whole = total.sum(axis=0)
    theta = _difference(whole[None])
    star = _difference(draws(stratum, n_boot, rng) @ total)
    left = centred(_difference(whole - total), stratum)[0]
    low, high, p = tails(star, theta=theta[0], left_out=left, level=level)
    hole = math.isnan(low[0])
    return Estimate(
        estimate=float(theta[0, 0]),
        low=float(low[0]),
        high=float(high[0]),
        p=float(p[0]),
        n=len(columns),
        n_units=n,
        method=method,
        reason="no variation among clusters: no interval" if hole else "",
    )


def _difference(total: Float[np.ndarray, "row 4"]) -> Float[np.ndarray, "row 1"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (total[:, 0] / total[:, 1] - total[:, 2] / total[:, 3])[:, None]
