"""Representational similarity analysis: does the geometry of a layer follow a hypothesis (P3.2, B7.1, B7.2)?

Only pairs of prompts from different units (lines, items) are compared, and what is permuted is the unit: free permutation of
prompts rejects 44 to 100% of true nulls. Ranking is done once per layer. A hypothesis is a function of the two units, so the sum
over pairs under any permutation is a sum over pairs of *units* of block sums: 1,000 permutations of 16 lines cost next to
nothing, of 1,000 items one matrix product. Intervals leave out one unit at a time. Nili et al. 2014 (PLoS Comput. Biol. 10) for
the measures.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from mnemoscope.errors import InputError, choose
from mnemoscope.stats import rsa_tau
from mnemoscope.stats.clusters import matched
from mnemoscope.stats.correlation import kendall_tau_a
from mnemoscope.stats.estimate import Estimates
from mnemoscope.stats.permutation import label_permutations, p_value
from mnemoscope.stats.rdm import dense, midranks, prompts_of
from mnemoscope.stats.rsa_intervals import bounded_t
from mnemoscope.stats.rsa_pairs import Pairs, by_unit, grouped, groups_left, pairs_between, strata_of_units
from mnemoscope.stats.rsa_ranks import LeftOut, centred, leave_out, orthonormal

KINDS: Final = ("spearman", "tau-a")


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Alignment of every layer with one hypothesis.

    cells    estimate, interval and single-layer p (permutation of units, one-sided); a cell is a layer
    p        corrected over layers by max-T;  null: the permuted alignments
    n_pairs  compared;  smallest_p attainable
    """

    cells: Estimates
    p: Float[np.ndarray, " cell"]
    null: Float[np.ndarray, "perm cell"]
    n_pairs: int
    smallest_p: float


def compare(first: Real[np.ndarray, " pair"], second: Real[np.ndarray, " pair"], *, kind: str = "spearman") -> float:
    """Spearman's rho or Kendall's tau-a of two condensed RDMs; nan if one is constant or undefined."""
    choose("comparison of RDMs", kind, KINDS)
    if np.isnan(first).any() or np.isnan(second).any():
        return math.nan
    if kind == "tau-a":
        return kendall_tau_a(first, second)
    a, b = (midranks(dense(x)) - (len(x) + 1) / 2 for x in (first, second))
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else math.nan


def align(
    rdms: Real[np.ndarray, "layer pair"],
    hypothesis: Real[np.ndarray, " pair"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    nuisances: Real[np.ndarray, "nuisance pair"] | None = None,
    strata: Shaped[np.ndarray, " prompt"] | None = None,
    kind: str = "spearman",
    n_perm: int = 1000,
) -> Alignment:
    """Rank correlation of every layer's RDM with a hypothesis RDM, tested by permuting the hypothesis among units.

    Over pairs of prompts from different units. With nuisances: the correlation of what is left of both ranked RDMs after least
    squares on the ranked nuisances (partial Spearman). `strata` (constant within a unit) restricts permutations: names within
    activity is strata = activity. One-sided: larger is more aligned, both matrices being distances. Max-T over layers on (null -
    its mean) / its sd. Interval: jackknife-t relative to the largest value that the hypothesis allows (`rsa_intervals`), units left
    out one at a time (in 100 random groups if there are more). Layers with undefined distances are nan with a reason. tau-a: no
    nuisances; nan with a reason where the pairs are too many.
    """
    choose("comparison of RDMs", kind, KINDS)
    pairs = pairs_between(units)
    matched("alignment", rdm=prompts_of(rdms.shape[1]), units=len(units), hypothesis=prompts_of(len(hypothesis)))
    unit_h = dense(by_unit(hypothesis, pairs))
    perms = label_permutations(strata_of_units(strata, units, pairs), n_perm, rng)
    fine = defined(rdms[:, pairs.kept])
    ranked = [dense(rdms[i, pairs.kept]) for i in fine]
    controls = [dense(row[pairs.kept]) for row in (nuisances if nuisances is not None else ())]
    if kind == "tau-a":
        if controls:
            raise InputError("partial tau-a is not defined here", hint="use kind='spearman' with nuisances")
        left, null, why = _tau_a(ranked, unit_h, pairs, perms, grouped(pairs, rng))
    else:
        left = leave_out(ranked, unit_h[pairs.block], controls, whole_and(groups_left(pairs, rng)))
        null, why = _permuted(ranked, unit_h, controls, pairs, perms), ""
    named = ("partial " + kind if controls else kind) + " over pairs of units"
    return _filled(len(rdms), fine, left, null, pairs=pairs, named=named, why=why)


def defined(kept: Real[np.ndarray, "layer kept"]) -> Int[np.ndarray, " fine"]:
    """Layers whose distances can be ranked: none undefined, not all the same."""
    return np.flatnonzero(~np.isnan(kept).any(axis=1) & (np.ptp(kept, axis=1) > 0))


def whole_and(stays: np.ndarray) -> np.ndarray:
    """Masks of what stays, the one of all pairs first."""
    return np.vstack([np.ones((1, stays.shape[1]), bool), stays])


def _tau_a(
    ranked: list[np.ndarray], unit_h: np.ndarray, pairs: Pairs, perms: np.ndarray, group: np.ndarray
) -> tuple[LeftOut, np.ndarray, str]:
    """tau-a with units left out, permuted, and why there is none."""
    why = rsa_tau.too_many(unit_h, len(pairs.kept))
    if why:
        nothing = np.full((int(group.max()) + 2, len(ranked)), math.nan)
        return LeftOut(values=nothing, most=nothing), np.full((len(perms), len(ranked)), math.nan), why
    tables = [rsa_tau.signs(code, pairs) for code in ranked]
    return rsa_tau.left_out(tables, unit_h, group), rsa_tau.permuted(tables, unit_h, perms), ""


def whole_tau(
    kept: Real[np.ndarray, "layer kept"], unit_h: Int[np.ndarray, " unit_pair"], pairs: Pairs, group: np.ndarray
) -> LeftOut:
    """tau-a of every layer on all units and with each group left out; nan where it is not defined."""
    fine = defined(kept)
    left, _, _ = _tau_a([dense(kept[i]) for i in fine], unit_h, pairs, np.empty((0, len(pairs.size)), np.int64), group)
    return placed(left, fine, len(kept))


def _permuted(
    ranked: list[np.ndarray], unit_h: np.ndarray, controls: list[np.ndarray], pairs: Pairs, perms: np.ndarray
) -> Float[np.ndarray, "perm layer"]:
    """(Partial) Spearman under every permutation of units: block sums once, then one product per permutation."""
    block, n = pairs.block, len(pairs.size)
    basis = orthonormal([centred(midranks(code)) for code in controls], len(block))
    columns, size = [], []
    for code in ranked:
        d = centred(midranks(code))
        d = d - basis @ (basis.T @ d)
        size.append(float(d @ d))
        columns.append(np.bincount(block, d, n * (n - 1) // 2))
    columns += [np.bincount(block, basis[:, k], n * (n - 1) // 2) for k in range(basis.shape[1])]
    sums = np.column_stack(columns)
    i, j = np.triu_indices(n, 1)
    weight = (pairs.size[i] * pairs.size[j]).astype(float)
    even = np.ptp(weight) == 0
    full = np.zeros((n, n), np.int32)
    full[i, j] = full[j, i] = unit_h
    rank_of = midranks(unit_h, weight) if even else None
    table = np.zeros((n, n))
    if rank_of is not None:
        table[i, j] = table[j, i] = rank_of
    out = np.empty((len(perms), len(ranked)))
    for p, perm in enumerate(perms):
        h = table[perm[i], perm[j]] if even else midranks(full[perm[i], perm[j]], weight)
        h = h - (weight @ h) / weight.sum()
        dot = h @ sums
        rest = weight @ (h * h) - (dot[len(ranked) :] ** 2).sum()
        out[p] = dot[: len(ranked)] / np.sqrt(np.maximum(rest * np.array(size), 1e-300))
    return out


def _filled(
    n_layers: int, fine: np.ndarray, left: LeftOut, null: np.ndarray, *, pairs: Pairs, named: str, why: str
) -> Alignment:
    """Put the layers that could be compared back in their places; the others are nan with a reason."""
    spread = np.full((len(null), n_layers), math.nan)
    spread[:, fine] = null
    cells = bounded_t([(1.0, placed(left, fine, n_layers))], n=len(pairs.kept))
    reason = np.array(cells.reason)
    reason[np.isnan(cells.estimate)] = why or "distances undefined or constant"
    cells = replace(
        cells,
        p=p_value(cells.estimate, spread),
        method=f"{named}; {cells.method}; {len(null)} permutations of units, one-sided",
        reason=reason,
        n_units=np.full(n_layers, len(pairs.size)),
    )
    return Alignment(
        cells=cells,
        p=max_over_layers(cells.estimate, spread),
        null=spread,
        n_pairs=len(pairs.kept),
        smallest_p=1 / (1 + len(null)),
    )


def placed(left: LeftOut, fine: np.ndarray, n_layers: int) -> LeftOut:
    """The layers that could be compared in their places, nan elsewhere."""
    values, most = np.full((2, len(left.values), n_layers), math.nan)
    values[:, fine], most[:, fine] = left.values, left.most
    return LeftOut(values=values, most=most)


def max_over_layers(
    observed: Float[np.ndarray, " cell"], null: Float[np.ndarray, "perm cell"]
) -> Float[np.ndarray, " cell"]:
    """One-sided max-T over layers: each is centred and scaled by its own null, then the largest of each permutation counts."""
    out = np.full(len(observed), math.nan)
    tested = np.flatnonzero(~np.isnan(observed) & ~np.isnan(null).any(axis=0))
    if not len(tested) or not len(null):
        return out
    mean, sd = null[:, tested].mean(axis=0), null[:, tested].std(axis=0)
    sd = np.where(sd > 0, sd, math.inf)
    largest = ((null[:, tested] - mean) / sd).max(axis=1, keepdims=True)
    out[tested] = p_value((observed[tested] - mean) / sd, np.repeat(largest, len(tested), axis=1))
    return out
