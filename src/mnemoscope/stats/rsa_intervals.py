"""Intervals of alignments, and of sums and differences of alignments, from leaving out one unit at a time (B7.2).

Near the largest value that a hypothesis allows the estimate hardly varies and its distribution leans: the jackknife-t on
Fisher's scale covered 71 to 88% between .80 and .98 of that value (25 items in five clusters), and its lower end is what is too
high. So each alignment is taken relative to the largest attainable, where it is a correlation that can reach 1:

    r = theta / most        z = artanh r        ends  most tanh(z -+ t s_z)

(for two levels 2 z is the logit of the area under the ROC), with s_z the jackknife error of z (Efron and Tibshirani 1993, eq.
11.5), t of Student with m - 1 degrees of freedom, and the jackknife error of `most` itself added in quadrature (it depends on
the distances where nuisances are taken out). Sums and differences with weights w combine the distances from estimate to ends
(Zou 2007, Psychol. Methods 12, "Toward using confidence intervals to compare correlations", eq. 15), with the jackknife
correlations of the estimates:

    low = sum w theta - sqrt( sum_ij c_ij a_i a_j )        a_i = |w_i| (theta_i - low_i) if w_i > 0, |w_i| (high_i - theta_i) else

There is no interval where a unit more or less attains the largest value: the data then do not say how far below it the truth may
be. Coverage by simulation (benchmarks/icl_coverage.py): 95 to 99.8% over all shapes tried.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimates, reasons
from mnemoscope.stats.rsa_ranks import LeftOut

AT_MOST = "at the largest value the hypothesis allows (all units, or with one left out): no interval"
FULL = 1 - 1e-9  # of the largest value: attained, but for rounding
FARTHEST = 300.0  # standard errors within which p is looked for


@dataclass(frozen=True, kw_only=True, eq=False)
class _Term:
    """One alignment per cell: weight, estimate, largest value, z, error of z, error of the largest value times r."""

    weight: float
    theta: Float[np.ndarray, " cell"]
    most: Float[np.ndarray, " cell"]
    z: Float[np.ndarray, " cell"]
    error: Float[np.ndarray, " cell"]
    more: Float[np.ndarray, " cell"]
    full: Bool[np.ndarray, " cell"]
    left: Float[np.ndarray, "unit cell"]  # deviations of the left-out estimates, for correlations

    def reach(self, t: Float[np.ndarray, " cell"], *, down: bool) -> Float[np.ndarray, " cell"]:
        """Distance from the weighted estimate to its lower (upper) end at t standard errors."""
        side = -1.0 if (self.weight > 0) == down else 1.0
        end = self.most * np.tanh(self.z + side * t * self.error)
        return abs(self.weight) * np.sqrt((end - self.theta) ** 2 + (t * self.more) ** 2)


def bounded_t(parts: Sequence[tuple[float, LeftOut]], *, n: int, level: float = 0.95) -> Estimates:
    """Weighted sum of alignments, cell by cell, with its interval; weights (1,) an alignment, (1, -1) a change.

    p: two-sided, the level at which the interval ends at 0. n: pairs behind it; units: rows of a `LeftOut` but one. Undefined, with
    a reason: an alignment that is, a unit whose absence makes it so, no variation among units, fewer than 3 units, and any part
    at its largest value (no interval).
    """
    if not parts or len({part.values.shape for _, part in parts}) != 1:
        raise InputError("alignments of different units or layers", found=str([p.values.shape for _, p in parts]))
    terms = [_term(weight, part) for weight, part in parts]
    units = len(terms[0].left)
    estimate = np.sum([term.weight * term.theta for term in terms], axis=0)
    lost = np.any([np.isnan(part.values[1:]).any(axis=0) for _, part in parts], axis=0)
    full = np.any([term.full for term in terms], axis=0)
    spread = np.abs(np.sum([term.weight * term.left for term in terms], axis=0)).max(axis=0, initial=0.0)
    flat = spread <= 1e-12 * np.maximum(np.abs(estimate), 1e-12)
    good = ~(np.isnan(estimate) | lost | full | flat) & (units >= 3)
    hole = np.where(good, 1.0, math.nan)
    t = np.full(len(estimate), float(student.ppf((1 + level) / 2, max(units - 1, 1))))
    return Estimates(
        estimate=estimate,
        low=(estimate - _reach(terms, t, down=True)) * hole,
        high=(estimate + _reach(terms, t, down=False)) * hole,
        p=2 * student.sf(_touching(terms, estimate), max(units - 1, 1)) * hole,
        n=np.full(len(estimate), n, np.int64),
        n_units=np.full(len(estimate), units, np.int64),
        method="jackknife-t over units, relative to the largest attainable value",
        reason=reasons(
            len(estimate),
            (np.isnan(estimate), "the statistic is undefined"),
            (np.full(len(estimate), units < 3), "fewer than 3 units"),
            (full, AT_MOST),
            (lost, "undefined when a unit is left out"),
            (flat, "no variation among units: no interval"),
        ),
    )


def _term(weight: float, part: LeftOut) -> _Term:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = part.values / part.most
        full = (np.abs(ratio) >= FULL).any(axis=0)
        z = np.arctanh(np.clip(ratio, -FULL, FULL))
    left = part.values[1:] - part.values[1:].mean(axis=0)
    return _Term(
        weight=weight,
        theta=part.values[0],
        most=part.most[0],
        z=z[0],
        error=_error(z[1:]),
        more=np.abs(ratio[0]) * _error(part.most[1:]),
        full=np.asarray(full),
        left=left,
    )


def _error(left: Float[np.ndarray, "unit cell"]) -> Float[np.ndarray, " cell"]:
    """Jackknife standard error."""
    units = len(left)
    return np.sqrt((units - 1) / max(units, 1) * ((left - left.mean(axis=0)) ** 2).sum(axis=0))


def _reach(terms: Sequence[_Term], t: Float[np.ndarray, " cell"], *, down: bool) -> Float[np.ndarray, " cell"]:
    """Distance from the sum to its lower (upper) end."""
    own = [term.reach(t, down=down) for term in terms]
    square = np.sum([a * a for a in own], axis=0)
    for i, one in enumerate(terms):
        for j in range(i):
            square = square + 2 * _correlation(one, terms[j]) * own[i] * own[j]
    return np.sqrt(np.maximum(square, 0.0))


def _correlation(one: _Term, other: _Term) -> Float[np.ndarray, " cell"]:
    """Of the weighted estimates, over the units left out; 0 where one does not vary."""
    size = np.sqrt((one.left**2).sum(axis=0) * (other.left**2).sum(axis=0))
    product = np.sign(one.weight * other.weight) * (one.left * other.left).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, product / size, 0.0)


def _touching(terms: Sequence[_Term], estimate: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """Standard errors at which the nearer end of the interval is 0, by bisection."""
    near, far = np.zeros(len(estimate)), np.full(len(estimate), FARTHEST)
    for _ in range(60):
        middle = (near + far) / 2
        below = np.where(estimate > 0, _reach(terms, middle, down=True), _reach(terms, middle, down=False))
        short = below < np.abs(estimate)
        near, far = np.where(short, middle, near), np.where(short, far, middle)
    return near
