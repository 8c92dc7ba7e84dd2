"""One figure of the model card: an estimate with n, its interval, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of the model card. `baseline` is chance or the best trivial answer, named in `versus`."""

    ability: str
    condition: str
    measure: str
    n: int
    estimate: float
    low: float
    high: float
    baseline: float
    versus: str


def share(ability: str, condition: str, measure: str, hits: Sequence[bool], baseline: float, versus: str) -> Row:
    """A proportion with its Wilson interval."""
    k, n = int(np.sum(hits)), len(hits)
    low, high = stats.binomtest(k, n).proportion_ci(method="wilson")
    return Row(
        ability=ability,
        condition=condition,
        measure=measure,
        n=n,
        estimate=k / n,
        low=low,
        high=high,
        baseline=baseline,
        versus=versus,
    )


def mean(ability: str, condition: str, measure: str, values: Sequence[float], baseline: float, versus: str) -> Row:
    """A mean with its t interval; values that are not finite are left out (their number is a row of its own)."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    half = float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5) if len(x) > 1 else float("nan")
    m = float(x.mean()) if len(x) else float("nan")
    return Row(
        ability=ability,
        condition=condition,
        measure=measure,
        n=len(x),
        estimate=m,
        low=m - half,
        high=m + half,
        baseline=baseline,
        versus=versus,
    )


def recorded(row: Row) -> dict[str, object]:
    """A row as JSON: numbers to five digits, null where there is no baseline."""
    return {
        k: None if v != v else round(v, 5) if isinstance(v, float) else v  # nan is the only value unequal to itself
        for k, v in asdict(row).items()
    }


def written(estimate: float, low: float, high: float) -> str:
    """An estimate and its interval; a width of 0 would pretend certainty."""
    return f"{estimate:.3f} in all" if low == high else f"{estimate:.3f} [{low:.3f}, {high:.3f}]"
