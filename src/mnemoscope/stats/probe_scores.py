"""What readings of probes say: scores and paired gains with intervals that count the sharing of folds (B7.3)."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.clusters import bounded_mean, clustered_mean
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.probe import Reading


def probe_score(reading: Reading, items: Shaped[np.ndarray, " prompt"], *, rng: np.random.Generator) -> Estimate:
    """Classes: accuracy minus the mean base (probability). Value: R2 about the training mean. Intervals over items, `refitted`."""
    if reading.kind == "classes":
        base = float(reading.base.mean())
        one = _share(reading.score, items, reading, limits=(0.0, 1.0), null=base)
        return replace(one, estimate=one.estimate - base, low=one.low - base, high=one.high - base)
    ratio = refitted(bootstrap_ratio(reading.score, reading.base, items, rng=rng, null=1.0), reading, null=1.0)
    return Estimate(
        estimate=1 - ratio.estimate,
        low=1 - ratio.high,
        high=1 - ratio.low,
        p=ratio.p,
        n=ratio.n,
        n_units=ratio.n_units,
        method="R2 about the training mean; " + ratio.method,
        reason=ratio.reason,
    )


def probe_gain(after: Reading, before: Reading, items: Shaped[np.ndarray, " prompt"]) -> Estimate:
    """Paired gain on the same prompts and folds: accuracy, or (value) the drop in squared error per base error of `before`.

    Serves after against before examples, and a layer against layer 0; a task against its control: difference of `probe_score`s.
    Intervals over items, `refitted`.
    """
    if (after.kind, len(after.score)) != (before.kind, len(before.score)):
        raise InputError("a gain compares two readings of the same prompts", found=f"{after.kind}, {before.kind}")
    if after.kind == "classes":
        return _share(after.score - before.score, items, after, limits=(-1.0, 1.0))
    return refitted(clustered_mean((before.score - after.score) / before.base.mean(), items), after)


def _share(
    values: np.ndarray, items: np.ndarray, reading: Reading, *, limits: tuple[float, float], null: float = 0.0
) -> Estimate:
    """`bounded_mean`, `refitted` within its limits; where all values agree its exact bound stands, which knows no variance."""
    one = bounded_mean(values, items, limits=limits, null=null)
    if np.ptp(values) <= 1e-12:
        return one
    one = refitted(one, reading, null=null)
    return replace(
        one, low=float(np.maximum(one.low, limits[0])), high=float(np.minimum(one.high, limits[1]))
    )  # nan stays


def refitted(one: Estimate, reading: Reading, *, null: float = 0.0) -> Estimate:
    """The interval of a cross-validated mean, widened because items share fitted probes and training items.

        V' = V (1 + K / (K - 1))          K folds

    V is the variance over items as if each had been read by itself; the factor is Nadeau and Bengio's (2003, Machine Learning 52,
    "Inference for the generalization error", section 3: 1/K + test size / training size in the place of 1/K), conservative. Without
    it 10 to 13% of p values of noise were below .05 (docs/log.md), with it at most .05. p: the same statistic, divided by
    the root of the factor. nan stays nan.
    """
    folds = reading.penalty.shape[1]
    if folds < 2 or math.isnan(one.low):
        return one
    factor = math.sqrt(1 + folds / (folds - 1))
    df = max(one.n_units - 1, 1)
    p = float(2 * student.sf(student.isf(one.p / 2, df) / factor, df)) if one.estimate != null else one.p
    return replace(
        one,
        low=one.estimate - factor * (one.estimate - one.low),
        high=one.estimate + factor * (one.high - one.estimate),
        p=p,
        method=f"{one.method}; refitting over {folds} folds counted",
    )
