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
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.correlation import kendall_tau_a
from mnemoscope.stats.estimate import Estimates
from mnemoscope.stats.jackknife import jackknife_t
from mnemoscope.stats.permutation import label_permutations, p_value
from mnemoscope.stats.rdm import dense, midranks, prompts_of

KINDS: Final = ("spearman", "tau-a")
GROUPS: Final = 100  # units left out in at most this many groups
TAU_PAIRS: Final = 20_000  # beyond this a permutation test of tau-a is not attempted


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of prompts from different units, and the pair of units each belongs to.

    kept   places in the condensed RDM;  first, second: unit of either prompt, first < second
    size   prompts per unit;  labels of the units, sorted: the order that permutations index
    """

    kept: Int[np.ndarray, " kept"]
    first: Int[np.ndarray, " kept"]
    second: Int[np.ndarray, " kept"]
    size: Int[np.ndarray, " unit"]
    labels: Shaped[np.ndarray, " unit"]

    @property
    def block(self) -> Int[np.ndarray, " kept"]:
        """Place of each pair's units in the condensed matrix over units."""
        n = len(self.size)
        return (self.first * (2 * n - self.first - 1)) // 2 + self.second - self.first - 1


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


def pairs_between(units: Shaped[np.ndarray, " prompt"]) -> Pairs:
    """Pairs of prompts from different units. Refuses fewer than 3 units."""
    code, n = codes(units)
    if n < 3:
        raise InputError("a comparison of units needs at least 3", found=f"{n} different among {len(units)} prompts")
    i, j = np.triu_indices(len(code), 1)
    kept = np.flatnonzero(code[i] != code[j])
    a, b = code[i[kept]], code[j[kept]]
    return Pairs(
        kept=kept,
        first=np.minimum(a, b),
        second=np.maximum(a, b),
        size=np.bincount(code, minlength=n),
        labels=np.unique(units),
    )


def by_unit(hypothesis: Real[np.ndarray, " pair"], pairs: Pairs) -> Float[np.ndarray, " unit_pair"]:
    """The hypothesis as a condensed matrix over units; refuses one that is not constant between two units, or constant at all."""
    value, block = np.asarray(hypothesis, float)[pairs.kept], pairs.block
    n = len(pairs.size)
    out = np.full(n * (n - 1) // 2, math.nan)
    out[block] = value
    if np.isnan(value).any() or not np.allclose(out[block], value, rtol=1e-9, atol=1e-12):
        raise InputError(
            "the hypothesis is not assigned to units",
            found="different or undefined values between the same two units",
            hint="units must be what the hypothesis depends on; what varies inside a unit is a nuisance",
        )
    if np.ptp(value) == 0:
        raise InputError("the hypothesis is constant over all pairs", found=f"{value[0]:g}", hint="it predicts nothing")
    return out


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
    its mean) / its sd. Interval: jackknife-t on Fisher's scale, units left out one at a time (in 100 random groups if there are
    more). Layers with undefined distances are nan with a reason. tau-a: no nuisances; permuted up to 20,000 pairs.
    """
    choose("comparison of RDMs", kind, KINDS)
    pairs = pairs_between(units)
    matched("alignment", rdm=prompts_of(rdms.shape[1]), units=len(units), hypothesis=prompts_of(len(hypothesis)))
    unit_h = dense(by_unit(hypothesis, pairs))
    perms = label_permutations(_unit_strata(strata, units, pairs), n_perm, rng)
    fine = np.flatnonzero(~np.isnan(rdms[:, pairs.kept]).any(axis=1) & (np.ptp(rdms[:, pairs.kept], axis=1) > 0))
    ranked = [dense(rdms[i, pairs.kept]) for i in fine]
    controls = [dense(row[pairs.kept]) for row in (nuisances if nuisances is not None else ())]
    if kind == "tau-a":
        if controls:
            raise InputError("partial tau-a is not defined here", hint="use kind='spearman' with nuisances")
        whole, null, left = _tau_a(ranked, unit_h, pairs, perms, rng)
    else:
        whole = leave_out(ranked, unit_h[pairs.block], controls, np.ones((1, len(pairs.kept)), bool))[0]
        null = _permuted(ranked, unit_h, controls, pairs, perms)
        left = leave_out(ranked, unit_h[pairs.block], controls, groups_left(pairs, rng))
    return _filled(len(rdms), fine, whole, null, left, pairs=pairs, kind="partial " + kind if controls else kind)


def _unit_strata(strata: np.ndarray | None, units: np.ndarray, pairs: Pairs) -> Int[np.ndarray, " unit"]:
    if strata is None:
        return np.zeros(len(pairs.size), np.int64)
    (code, n), (level, _) = codes(units), codes(strata)
    out = np.zeros(n, np.int64)
    out[code] = level
    if (out[code] != level).any():
        raise InputError("strata of a permutation vary within a unit", hint="each unit belongs to one stratum")
    return out


def groups_left(pairs: Pairs, rng: np.random.Generator) -> np.ndarray:
    """Masks [group, kept pair] of the pairs that stay when a unit (or a random group of units) is left out."""
    n = len(pairs.size)
    groups = min(n, GROUPS)
    mine = np.arange(n) if n <= GROUPS else rng.permutation(n) % groups
    return np.stack([(mine[pairs.first] != g) & (mine[pairs.second] != g) for g in range(groups)])


def leave_out(
    ranked: list[np.ndarray], hypothesis: np.ndarray, controls: list[np.ndarray], stays: np.ndarray
) -> Float[np.ndarray, "group layer"]:
    """(Partial) Spearman per layer among the pairs that stay, for every mask; all inputs are dense codes over kept pairs."""
    out = np.empty((len(stays), len(ranked)))
    for g, mask in enumerate(stays):
        rank = [centred(midranks(code[mask])) for code in (hypothesis, *controls)]
        basis = orthonormal(rank[1:], len(rank[0]))
        target = rank[0] - basis @ (basis.T @ rank[0])
        size = float(target @ target)
        whole_size = float(rank[0] @ rank[0])
        for layer, code in enumerate(ranked):
            d = centred(midranks(code[mask]))
            rest = float(d @ d) - float(((basis.T @ d) ** 2).sum())
            defined = size > 1e-9 * max(whole_size, 1e-300) and rest > 1e-9 * float(d @ d)
            out[g, layer] = float(d @ target) / math.sqrt(size * rest) if defined else math.nan
    return out


def centred(rank: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """Minus its mean."""
    return rank - rank.mean()


def orthonormal(columns: list[np.ndarray], n: int) -> Float[np.ndarray, "pair basis"]:
    """Orthonormal basis of centred columns; dependent and constant ones drop out."""
    table = np.column_stack(columns) if columns else np.zeros((n, 0))
    size = np.sqrt((table * table).sum(axis=0))
    table = table[:, size > 0] / size[size > 0]
    if not table.shape[1]:
        return table
    values, vectors = np.linalg.eigh(table.T @ table)
    good = values > 1e-9
    return table @ (vectors[:, good] / np.sqrt(values[good]))


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


def _tau_a(
    ranked: list[np.ndarray], unit_h: np.ndarray, pairs: Pairs, perms: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tau-a: whole, permuted (nan where too large), and with units left out."""
    h, n = unit_h[pairs.block], len(pairs.size)
    full = np.zeros((n, n), np.int32)
    i, j = np.triu_indices(n, 1)
    full[i, j] = full[j, i] = unit_h
    whole = np.array([kendall_tau_a(code, h) for code in ranked])
    null = np.full((len(perms), len(ranked)), math.nan)
    if len(h) <= TAU_PAIRS:
        for p, perm in enumerate(perms):
            shuffled = full[perm[pairs.first], perm[pairs.second]]
            null[p] = [kendall_tau_a(code, shuffled) for code in ranked]
    left = [[kendall_tau_a(code[mask], h[mask]) for code in ranked] for mask in groups_left(pairs, rng)]
    return whole, null, np.array(left).reshape(-1, len(ranked))


def _filled(
    n_layers: int, fine: np.ndarray, whole: np.ndarray, null: np.ndarray, left: np.ndarray, *, pairs: Pairs, kind: str
) -> Alignment:
    """Put the layers that could be compared back in their places; the others are nan with a reason."""
    spread = np.full((len(null), n_layers), math.nan)
    spread[:, fine] = null
    every, out = np.full(n_layers, math.nan), np.full((len(left), n_layers), math.nan)
    every[fine], out[:, fine] = whole, left
    cells = jackknife_t(every, out, n=len(pairs.kept), fisher=True)
    single = p_value(every, spread)
    method = f"{kind} over pairs of units; jackknife-t (Fisher z); {len(null)} permutations of units, one-sided"
    if len(null) and np.isnan(null).all():
        method += f" (not made: tau-a of more than {TAU_PAIRS} pairs)"
    why = np.array(cells.reason)
    why[np.isnan(every)] = "distances undefined or constant"
    cells = replace(cells, p=single, method=method, reason=why, n_units=np.full(n_layers, len(pairs.size)))
    return Alignment(
        cells=cells,
        p=max_over_layers(every, spread),
        null=spread,
        n_pairs=len(pairs.kept),
        smallest_p=1 / (1 + len(null)),
    )


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
