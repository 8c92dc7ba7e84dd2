"""What every statistic returns: a number with its interval, its p, its n, and how it came about.

An undefined number is nan and says why; it is never 0 and never dropped. `n` counts observations, `n_units` counts units of
independence (documents, topics, lines, seeds: B2.2), which is what the interval rests on. `Estimate` is one number, `Estimates`
the same for many cells at once (heads x relations), as arrays of equal shape.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from mnemoscope.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number with what is needed to judge it.

    estimate   the number, in the unit its function documents; nan: undefined, see `reason`
    low, high  95% interval unless `method` says otherwise; infinite where it is open (a censored onset)
    p          p value of the test that `method` names; nan where no test was made
    n          observations that entered
    n_units    independent units that they come from
    method     how interval and p were made, in words short enough for a table
    reason     why something is nan; never empty when estimate, low or high is nan
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int
    n_units: int
    method: str
    reason: str = ""

    def __post_init__(self) -> None:
        holes = [name for name in ("estimate", "low", "high") if math.isnan(getattr(self, name))]
        if holes and not self.reason:
            raise InputError("an undefined number needs a reason", found=f"nan in {', '.join(holes)} of {self.method}")
        if self.low > self.high:
            raise InputError("an interval is upside down", found=f"low {self.low} > high {self.high} ({self.method})")


def undefined(reason: str, *, method: str, n: int = 0, n_units: int = 0) -> Estimate:
    """The estimate that does not exist, and why."""
    return Estimate(
        estimate=math.nan,
        low=math.nan,
        high=math.nan,
        p=math.nan,
        n=int(n),
        n_units=int(n_units),
        method=method,
        reason=reason,
    )


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Many estimates of one kind, as arrays over cells. `at(i)` is the i-th as an Estimate; fields as there."""

    estimate: Float[np.ndarray, " cell"]
    low: Float[np.ndarray, " cell"]
    high: Float[np.ndarray, " cell"]
    p: Float[np.ndarray, " cell"]
    n: Int[np.ndarray, " cell"]
    n_units: Int[np.ndarray, " cell"]
    method: str
    reason: Shaped[np.ndarray, " cell"]  # strings (object), "" where nothing is undefined

    def __len__(self) -> int:
        return len(self.estimate)

    def at(self, cell: int) -> Estimate:
        """One cell as a record of its own."""
        return Estimate(
            estimate=float(self.estimate[cell]),
            low=float(self.low[cell]),
            high=float(self.high[cell]),
            p=float(self.p[cell]),
            n=int(self.n[cell]),
            n_units=int(self.n_units[cell]),
            method=self.method,
            reason=str(self.reason[cell]),
        )


def reasons(shape: int | tuple[int, ...], *causes: tuple[np.ndarray, str]) -> np.ndarray:
    """Array of strings: the first cause whose mask holds, "" where none does."""
    out = np.full(shape, "", dtype=object)
    for mask, text in reversed(causes):
        out[mask] = text
    return out
