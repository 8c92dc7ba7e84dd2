"""Permutations, and the p values that come from them: p = (1 + b) / (1 + m), never 0 (Phipson and Smyth 2010).

What is permuted is the unit at which the hypothesis was assigned (B2.2, B7.1): signs of whole documents, labels within strata,
slopes among lines, names within activity, the two conditions of one item. Where all rearrangements fit into the number asked
for, they are enumerated (the identity is left out: the formula's 1 + counts it) and the p value is exact.
"""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped
from scipy.stats import t as student

from mnemoscope.errors import InputError, choose
from mnemoscope.stats.clusters import clustered_mean, codes, matched, sums
from mnemoscope.stats.estimate import Estimate

SIDES = ("greater", "less", "two-sided")


def p_value(
    observed: Float[np.ndarray, " cell"] | float, null: Float[np.ndarray, "perm cell"], *, side: str = "greater"
) -> Float[np.ndarray, " cell"]:
    """(1 + number of null values at least as extreme) / (1 + number of null values), per cell.

    "two-sided" compares absolute values. Ties count against the finding, with a relative tolerance of 1e-9 for rounding. nan where
    the observed value is nan or all null values are; single nan null values count as extreme.
    """
    choose("side", side, SIDES)
    observed = np.atleast_1d(np.asarray(observed, float))
    turn = {"greater": np.asarray, "less": np.negative, "two-sided": np.abs}[side]
    seen, drawn = turn(observed), turn(null)
    slack = 1e-9 * (1 + np.abs(np.nan_to_num(seen)))
    beyond = ~(drawn < seen - slack)
    p = (1 + beyond.sum(axis=0)) / (1 + len(null))
    return np.where(np.isnan(observed) | np.isnan(null).all(axis=0), math.nan, p)


def smallest_p(n_perm: int, n_distinct: int | float = math.inf) -> float:
    """Smallest p that can come out: 1 / min(1 + n_perm, distinct rearrangements). Sign flips of G units have 2**G of them."""
    return 1 / min(1 + n_perm, n_distinct)


def sign_flips(n_units: int, n_perm: int, rng: np.random.Generator) -> Float[np.ndarray, "perm unit"]:
    """Rows of -1 and 1. All 2^n - 1 except the identity if they are no more than `n_perm`, else independent draws."""
    if 2**n_units - 1 <= n_perm:
        return np.array(list(itertools.product((1.0, -1.0), repeat=n_units)))[1:]
    return rng.integers(0, 2, size=(n_perm, n_units)) * 2.0 - 1.0


def label_permutations(
    strata: Shaped[np.ndarray, " unit"], n_perm: int, rng: np.random.Generator
) -> Int[np.ndarray, "perm unit"]:
    """Index permutations that move units only within their stratum: `labels[perm]` is a permuted labelling.

    Names within activity: strata = activity; activities within name: strata = name; one stratum for all: free permutation of the
    units given, which must then be the units of the hypothesis (lines, not prompts). Enumerated if possible.
    """
    code, n = codes(strata)
    groups = [np.flatnonzero(code == g) for g in range(n)]
    distinct = math.prod(math.factorial(len(g)) for g in groups)
    if distinct - 1 <= n_perm:
        return _all_permutations(groups, len(code))
    out = np.empty((n_perm, len(code)), np.int64)
    for group in groups:
        out[:, group] = group[np.argsort(rng.random((n_perm, len(group))), axis=1)]
    return out


def _all_permutations(groups: list[np.ndarray], n_units: int) -> Int[np.ndarray, "perm unit"]:
    rows = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        row = np.empty(n_units, np.int64)
        for group, order in zip(groups, orders, strict=True):
            row[group] = order
        rows.append(row)
    return np.array(rows[1:], np.int64).reshape(len(rows) - 1, n_units)


def paired_swaps(n_items: int, n_perm: int, rng: np.random.Generator) -> Bool[np.ndarray, "perm item"]:
    """Which items exchange their two conditions. Enumerated if possible."""
    return sign_flips(n_items, n_perm, rng) < 0


def sign_flip_test(
    values: Real[np.ndarray, " unit"],
    clusters: Shaped[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    n_perm: int = 1999,
    side: str = "two-sided",
) -> Estimate:
    """Mean with clustered t interval, and the p of flipping the signs of whole clusters, studentised.

    Statistic S / sqrt(sum of squared cluster sums), S the sum over clusters; under the null a cluster's sum is as likely -x as x.
    For one cell; tables use `maxt.sign_flip_max_t`.
    """
    kept = ~np.isnan(np.asarray(values, float))
    base = clustered_mean(np.asarray(values, float), clusters)
    if kept.sum() == 0:
        return base
    code, n = codes(clusters[kept])
    total = sums(np.asarray(values, float)[kept][:, None], code, n)
    null = sign_flips(n, n_perm, rng) @ total
    p = p_value(total.sum(axis=0), null, side=side)
    return Estimate(
        estimate=base.estimate,
        low=base.low,
        high=base.high,
        p=float(p[0]),
        n=base.n,
        n_units=n,
        method=f"{base.method}; sign flips of clusters, {side}, {len(null)} permutations",
        reason=base.reason,
    )


def difference_test(
    values: Real[np.ndarray, " unit"],
    treated: Bool[np.ndarray, " unit"],
    strata: Shaped[np.ndarray, " unit"] | None = None,
    *,
    rng: np.random.Generator,
    n_perm: int = 1999,
    side: str = "two-sided",
) -> Estimate:
    """Mean of treated minus mean of the others, units independent; labels permuted within strata.

    Estimate: difference within stratum averaged with weights n1 n0 / (n1 + n0); strata with one kind only are left out. Interval:
    t from the pooled within-stratum-and-group variance (Welch without strata). One row per independent unit, else aggregate
    first.
    """
    strata = np.zeros(len(values), np.int64) if strata is None else strata
    matched("difference test", values=len(values), treated=len(treated), strata=len(strata))
    kept = ~np.isnan(np.asarray(values, float))
    x, code, n = np.asarray(values, float)[kept], *codes(strata[kept])
    label = treated[kept].astype(float)
    effect, error, df = _stratified(x, label, code, n)
    if math.isnan(effect):
        raise InputError("no stratum has both kinds of units", found=f"{int(label.sum())} treated of {len(label)}")
    null = np.array([[_stratified(x, label[perm], code, n)[0]] for perm in label_permutations(code, n_perm, rng)])
    half = float(student.ppf(0.975, df)) * error if error > 0 else math.nan
    return Estimate(
        estimate=effect,
        low=effect - half,
        high=effect + half,
        p=float(p_value(effect, null.reshape(-1, 1), side=side)[0]),
        n=len(x),
        n_units=len(x),
        method=f"difference of means, Welch t; labels permuted within strata, {side}, {len(null)} permutations",
        reason="" if error > 0 else "no interval: no variation among units, or a group of one in a stratum",
    )


def _stratified(x: np.ndarray, label: np.ndarray, code: np.ndarray, n: int) -> tuple[float, float, float]:
    """Weighted within-stratum difference, its standard error, and Welch-Satterthwaite degrees of freedom."""
    one, all_ = np.bincount(code, label, n), np.bincount(code, minlength=n).astype(float)
    zero = all_ - one
    good = (one > 0) & (zero > 0)
    if not good.any():
        return math.nan, math.nan, math.nan
    weight = np.where(good, one * zero / all_, 0.0)
    weight = weight / weight.sum()
    effect, variance, heavy = 0.0, 0.0, 0.0
    for kind, count in ((1.0, one), (0.0, zero)):
        mine = label == kind
        safe = np.maximum(count, 1)
        mean = np.bincount(code[mine], x[mine], n) / safe
        effect += (1 if kind else -1) * float(weight @ mean)
        squares = np.bincount(code[mine], (x[mine] - mean[code[mine]]) ** 2, n)
        alone = good & (count < 2)  # a group of one has no variance: no interval, rather than a short one
        spread = np.where(alone, math.nan, squares / np.maximum(count - 1, 1) / safe)
        spread = np.where(good, spread, 0.0)
        variance += float(weight**2 @ spread)
        heavy += float((weight**4 * spread**2 / np.maximum(count - 1, 1)).sum())
    return effect, math.sqrt(variance), variance**2 / heavy if heavy > 0 else 1.0
