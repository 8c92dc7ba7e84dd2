"""Judging the judges (B2.5): is a test's false-positive rate what it says, does an interval cover as often as it says?

Input is one p (or one "covered") per independent simulated data set. Used by the slow tests and by `benchmarks/calibration.py`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.proportion import exact

COVERAGE_BAND = (0.925, 0.975)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """ok and why; excess: sup over x of F(p <= x) - x; rate: false-positive rate at .05 (or coverage) with its exact interval."""

    ok: bool
    excess: float
    rate: Estimate
    reason: str


def excess_of(p: Float[np.ndarray, " data_set"]) -> float:
    """sup over x of (share of p <= x) - x: how far the test is too liberal anywhere. One-sided Kolmogorov distance."""
    ordered = np.sort(p)
    above = np.arange(1, len(p) + 1) / len(p) - ordered
    return float(max(above.max(initial=0.0), 0.0))


def judged_p(p: Float[np.ndarray, " data_set"], *, alpha: float = 0.05, slack: float = 0.05) -> Calibration:
    """B2.5: sup (F(p) - p) <= slack, and the exact interval of the rate at alpha includes alpha or lies below it."""
    if np.isnan(p).any():
        raise InputError("a calibration with undefined p values", found=f"{int(np.isnan(p).sum())} nan of {len(p)}")
    excess, rate = excess_of(p), exact(int((p <= alpha).sum()), len(p))
    ok = excess <= slack and rate.low <= alpha
    text = f"sup(F-p) {excess:.3f}, rate at {alpha:g} {rate.estimate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
    return Calibration(ok=ok, excess=excess, rate=rate, reason=f"{text}, {len(p)} data sets")


def judged_coverage(
    covered: Bool[np.ndarray, " data_set"], *, band: tuple[float, float] = COVERAGE_BAND
) -> Calibration:
    """B2.5: share of data sets whose 95% interval holds the truth, inside `band`."""
    rate = exact(int(covered.sum()), len(covered))
    ok = band[0] <= rate.estimate <= band[1]
    text = f"coverage {rate.estimate:.3f} [{rate.low:.3f}, {rate.high:.3f}], {len(covered)} data sets"
    return Calibration(ok=ok, excess=0.0, rate=rate, reason=text)
