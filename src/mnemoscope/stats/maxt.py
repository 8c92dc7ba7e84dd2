"""Family-wise control over all cells of a table: the studentised max-T (B2.1).

Every permutation is applied jointly to all cells (heads x relations), so the dependence between cells is kept and costs no power;
a cell's corrected p is the share of permutations whose largest statistic anywhere reaches the cell's. Westfall and Young 1993,
"Resampling-Based Multiple Testing", algorithm 2.5 (single step); Romano and Wolf 2005, JASA 100. Holm over 144 heads x 10
relations would need 28,800 permutations; this needs 1,999.

Studentised t statistics of cells with different numbers of units have different tails, and the small cells would own the maximum.
They are therefore put on the normal scale first (Wallace 1959: z = (8d+1)/(8d+3) sqrt(d log(1 + t^2/d)), d degrees of freedom),
which is monotone within a cell. Values that are shares or effects are skewed, and flipping signs makes the null symmetric: with
skewness 2 and 40 documents the two-sided error over 30 cells would be .10 instead of .05. Hall's (1992, JRSS B 54, "On the
removal of skewness") correction of t for skewness is therefore applied to data and permutations alike (.034). Work is done in
blocks of cells within a memory budget: 1,999 permutations x 300 documents x 10,240 cells take seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from mnemoscope.errors import InputError, choose
from mnemoscope.stats.clusters import codes, matched, sums
from mnemoscope.stats.estimate import reasons
from mnemoscope.stats.permutation import SIDES, label_permutations, sign_flips

PERMUTATIONS: Final = 1999  # B2.1
BUDGET: Final = 1 << 27  # bytes of one [perm, cell] block

Block = Callable[[slice], tuple[Float[np.ndarray, " cell"], Float[np.ndarray, "perm cell"]]]


@dataclass(frozen=True, kw_only=True)
class MaxT:
    """Family-wise corrected p values of all cells of a table.

    z          studentised statistic on the normal scale, signed; nan where the cell was not tested
    p          corrected over all tested cells; p_single: the cell's own, uncorrected
    critical   95% point of the largest statistic under the null (of |z| if two-sided)
    n_units    independent units per cell; n_tested cells in the family; n_perm permutations; smallest_p attainable
    reason     why a cell was not tested
    """

    z: Float[np.ndarray, " cell"]
    p: Float[np.ndarray, " cell"]
    p_single: Float[np.ndarray, " cell"]
    n_units: Int[np.ndarray, " cell"]
    critical: float
    n_tested: int
    n_perm: int
    smallest_p: float
    method: str
    reason: Shaped[np.ndarray, " cell"]


def sign_flip_max_t(
    values: Real[np.ndarray, "unit cell"],
    clusters: Shaped[np.ndarray, " unit"] | None = None,
    *,
    rng: np.random.Generator,
    n_perm: int = PERMUTATIONS,
    side: str = "greater",
    min_units: int = 5,
) -> MaxT:
    """Is a cell's mean above 0 (below, different)? Signs of whole units (or clusters) are flipped, in all cells together.

    `values` are differences from a null value (excess over chance), nan where a unit has no value in that cell. With clusters the
    sums within a cluster are flipped. Asymptotically valid for skewed values because it is studentised (Romano 1990, JASA 85);
    exact for symmetric ones. Cells with fewer than `min_units` units, or without variation, are nan.
    """
    choose("side", side, SIDES)
    x, there = _by_cluster(values, clusters)
    flips = sign_flips(len(x), n_perm, rng)
    n = there.sum(axis=0)
    with np.errstate(over="ignore"):
        square = (x * x).sum(axis=0)

    def block(cells: slice) -> tuple[np.ndarray, np.ndarray]:
        total = np.vstack([x[:, cells].sum(axis=0), flips @ x[:, cells]])
        cube = np.vstack([(x[:, cells] ** 3).sum(axis=0), flips @ x[:, cells] ** 3])
        z = _normal(total, square[None, cells], cube, n[cells])
        return z[0], z[1:]

    tested = (n >= min_units) & (square > 0)
    why = reasons(
        n.shape,
        (n < min_units, f"fewer than {min_units} independent units"),
        (~tested, "no value differs from 0"),
    )
    return _family(block, tested, why, n=n, n_perm=len(flips), side=side, method="sign flips of units")


def _by_cluster(
    values: np.ndarray, clusters: np.ndarray | None
) -> tuple[Float[np.ndarray, "group cell"], Bool[np.ndarray, "group cell"]]:
    there = ~np.isnan(np.asarray(values, float))
    x = np.where(there, values, 0.0)
    if clusters is None:
        return x, there
    matched("max-T", values=len(values), clusters=len(clusters))
    code, n = codes(clusters)
    return sums(x, code, n), sums(there.astype(float), code, n) > 0


def _normal(
    total: Float[np.ndarray, "perm cell"],
    square: Float[np.ndarray, "#perm cell"],
    cube: Float[np.ndarray, "perm cell"],
    n: Int[np.ndarray, " cell"],
) -> Float[np.ndarray, "perm cell"]:
    """One-sample t from the sums of x, x^2 and x^3, with Hall's skewness correction, on the normal scale.

    W = mean / sd, g = skewness:  t = sqrt(n - 1) (W + g W^2 / 3 + g^2 W^3 / 27 + g / (6 n)), monotone in W.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, second = total / n, square / n
        variance = second - mean * mean
        flat = variance <= 1e-12 * second
        sd = np.sqrt(np.where(flat, math.inf, variance))
        w = np.where(flat, np.sign(mean) * 1e6, mean / sd)
        g = (cube / n - 3 * mean * second + 2 * mean**3) / sd**3
        g = np.where(np.isfinite(g), g, 0.0)
        t = np.sqrt(np.maximum(n - 1, 1)) * (w + g * w * w / 3 + g * g * w**3 / 27 + g / (6 * n))
    return _wallace(t, np.maximum(n - 1, 1))


def _wallace(t: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.sign(t) * (8 * d + 1) / (8 * d + 3) * np.sqrt(d * np.log1p(np.minimum(t * t / d, 1e300)))


def redraw_max_t(
    draws: Real[np.ndarray, "draw unit cell"],
    *,
    rng: np.random.Generator,
    n_perm: int = PERMUTATIONS,
    side: str = "greater",
    min_units: int = 5,
) -> MaxT:
    """Is the true labelling's mean above what redrawn labels give? (B1.3: tails redrawn among matched candidates.)

    draws[0] holds the values under the true labels, draws[1:] under K redraws, each redraw made jointly for all cells of a unit
    (document). A permuted data set takes for every unit one of its K + 1 versions at random, the same for all cells. Subtract the
    same null from every version first. A unit missing (nan) in one version of a cell is missing in all of that cell.
    """
    choose("side", side, SIDES)
    if len(draws) < 2:
        raise InputError(
            "nothing to redraw from", found=f"{len(draws)} version", allowed="the true one and >= 1 redraw"
        )
    there = np.asarray(~np.isnan(np.asarray(draws, float)).any(axis=0))
    pick = rng.integers(0, len(draws), size=(n_perm, draws.shape[1]))
    chosen = [np.vstack([np.full(draws.shape[1], k == 0), pick == k]).astype(float) for k in range(len(draws))]
    n = there.sum(axis=0)

    def block(cells: slice) -> tuple[np.ndarray, np.ndarray]:
        total, square, cube = 0.0, 0.0, 0.0
        for mask, version in zip(chosen, draws, strict=True):
            x = np.where(there[:, cells], version[:, cells], 0.0)
            total, square, cube = total + mask @ x, square + mask @ (x * x), cube + mask @ x**3
        z = _normal(np.asarray(total), np.asarray(square), np.asarray(cube), n[cells])
        z = np.where(np.isnan(z), 0.0, z)  # a redraw in which all values are 0
        return z[0], z[1:]

    moves = np.where(there, np.ptp(draws, axis=0), 0.0).max(axis=0, initial=0) > 0
    tested = (n >= min_units) & moves
    why = reasons(
        n.shape,
        (n < min_units, f"fewer than {min_units} independent units"),
        (~tested, "redrawing changes nothing"),
    )
    return _family(block, tested, why, n=n, n_perm=n_perm, side=side, method="labels redrawn per unit")


def label_max_t(
    values: Real[np.ndarray, "unit cell"],
    treated: Bool[np.ndarray, " unit"],
    strata: Shaped[np.ndarray, " unit"] | None = None,
    *,
    rng: np.random.Generator,
    n_perm: int = PERMUTATIONS,
    side: str = "two-sided",
    min_units: int = 5,
) -> MaxT:
    """Do treated units have a larger mean than the others? Labels permuted within strata, jointly for all cells; Welch t.

    `min_units` holds for each of the two groups. With strata the values are centred within stratum first.
    """
    choose("side", side, SIDES)
    matched("max-T", values=len(values), treated=len(treated))
    code, n_strata = codes(np.zeros(len(values), np.int64) if strata is None else strata)
    there = ~np.isnan(np.asarray(values, float))
    x = np.where(there, values, 0.0)
    size = np.maximum(sums(there.astype(float), code, n_strata), 1)
    x = np.where(there, x - (sums(x, code, n_strata) / size)[code], 0.0)
    perms = label_permutations(code, n_perm, rng)
    label = np.vstack([treated[None], treated[perms]]).astype(float)

    def block(cells: slice) -> tuple[np.ndarray, np.ndarray]:
        z = _welch(label, x[:, cells], there[:, cells].astype(float))
        return z[0], z[1:]

    one, zero = there[treated].sum(axis=0), there[~treated].sum(axis=0)
    few = np.minimum(one, zero) < min_units
    tested = ~few & ((x * x).sum(axis=0) > 0)
    why = reasons(
        few.shape, (few, f"a group has fewer than {min_units} units"), (~tested, "no variation within strata")
    )
    return _family(block, tested, why, n=one + zero, n_perm=len(perms), side=side, method="labels permuted in strata")


def _welch(label: np.ndarray, x: np.ndarray, there: np.ndarray) -> Float[np.ndarray, "perm cell"]:
    """Welch's t of treated against the rest for every labelling, on the normal scale with n - 2 degrees of freedom."""
    n1, s1, q1 = label @ there, label @ x, label @ (x * x)
    n0, s0, q0 = there.sum(axis=0) - n1, x.sum(axis=0) - s1, (x * x).sum(axis=0) - q1
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (q1 - s1 * s1 / n1) / (n1 - 1) / n1 + (q0 - s0 * s0 / n0) / (n0 - 1) / n0
        t = (s1 / n1 - s0 / n0) / np.sqrt(np.maximum(variance, 0))
    t = np.where(np.isnan(t), math.inf, t)  # a labelling with an empty group in this cell counts as extreme
    d = np.maximum(n1 + n0 - 2, 1)
    return _wallace(t, d)


def _family(
    block: Block, tested: np.ndarray, reason: np.ndarray, *, n: np.ndarray, n_perm: int, side: str, method: str
) -> MaxT:
    """Walk over blocks of cells, keep the running maximum of every permutation, then read the corrected p values."""
    turn = {"greater": np.asarray, "less": np.negative, "two-sided": np.abs}[side]
    z, single = np.full(len(tested), math.nan), np.full(len(tested), math.nan)
    largest = np.full(n_perm, -math.inf)
    width = max(1, BUDGET // (8 * (n_perm + 1)))
    for start in range(0, len(tested), width):
        cells = slice(start, start + width)
        seen, null = block(cells)
        z[cells] = seen
        drawn = turn(null)[:, tested[cells]]
        mine = turn(seen)[tested[cells]]
        beyond = (drawn >= mine - 1e-9 * (1 + np.abs(mine))).sum(axis=0)
        single[np.flatnonzero(tested[cells]) + start] = (1 + beyond) / (1 + n_perm)
        largest = np.maximum(largest, drawn.max(axis=1, initial=-math.inf))
    z = np.where(tested, z, math.nan)
    ordered, mine = np.sort(largest), turn(z)
    reach = n_perm - np.searchsorted(ordered, mine - 1e-9 * (1 + np.abs(mine)), side="left")
    return MaxT(
        z=z,
        p=np.where(tested, (1 + reach) / (1 + n_perm), math.nan),
        p_single=single,
        n_units=np.asarray(n, np.int64),
        critical=float(np.quantile(ordered, 0.95, method="higher")) if tested.any() else math.nan,
        n_tested=int(tested.sum()),
        n_perm=n_perm,
        smallest_p=1 / (1 + n_perm),
        method=f"studentised max-T over {int(tested.sum())} cells, {method}, {side}, {n_perm} permutations",
        reason=reason,
    )
