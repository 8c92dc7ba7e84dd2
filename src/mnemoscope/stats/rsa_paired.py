"""Did alignment rise from before to after (B7.1)? The two conditions of an item are exchanged, its rows of both RDMs together.

Exchanging needs the distances between a pattern of one condition and one of the other, so all 2n patterns are compared jointly
and ranked once. For a choice s of one condition per item the rank correlation with the hypothesis is a ratio of quadratic forms
in s whose matrices are block sums over items: a permutation costs a few matrix products, whatever the number of prompts.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.estimate import Estimates
from mnemoscope.stats.permutation import p_value, paired_swaps
from mnemoscope.stats.rdm import dense, midranks, rdm, standardised
from mnemoscope.stats.rsa import Alignment, max_over_layers, placed, whole_and, whole_tau
from mnemoscope.stats.rsa_intervals import bounded_t
from mnemoscope.stats.rsa_pairs import Pairs, by_unit, grouped, groups_left, pairs_between
from mnemoscope.stats.rsa_ranks import LeftOut, centred, leave_out, orthonormal
from mnemoscope.stats.rsa_tau import too_many


def before_after(
    layers: Iterable[tuple[Real[np.ndarray, "prompt d"], Real[np.ndarray, "prompt d"]]],
    hypothesis: Real[np.ndarray, " pair"],
    items: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    nuisances: Real[np.ndarray, "nuisance joint_pair"] | None = None,
    metric: str = "cosine",
    n_perm: int = 1000,
) -> Alignment:
    """Alignment after minus alignment before, per layer; p by swapping conditions within items, max-T over layers.

    `layers` yields (before, after) patterns, row i of both being the same prompt of the same item; dimensions are standardised
    within condition, so a shift common to all prompts is no difference. `nuisances` are condensed RDMs over the 2n prompts,
    before first: their diagonal blocks are partialled out of each condition's estimate, all of them out of the joint ranks for
    the test. estimate, interval: difference of (partial) Spearman correlations over pairs of prompts from different items
    (`rsa_intervals`). p: one-sided, Pearson correlation of joint ranks with the ranked hypothesis, items swapped (all 2^n
    if they fit).
    """
    pairs = pairs_between(items)
    unit_h = dense(by_unit(hypothesis, pairs))
    swaps = paired_swaps(len(pairs.size), n_perm, rng)
    stays = whole_and(groups_left(pairs, rng))
    control = _controls(nuisances, pairs, len(items))
    joint_pairs = _joint_pairs(items)
    basis = _joint_basis(nuisances, joint_pairs[0])
    seen, drawn, ranked = [], [], []
    for before, after in layers:
        matched("before and after", before=len(before), after=len(after), items=len(items))
        both = np.vstack([standardised(before), standardised(after)])
        joint = rdm(both, metric=metric, standardise=False)
        if np.isnan(joint).any() or min(np.ptp(before, axis=0).max(), np.ptp(after, axis=0).max()) == 0:
            ranked.append(None)
            statistic = np.full(len(swaps) + 1, math.nan)
        else:
            ranked.append([dense(half[pairs.kept]) for half in _halves(joint, len(items))])
            statistic = _swapped(joint, unit_h, basis, joint_pairs, swaps)
        seen.append(statistic[0])
        drawn.append(statistic[1:])
    sides = _sides(ranked, unit_h[pairs.block], control, stays)
    return _record(sides, np.array(seen), np.array(drawn).T, pairs=pairs, partial=nuisances is not None)


def tau_change(
    rdms: tuple[Real[np.ndarray, "layer pair"], Real[np.ndarray, "layer pair"]],
    hypothesis: Real[np.ndarray, " pair"],
    items: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
) -> Estimates:
    """tau-a with a hypothesis after minus before, per layer, with its interval; `rdms` are (before, after).

    p is nan: swapping conditions needs the joint ranks of `before_after`. Undefined where `rsa.align` is.
    """
    pairs = pairs_between(items)
    unit_h, group = dense(by_unit(hypothesis, pairs)), grouped(pairs, rng)
    before, after = (whole_tau(side[:, pairs.kept], unit_h, pairs, group) for side in rdms)
    found = bounded_t([(1.0, after), (-1.0, before)], n=len(pairs.kept))
    why = np.array(found.reason)
    why[np.isnan(found.estimate)] = too_many(unit_h, len(pairs.kept)) or "distances undefined or constant"
    method = f"difference of tau-a, after - before; {found.method}; not tested"
    return replace(found, p=np.full(len(found), math.nan), method=method, reason=why)


def _halves(joint: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The two diagonal blocks of a condensed joint RDM, condensed."""
    i, j = np.triu_indices(2 * n, 1)
    return joint[(i < n) & (j < n)], joint[(i >= n) & (j >= n)]


def _controls(nuisances: np.ndarray | None, pairs: Pairs, n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    if nuisances is None:
        return [], []
    if nuisances.shape[1] != n * (2 * n - 1):
        raise InputError(
            "nuisances of a before/after test cover both conditions",
            found=f"{nuisances.shape[1]} pairs",
            allowed=f"{n * (2 * n - 1)}: condensed over 2 x {n} prompts, before first",
        )
    halves = [_halves(row, n) for row in nuisances]
    return [dense(a[pairs.kept]) for a, _ in halves], [dense(b[pairs.kept]) for _, b in halves]


def _sides(
    ranked: list[list[np.ndarray] | None], h: np.ndarray, control: tuple[list, list], stays: np.ndarray
) -> tuple[LeftOut, LeftOut]:
    """(Partial) Spearman before and after for every layer and every mask of pairs; nan for layers that have no geometry."""
    fine = np.array([layer for layer, halves in enumerate(ranked) if halves is not None], np.int64)
    before, after = (
        leave_out([halves[side] for halves in ranked if halves is not None], h, part, stays)
        for side, part in enumerate(control)
    )
    return placed(before, fine, len(ranked)), placed(after, fine, len(ranked))


def _joint_pairs(items: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of the 2n prompts from different items: places in the condensed joint RDM, cell of (item, condition)^2, item codes."""
    code, n_items = codes(items)
    i, j = np.triu_indices(2 * len(items), 1)
    item, half = np.concatenate([code, code]), np.concatenate([code, code + n_items])
    kept = np.flatnonzero(item[i] != item[j])
    return kept, half[i[kept]] * 2 * n_items + half[j[kept]], code


def _joint_basis(nuisances: np.ndarray | None, kept: np.ndarray) -> np.ndarray:
    rows = [] if nuisances is None else [centred(midranks(dense(row[kept]))) for row in nuisances]
    return orthonormal(rows, len(kept))


def _swapped(
    joint: np.ndarray,
    unit_h: np.ndarray,
    basis: np.ndarray,
    joint_pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    swaps: np.ndarray,
) -> Float[np.ndarray, " perm"]:
    """Joint-rank correlation after minus before, first for the data and then for every swap."""
    kept, place, code = joint_pairs
    n_items = swaps.shape[1]
    rank = centred(midranks(dense(joint[kept])))
    rank = rank - basis @ (basis.T @ rank)
    grids = [_grid(place, x, 2 * n_items) for x in (rank, rank * rank)]
    h = _hypothesis_grid(unit_h, code, n_items)
    chosen = np.vstack([np.zeros((1, n_items), bool), swaps])
    first = np.hstack([~chosen, chosen]).astype(float)
    return _correlation(1 - first, h, grids) - _correlation(first, h, grids)


def _grid(place: np.ndarray, value: np.ndarray, side: int) -> Float[np.ndarray, "half half"]:
    grid = np.bincount(place, value, side * side).reshape(side, side)
    return grid + grid.T


def _hypothesis_grid(unit_h: np.ndarray, code: np.ndarray, n: int) -> tuple[np.ndarray, float, float]:
    """Centred ranks of the hypothesis over pairs of items, their sum of squares over pairs of prompts, and the number of those."""
    size = np.bincount(code, minlength=n).astype(float)
    a, b = np.triu_indices(n, 1)
    weight = size[a] * size[b]
    rank = midranks(unit_h, weight)
    rank = rank - (weight @ rank) / weight.sum()
    grid = np.zeros((n, n))
    grid[a, b] = grid[b, a] = rank
    return grid, float(weight @ (rank * rank)), float(weight.sum())


def _correlation(
    chosen: np.ndarray, hypothesis: tuple[np.ndarray, float, float], grids: list[np.ndarray]
) -> Float[np.ndarray, " perm"]:
    """Pearson correlation of joint ranks with the ranked hypothesis, for every choice of one condition per item."""
    h, size, count = hypothesis
    total, square = grids
    product, linear, squares = (
        ((chosen @ grid) * chosen).sum(axis=1) / 2 for grid in (total * np.tile(h, (2, 2)), total, square)
    )
    return product / np.sqrt(np.maximum((squares - linear**2 / count) * size, 1e-300))


def _record(
    sides: tuple[LeftOut, LeftOut], seen: np.ndarray, drawn: np.ndarray, *, pairs: Pairs, partial: bool
) -> Alignment:
    if not len(seen):
        raise InputError("a before/after test got no layer")
    before, after = sides
    cells = bounded_t([(1.0, after), (-1.0, before)], n=len(pairs.kept))
    why = np.array(cells.reason)
    why[np.isnan(cells.estimate)] = "distances undefined or constant"
    method = (
        f"difference of {'partial ' if partial else ''}spearman, after - before; {cells.method}; "
        f"{len(drawn)} swaps of conditions within items, one-sided"
    )
    cells = replace(
        cells, p=p_value(seen, drawn), method=method, reason=why, n_units=np.full(len(seen), len(pairs.size))
    )
    return Alignment(
        cells=cells,
        p=max_over_layers(seen, drawn),
        null=drawn,
        n_pairs=len(pairs.kept),
        smallest_p=1 / (1 + len(drawn)),
    )
