"""When in training something appears: onsets with intervals and censoring, and whether two onsets coincide (B3).

Correlating training curves is not done here: independent sigmoids over 16 checkpoints have a median maximal rank correlation of
.94. A checkpoint grid bounds what can be known, so no interval is narrower than the neighbouring checkpoints, and a curve that is
there from the start, or never, says so instead of giving a number that looks like an onset.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.bootstrap import multiplicities
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.proportion import wilson
from mnemoscope.stats.verdict import Verdict

SHARE: Final = 0.25  # of the final gain
NEVER: Final = -1  # index of "never"


@dataclass(frozen=True, kw_only=True)
class Onset:
    """One curve's onset.

    index, step        first checkpoint of the sustained rise; -1 and nan if never
    low, high          95% interval in steps, at least the neighbouring checkpoints; -inf: possibly before the first checkpoint,
                       inf: possibly never
    censored           "", "already there" (at the first checkpoint) or "never" (within the checkpoints)
    replicates         onset index of every item resample (-1 never): for differences of onsets
    threshold, gain    chance + 25% of the final gain; the final gain
    """

    index: int
    step: float
    low: float
    high: float
    censored: str
    replicates: Int[np.ndarray, " boot"]
    threshold: float
    gain: float
    n: int
    n_units: int
    reason: str


def onset(
    values: Real[np.ndarray, "checkpoint item"],
    steps: Real[np.ndarray, " checkpoint"],
    *,
    chance: float,
    rng: np.random.Generator,
    clusters: Shaped[np.ndarray, " item"] | None = None,
    n_boot: int = 1000,
    share: float = SHARE,
) -> Onset:
    """First checkpoint from which the lower 95% limit exceeds chance + share x final gain at two consecutive checkpoints.

    Limits are mean - t se over items (or clusters of items; nan items are left out of a checkpoint); the final gain is the mean
    at the last checkpoint minus chance. The interval repeats the whole rule on items resampled jointly for all checkpoints, and
    is widened to the neighbouring checkpoints. "never" also where the final gain's own lower limit is not above chance. For
    quantities that fall (loss) pass negated values and chance.
    """
    steps = np.asarray(steps, float)
    matched("onset", values=len(values), steps=len(steps))
    if len(steps) < 3 or np.any(np.diff(steps) <= 0):
        raise InputError("an onset needs >= 3 checkpoints in rising order", found=str(steps.tolist()[:8]))
    total, count, n_units = _per_cluster(np.asarray(values, float), clusters)
    weight = np.vstack([np.ones(n_units), multiplicities(n_units, n_boot, rng)])
    low, mean = _lower_limits(total, count, weight)
    index = _first_sustained(low, mean, chance=chance, share=share)
    here, drawn = int(index[0]), index[1:]
    gain = float(mean[0, -1] - chance)
    censored = "never" if here == NEVER else "already there" if here == 0 else ""
    left, right = _interval(here, drawn, steps)
    return Onset(
        index=here,
        step=math.nan if here == NEVER else float(steps[here]),
        low=left,
        high=right,
        censored=censored,
        replicates=drawn,
        threshold=chance + share * gain,
        gain=gain,
        n=int((~np.isnan(values)).sum()),
        n_units=n_units,
        reason={
            "never": "no sustained rise within the checkpoints",
            "already there": "above at the first checkpoint",
        }.get(censored, ""),
    )


def _per_cluster(
    values: np.ndarray, clusters: np.ndarray | None
) -> tuple[Float[np.ndarray, "checkpoint cluster"], Float[np.ndarray, "checkpoint cluster"], int]:
    labels = np.arange(values.shape[1]) if clusters is None else clusters
    matched("onset", items=values.shape[1], clusters=len(labels))
    code, n = codes(labels)
    if n < 3:
        raise InputError("an onset needs >= 3 independent items", found=str(n))
    there = ~np.isnan(values)
    member = np.eye(n)[code]
    return np.where(there, values, 0.0) @ member, there @ member, n


def _lower_limits(
    total: np.ndarray, count: np.ndarray, weight: np.ndarray
) -> tuple[Float[np.ndarray, "boot checkpoint"], Float[np.ndarray, "boot checkpoint"]]:
    """Lower 95% t limits and means of every resample; row 0 is the sample itself. nan where a checkpoint has no data."""
    n = total.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = weight @ count.T
        mean = (weight @ total.T) / size
        square = weight @ (total**2).T - 2 * mean * (weight @ (total * count).T) + mean**2 * (weight @ (count**2).T)
        error = np.sqrt(np.maximum(square, 0) * n / (n - 1)) / size
    return mean - float(student.ppf(0.975, n - 1)) * error, mean


def _first_sustained(low: np.ndarray, mean: np.ndarray, *, chance: float, share: float) -> Int[np.ndarray, " boot"]:
    threshold = chance + share * (mean[:, -1:] - chance)
    above = (low > threshold) & (low[:, -1:] > chance)
    twice = above[:, :-1] & above[:, 1:]
    return np.where(twice.any(axis=1), twice.argmax(axis=1), NEVER)


def _interval(here: int, drawn: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """Percentiles of the replicates' onsets, "never" last, never narrower than the neighbours of the estimate."""
    last = len(steps)
    place = np.where(np.append(drawn, here) == NEVER, last, np.append(drawn, here))
    point = place[-1]
    left = min(int(np.quantile(place, 0.025, method="inverted_cdf")), point) - 1
    right = max(int(np.quantile(place, 0.975, method="inverted_cdf")), point)
    if point < last:
        left, right = min(left, point - 1), max(right, point + 1)
    return (
        -math.inf if left < 0 else float(steps[min(left, last - 1)]),
        math.inf if right >= last else float(steps[right]),
    )


def onset_difference(first: Onset, second: Onset, *, same_items: bool = False) -> Estimate:
    """first - second, in checkpoints (the grid's own unit: grids are rarely even). Negative: the first comes earlier.

    The interval is that of the differences of replicates, widened by one checkpoint on either side for the grid. `same_items`:
    both onsets were made from the same items by generators in the same state, so that replicate i is the same resample in both;
    otherwise replicates are paired as independent draws. A censored onset has no difference; more than 5% of censored replicates
    open the interval on both sides.
    """
    n, n_units = first.n + second.n, min(first.n_units, second.n_units)
    method = "difference of onsets in checkpoints, item bootstrap, +-1 for the grid"
    if first.censored or second.censored:
        why = f"first {first.censored or 'seen'}, second {second.censored or 'seen'}: an end of the grid is no onset"
        return undefined(why, method=method, n=n, n_units=n_units)
    a, b = first.replicates, second.replicates if same_items else np.roll(second.replicates, 1)
    seen = (a > 0) & (b > 0)
    delta, point = (a - b)[seen], first.index - second.index
    low, high = -math.inf, math.inf
    if seen.mean() >= 0.95:
        low = float(min(np.quantile(delta, 0.025, method="inverted_cdf"), point) - 1)
        high = float(max(np.quantile(delta, 0.975, method="inverted_cdf"), point) + 1)
    return Estimate(estimate=float(point), low=low, high=high, p=math.nan, n=n, n_units=n_units, method=method)


def share_in_window(indices: Int[np.ndarray, " curve"], window: tuple[int, int]) -> Estimate:
    """Share of *all* curves whose onset index lies in [first, last] of the window (B3): how special a coincidence would be.

    Curves without an onset (-1) stay in the denominator; so do those already there, which are in the window only if it holds 0.
    The Wilson interval treats curves as exchangeable and is descriptive: heads of one model are not independent.
    """
    inside = (indices >= window[0]) & (indices <= window[1]) & (indices != NEVER)
    return wilson(int(inside.sum()), len(indices))


def coincidence(
    first: list[Onset], second: list[Onset], *, within: int = 2, min_seeds: int = 3
) -> tuple[Estimate, Verdict]:
    """Do two onsets coincide, over training seeds? Mean difference in checkpoints with a t interval over seeds, and the verdict.

    supported: interval inside [-within, within]; contradicted: outside; else undetermined. The half width is never below one
    checkpoint (the grid). Fewer than `min_seeds` pairs in which both onsets are seen: "undetermined (one run)" for one seed,
    otherwise undetermined with their number (B3).
    """
    matched("coincidence", first=len(first), second=len(second))
    pairs = [a.index - b.index for a, b in zip(first, second, strict=True) if not (a.censored or b.censored)]
    method = "difference of onsets in checkpoints, t over training seeds, at least +-1"
    if len(pairs) < min_seeds:
        why = "one run" if len(first) == 1 else f"{len(pairs)} seeds with both onsets seen, {min_seeds} needed"
        none = undefined(why, method=method, n=len(first), n_units=len(pairs))
        return none, Verdict(verdict="undetermined", reason=f"undetermined ({why})", mde=math.nan)
    d = np.array(pairs, float)
    mean, half = float(d.mean()), float(student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d)))
    half = max(half, 1.0)
    estimate = Estimate(
        estimate=mean, low=mean - half, high=mean + half, p=math.nan, n=len(first), n_units=len(d), method=method
    )
    inside, outside = abs(mean) + half <= within, abs(mean) - half > within
    word = "supported" if inside else "contradicted" if outside else "undetermined"
    reason = f"difference {mean:.2g} [{mean - half:.2g}, {mean + half:.2g}] checkpoints, window +-{within}"
    return estimate, Verdict(verdict=word, reason=reason, mde=within + half)
