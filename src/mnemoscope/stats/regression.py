"""The MLP's output as a weighted sum of what it reads (P2.4, B6.5), fitted on whole vectors and judged on units it has not seen.

    m_n = sum_c w_c a_cn + b + e_n          m, a, b in R^d, one scalar w_c for all d dimensions

over prompts n, with regressors a_c (listed heads, and the remainder of the MLP's input). All arrays are centred by training
means, no intercept is penalised; the penalty is relative to the regressors' variance. Weights with intervals, pooled over
relations: `mnemoscope.stats.cross_products`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.cross_products import solved


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the prompts of every topic: counts, sum a, sum m, sum aa', sum am, sum mm."""

    n: Float[np.ndarray, " topic"]
    a: Float[np.ndarray, "topic component d"]
    m: Float[np.ndarray, "topic d"]
    aa: Float[np.ndarray, "topic component component"]
    am: Float[np.ndarray, "topic component"]
    mm: Float[np.ndarray, " topic"]


def held_out(
    output: Real[np.ndarray, "prompt d"],
    parts: Real[np.ndarray, "component prompt d"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    penalties: tuple[float, ...] = (0.0,),
    n_folds: int = 5,
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """Per unit (topic, template; in sorted order) that the fit has not seen: squared error of the fit, and of the training mean.

    R2 over any set of units is 1 - sum of the first / sum of the second. With several penalties one is chosen inside every
    training set. Fewer than 3 units: refused.
    """
    matched("held-out errors", output=len(output), parts=parts.shape[1], units=len(units))
    code, n = codes(units)
    if n < 3:
        raise InputError("held-out errors need at least 3 units", found=str(n))
    folds = np.empty(n, np.int64)
    folds[rng.permutation(n)] = np.arange(n) % min(n_folds, n)
    return _held_out(_moments(np.asarray(output, float), np.asarray(parts, float), code, n), folds, penalties)


def least_squares(
    output: Real[np.ndarray, "prompt d"], parts: Real[np.ndarray, "component prompt d"]
) -> tuple[Float[np.ndarray, " component"], Float[np.ndarray, " d"]]:
    """w and b of the plain fit m = sum w a + b, without inference. Collinear regressors share their weight, dead ones get 0."""
    sums = _moments(np.asarray(output, float), np.asarray(parts, float), np.zeros(len(output), np.int64), 1)
    design = _centred(sums, np.ones(1))
    w = solved(design.gram, design.cross, 0.0)
    return w, design.m - w @ design.a


@dataclass(frozen=True, kw_only=True)
class Centred:
    """A weighted sample of topics, centred: means a [component d], m [d], gram and cross moments."""

    a: np.ndarray
    m: np.ndarray
    gram: np.ndarray
    cross: np.ndarray


def _moments(m: np.ndarray, a: np.ndarray, code: np.ndarray, n: int) -> Moments:
    of = [np.flatnonzero(code == t) for t in range(n)]
    return Moments(
        n=np.array([float(len(rows)) for rows in of]),
        a=np.stack([a[:, rows].sum(axis=1) for rows in of]),
        m=np.stack([m[rows].sum(axis=0) for rows in of]),
        aa=np.stack([np.einsum("cnd,end->ce", a[:, rows], a[:, rows], optimize=True) for rows in of]),
        am=np.stack([np.einsum("cnd,nd->c", a[:, rows], m[rows], optimize=True) for rows in of]),
        mm=np.array([(m[rows] ** 2).sum() for rows in of]),
    )


def _centred(sums: Moments, weight: np.ndarray) -> Centred:
    total = float(weight @ sums.n)
    a, m = np.tensordot(weight, sums.a, 1), weight @ sums.m
    return Centred(
        a=a / total,
        m=m / total,
        gram=np.tensordot(weight, sums.aa, 1) - a @ a.T / total,
        cross=weight @ sums.am - a @ m / total,
    )


def _errors(sums: Moments, design: Centred, weight: np.ndarray) -> Float[np.ndarray, " topic"]:
    """Sum of squared errors of every topic under a fit made elsewhere: |m - r - w a|^2 with r = mean m - w mean a."""
    r = design.m - weight @ design.a
    return (
        sums.mm
        + sums.n * (r @ r)
        + np.einsum("c,tce,e->t", weight, sums.aa, weight)
        - 2 * sums.m @ r
        - 2 * sums.am @ weight
        + 2 * np.einsum("c,tcd,d->t", weight, sums.a, r)
    )


def _best_penalty(sums: Moments, weight: np.ndarray, folds: np.ndarray, penalties: tuple[float, ...]) -> float:
    """The penalty with the smallest error on left-out folds of the topics that have weight."""
    if len(penalties) == 1:
        return penalties[0]
    loss = np.zeros(len(penalties))
    for fold in np.unique(folds[weight > 0]):
        train = weight * (folds != fold)
        if not train.any():
            continue
        design = _centred(sums, train)
        for i, penalty in enumerate(penalties):
            loss[i] += (weight * (folds == fold)) @ _errors(sums, design, solved(design.gram, design.cross, penalty))
    return float(penalties[int(loss.argmin())])


def _held_out(sums: Moments, folds: np.ndarray, penalties: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Per topic: squared error of the fit, and of the training mean, when the topic's fold was left out."""
    error, base = np.zeros(len(sums.n)), np.zeros(len(sums.n))
    for fold in np.unique(folds):
        test = folds == fold
        design = _centred(sums, (~test).astype(float))
        penalty = _best_penalty(sums, (~test).astype(float), folds, penalties)
        error[test] = _errors(sums, design, solved(design.gram, design.cross, penalty))[test]
        base[test] = _errors(sums, design, np.zeros(len(design.cross)))[test]
    return error, base
