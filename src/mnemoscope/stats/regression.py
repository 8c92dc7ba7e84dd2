"""The MLP's output as a weighted sum of what it reads (P2.4, B6.5): who is amplified, who is erased.

    m_n = sum_c w_c a_cn + b + e_n          m, a, b in R^d, one scalar w_c for all d dimensions

over prompts n, with regressors a_c (listed heads, and the remainder of the MLP's input). N x d rows are not N x d observations:
all inference clusters by topic, and the fit is judged on topics it has not seen. Weights describe; the verdict follows the
causal weight of `measures`, because a linear fit of a non-linear block has no causal status.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.bootstrap import bootstrap_ratio, multiplicities
from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.estimate import Estimate, Estimates, reasons

PENALTIES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # in units of a regressor's own variance


@dataclass(frozen=True, kw_only=True)
class Regression:
    """ols, ridge: raw weights w (output per unit of the regressor) with studentised topic-bootstrap intervals, cells = regressors.

    penalty      of the ridge fit, chosen by grouped cross-validation, relative to the regressors' variance
    r2_ols, r2_ridge   held-out topics, about the training mean (can be negative); penalty re-chosen inside every training set
    condition    of the scaled design (1: orthogonal); vif: variance inflation of every regressor (inf: exactly collinear)
    rms          root mean square of every centred regressor: w x rms compares contributions
    intercept    b of the OLS fit
    """

    ols: Estimates
    ridge: Estimates
    penalty: float
    r2_ols: Estimate
    r2_ridge: Estimate
    condition: float
    vif: Float[np.ndarray, " component"]
    rms: Float[np.ndarray, " component"]
    intercept: Float[np.ndarray, " d"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the prompts of every topic: counts, sum a, sum m, sum aa', sum am, sum mm."""

    n: Float[np.ndarray, " topic"]
    a: Float[np.ndarray, "topic component d"]
    m: Float[np.ndarray, "topic d"]
    aa: Float[np.ndarray, "topic component component"]
    am: Float[np.ndarray, "topic component"]
    mm: Float[np.ndarray, " topic"]


def regress(
    output: Real[np.ndarray, "prompt d"],
    parts: Real[np.ndarray, "component prompt d"],
    topics: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    penalties: tuple[float, ...] = PENALTIES,
    n_folds: int = 5,
    n_boot: int = 1000,
) -> Regression:
    """Fit, judge and bound the weights of `parts` in `output`. All arrays are centred by training means, no intercept is penalised.

    Regressors are scaled to unit root mean square (after centring) before the penalty, weights are given back in raw units.
    Ridge: minimise |m - sum w a|^2 + penalty N d sum (w rms)^2. Regressors that vanish have weight nan. Fewer than 3 topics:
    refused.
    """
    matched("regression", output=len(output), parts=parts.shape[1], topics=len(topics))
    code, n_topics = codes(topics)
    if n_topics < 3:
        raise InputError("a regression over topics needs at least 3", found=str(n_topics))
    sums = _moments(np.asarray(output, float), np.asarray(parts, float), code, n_topics)
    every = np.ones(n_topics)
    folds = np.empty(n_topics, np.int64)
    folds[rng.permutation(n_topics)] = np.arange(n_topics) % min(n_folds, n_topics)
    penalty = _best_penalty(sums, every, folds, penalties)
    design = _centred(sums, every)
    dead = design.gram.diagonal() <= 1e-20 * max(float(design.gram.diagonal().max(initial=0)), 1e-300)
    weight = _weights(design, 0.0)
    squares = [_held_out(sums, folds, chosen) for chosen in ((0.0,), penalties)]
    values = np.linalg.eigvalsh(_scaled(design))
    ols = _interval(sums, 0.0, rng=rng, n_boot=n_boot, dead=dead, n=len(output))
    return Regression(
        ols=ols,
        ridge=_interval(sums, penalty, rng=rng, n_boot=n_boot, dead=dead, n=len(output)) if penalty else ols,
        penalty=penalty,
        r2_ols=_r2(*squares[0], rng=rng, n=len(output)),
        r2_ridge=_r2(*squares[1], rng=rng, n=len(output)),
        condition=math.sqrt(values[-1] / values[0]) if values[0] > 1e-12 * values[-1] else math.inf,
        vif=_inflation(_scaled(design)),
        rms=design.rms,
        intercept=design.m - weight @ design.a,
    )


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
    w = _weights(design, 0.0)
    return w, design.m - w @ design.a


@dataclass(frozen=True, kw_only=True)
class Centred:
    """A weighted sample of topics, centred: means a [component d], m [d], gram, cross moments, rms, and rows = N d."""

    a: np.ndarray
    m: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    rms: np.ndarray
    rows: float


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
    gram = np.tensordot(weight, sums.aa, 1) - a @ a.T / total
    rows = total * sums.m.shape[1]
    return Centred(
        a=a / total,
        m=m / total,
        gram=gram,
        cross=weight @ sums.am - a @ m / total,
        rms=np.sqrt(np.maximum(gram.diagonal(), 0) / rows),
        rows=rows,
    )


def _scaled(design: Centred) -> np.ndarray:
    scale = np.where(design.rms > 0, design.rms, 1.0)
    return design.gram / np.outer(scale, scale) / design.rows


def _weights(design: Centred, penalty: float) -> np.ndarray:
    """Raw weights; exactly collinear regressors share theirs (minimum norm), vanishing ones get 0."""
    scale = np.where(design.rms > 0, design.rms, 1.0)
    gram = _scaled(design) + penalty * np.eye(len(scale))
    return np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ (design.cross / scale / design.rows) / scale


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
            loss[i] += (weight * (folds == fold)) @ _errors(sums, design, _weights(design, penalty))
    return float(penalties[int(loss.argmin())])


def _held_out(sums: Moments, folds: np.ndarray, penalties: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Per topic: squared error of the fit, and of the training mean, when the topic's fold was left out."""
    error, base = np.zeros(len(sums.n)), np.zeros(len(sums.n))
    for fold in np.unique(folds):
        test = folds == fold
        design = _centred(sums, (~test).astype(float))
        penalty = _best_penalty(sums, (~test).astype(float), folds, penalties)
        error[test] = _errors(sums, design, _weights(design, penalty))[test]
        base[test] = _errors(sums, design, np.zeros(len(design.rms)))[test]
    return error, base


def _r2(error: np.ndarray, base: np.ndarray, *, rng: np.random.Generator, n: int) -> Estimate:
    ratio = bootstrap_ratio(error, base, np.arange(len(error)), rng=rng)
    method = f"held-out topics, about the training mean; {ratio.method}"
    return replace(
        ratio, estimate=1 - ratio.estimate, low=1 - ratio.high, high=1 - ratio.low, p=math.nan, n=n, method=method
    )


def _sandwich(sums: Moments, design: Centred, weight: np.ndarray, *, penalty: float, times: np.ndarray) -> np.ndarray:
    """Topic-clustered standard errors of the weights; `times` is how often each topic counts."""
    r = design.m - weight @ design.a
    score = sums.am - np.einsum("tcd,d->tc", sums.a, r) - sums.aa @ weight
    score -= (sums.m - sums.n[:, None] * r - np.einsum("c,tcd->td", weight, sums.a)) @ design.a.T
    scale = np.where(design.rms > 0, design.rms, 1.0)
    bread = np.linalg.pinv(_scaled(design) + penalty * np.eye(len(scale)), rcond=1e-10, hermitian=True)
    score = (
        score - penalty * design.rows * scale**2 * weight / times.sum()
    )  # at the ridge optimum the penalised scores sum to 0
    influence = (score / scale / design.rows) @ bread / scale
    n = float(times.sum())
    return np.sqrt(n / (n - 1) * (times @ influence**2))


def _interval(
    sums: Moments, penalty: float, *, rng: np.random.Generator, n_boot: int, dead: np.ndarray, n: int
) -> Estimates:
    topics = len(sums.n)
    every = np.ones(topics)
    design = _centred(sums, every)
    w = _weights(design, penalty)
    error = _sandwich(sums, design, w, penalty=penalty, times=every)
    t = np.empty((n_boot, len(w)))
    for i, times in enumerate(multiplicities(topics, n_boot, rng)):
        drawn = _centred(sums, times)
        star = _weights(drawn, penalty)
        with np.errstate(divide="ignore", invalid="ignore"):
            t[i] = (star - w) / _sandwich(sums, drawn, star, penalty=penalty, times=times)
    t = np.where(np.isnan(t), 0.0, t)
    ends = np.quantile(t, [0.975, 0.025], axis=0, method="inverted_cdf")
    flat = error <= 1e-9 * np.maximum(np.abs(w), 1e-300)
    hole = np.where(dead | flat, math.nan, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (1 + (np.abs(t) >= np.abs(w) / error).sum(axis=0)) / (1 + n_boot)
    fit = "ridge" if penalty else "least squares"
    return Estimates(
        estimate=np.where(dead, math.nan, w),
        low=(w - ends[0] * error) * hole,
        high=(w - ends[1] * error) * hole,
        p=p * hole,
        n=np.full(len(w), n, np.int64),
        n_units=np.full(len(w), topics, np.int64),
        method=f"{fit}, penalty {penalty:g}; topic bootstrap, studentised, {n_boot} resamples",
        reason=reasons(w.shape, (dead, "the regressor does not vary"), (flat, "a fit without error: no interval")),
    )


def _inflation(correlation: np.ndarray) -> Float[np.ndarray, " component"]:
    """1 / (1 - R^2 of a regressor on the others); inf if collinear, nan if it does not vary."""
    out = np.full(len(correlation), math.nan)
    alive = np.flatnonzero(correlation.diagonal() > 0)
    values, vectors = np.linalg.eigh(correlation[np.ix_(alive, alive)])
    with np.errstate(divide="ignore"):
        inverse = 1 / np.where(values > 1e-12 * values.max(initial=0), values, 0.0)
    loaded = vectors**2 > 1e-12
    out[alive] = np.where(loaded, vectors**2 * np.where(loaded, inverse, 0.0), 0.0).sum(axis=1)
    return out
