"""A linear map of small rank from many features to many outputs, judged on units it has not seen (P2.4's baseline).

    minimise |Y - X B|^2 + penalty tr(K)/N |B|^2   over B of rank at most r          K = X X', X and Y about the training means

Where the primary model weighs every part by one number, this gives every part a whole matrix, as far as a map of small rank allows:
what no weighted sum of parts predicts, a linear reading of them may. The solution is ridge regression followed by a projection of
its predictions on their r leading directions (Izenman 1975, "Reduced-rank regression for the multivariate linear model", J.
Multivariate Analysis 5; with penalty: Mukherjee and Zhu 2011, "Reduced rank ridge regression and its kernel extensions",
Statistical Analysis and Data Mining 4, eq. 4 to 6). Only products of rows are needed, so it costs N^3, however wide X is.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched

RANKS: Final = (1, 2, 4, 8, 16)
PENALTIES: Final = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # in units of a row's mean square

Choice = tuple[float, int]  # penalty, rank


def reduced_rank(
    output: Real[np.ndarray, "prompt d"], inputs: Real[np.ndarray, "prompt k"], *, rank: int, penalty: float
) -> Float[np.ndarray, "k d"]:
    """B of the formula above; prediction = mean output + (x - mean input) B. penalty 0: minimum norm."""
    y, x = output - output.mean(axis=0), inputs - inputs.mean(axis=0)
    alpha, directions = _fitted(x @ x.T, y, penalty)
    leading = directions[:rank]
    return x.T @ alpha @ leading.T @ leading


def held_out_rank(
    output: Real[np.ndarray, "prompt d"],
    inputs: Real[np.ndarray, "prompt k"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    ranks: tuple[int, ...] = RANKS,
    penalties: tuple[float, ...] = PENALTIES,
    n_folds: int = 5,
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"], Int[np.ndarray, " unit"]]:
    """Per unit (topic; sorted) that the map has not seen: its squared error, that of the training mean, and the rank chosen.

    Rank and penalty are chosen inside every training set, by its own folds of units. R2 over any set of units is 1 - sum of
    the first / sum of the second. Fewer than 3 units: refused.
    """
    matched("held-out errors", output=len(output), inputs=len(inputs), units=len(units))
    code, n = codes(units)
    if n < 3:
        raise InputError("held-out errors need at least 3 units", found=str(n))
    folds = np.empty(n, np.int64)
    folds[rng.permutation(n)] = np.arange(n) % min(n_folds, n)
    of, every = folds[code], [(penalty, rank) for penalty in penalties for rank in ranks]
    y, gram = np.asarray(output, float), _gram(np.asarray(inputs, float))
    error, base, chosen = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    for fold in np.unique(folds):
        test, train = np.flatnonzero(of == fold), np.flatnonzero(of != fold)
        best = _best(y, gram, train, of, every)
        missed = y[test] - _predictions(y, gram, train, test, [best])[best]
        error += np.bincount(code[test], (missed**2).sum(axis=1), minlength=n)
        base += np.bincount(code[test], ((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=1), minlength=n)
        chosen[folds == fold] = best[1]
    return error, base, chosen


def _gram(x: Float[np.ndarray, "prompt k"]) -> Float[np.ndarray, "prompt prompt"]:
    """Products of rows about the mean of all (training means are taken off later; this one keeps digits)."""
    x = x - x.mean(axis=0)
    return x @ x.T


def _fitted(gram: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """alpha, so that B = X' alpha before the projection; and the directions [direction d] of its predictions, leading first."""
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    alive = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
    ridge = penalty * float(values.mean()) if len(values) else 0.0
    shrunk = np.where(alive, 1 / np.where(alive, values + ridge, 1.0), 0.0)
    rotated = vectors.T @ y
    alpha = vectors @ (shrunk[:, None] * rotated)
    # predictions and the penalty together: their squares are Y' K (K + ridge)^-1 Y
    directions = np.linalg.svd(np.sqrt(values * shrunk)[:, None] * rotated, full_matrices=False)[2]
    return alpha, directions


def _predictions(
    y: np.ndarray, gram: np.ndarray, train: np.ndarray, test: np.ndarray, choices: list[Choice]
) -> dict[Choice, np.ndarray]:
    """Predictions of the test rows by fits on the training rows, one per penalty and rank."""
    mean = y[train].mean(axis=0)
    inner = gram[np.ix_(train, train)]
    outer = gram[np.ix_(test, train)]
    level = inner.mean(axis=0)
    outer = outer - level - outer.mean(axis=1, keepdims=True) + level.mean()
    inner = inner - level - level[:, None] + level.mean()
    found: dict[Choice, np.ndarray] = {}
    for penalty in dict.fromkeys(p for p, _ in choices):
        alpha, directions = _fitted(inner, y[train] - mean, penalty)
        whole = outer @ alpha
        for choice in choices:
            if choice[0] == penalty:
                leading = directions[: choice[1]]
                found[choice] = mean + whole @ leading.T @ leading
    return found


def _best(y: np.ndarray, gram: np.ndarray, train: np.ndarray, of: np.ndarray, every: list[Choice]) -> Choice:
    """Penalty and rank with the smallest error on left-out folds of the training rows."""
    if len(every) == 1:
        return every[0]
    loss = dict.fromkeys(every, 0.0)
    for fold in np.unique(of[train]):
        out, rest = train[of[train] == fold], train[of[train] != fold]
        for choice, predicted in _predictions(y, gram, rest, out, every).items() if len(rest) else ():
            loss[choice] += float(((y[out] - predicted) ** 2).sum())
    return min(every, key=lambda choice: loss[choice])
