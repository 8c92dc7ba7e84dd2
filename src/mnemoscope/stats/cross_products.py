"""Regression weights from cross products per unit: pooled over data sets that share regressors but not coordinates.

    w = (A + lambda diag A)^-1 b          A = sum_u sum a a', b = sum_u sum a m over the rows of unit u

Every data set (relation) is centred by its own means before its products are taken, so that pooling compares within it. Units
(topics) are what is independent: intervals are the delete-one-unit jackknife (CV3, see `mnemoscope.stats.clusters`).
The penalty is in units of a regressor's own variance and is chosen by grouped cross-validation over units.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import matched
from mnemoscope.stats.estimate import Estimates, reasons
from mnemoscope.stats.strata import spread

PENALTIES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
SINGULAR = 1e-10


@dataclass(frozen=True, kw_only=True)
class Weights:
    """ols, ridge: raw weights, cells = regressors; penalty: of the ridge fit; r2: of the least-squares fit, in sample.

    condition: of the design scaled to unit variances (inf: collinear); vif: variance inflation per regressor.
    """

    ols: Estimates
    ridge: Estimates
    penalty: float
    r2: float
    condition: float
    vif: Float[np.ndarray, " component"]


def weights(
    aa: Float[np.ndarray, "unit component component"],
    am: Float[np.ndarray, "unit component"],
    mm: Float[np.ndarray, " unit"],
    *,
    rng: np.random.Generator,
    stratum: Int[np.ndarray, " unit"] | None = None,
    penalties: tuple[float, ...] = PENALTIES,
    n_folds: int = 5,
) -> Weights:
    """Weights of all units together; stratum: units spread within strata only (`mnemoscope.stats.strata`).

    Regressors that do not vary have weight nan; fewer than 3 units: refused.
    """
    matched("cross products", aa=len(aa), am=len(am), mm=len(mm))
    if len(aa) < 3:
        raise InputError("weights over units need at least 3", found=str(len(aa)))
    total = aa.sum(axis=0)
    variance = total.diagonal()
    dead = variance <= 1e-20 * max(float(variance.max(initial=0.0)), 1e-300)
    folds = np.empty(len(aa), np.int64)
    folds[rng.permutation(len(aa))] = np.arange(len(aa)) % min(n_folds, len(aa))
    loss = [_loss(aa, am, mm, folds, penalty) for penalty in penalties]
    penalty = float(penalties[int(np.argmin(loss))])
    ols = solved(total, am.sum(axis=0), 0.0)
    fitted = float(2 * ols @ am.sum(axis=0) - ols @ total @ ols)
    scaled = _scaled(total[np.ix_(~dead, ~dead)])
    values = np.linalg.eigvalsh(scaled) if len(scaled) else np.ones(1)
    return Weights(
        ols=_jackknifed(aa, am, 0.0, dead, stratum),
        ridge=_jackknifed(aa, am, penalty, dead, stratum),
        penalty=penalty,
        r2=fitted / float(mm.sum()) if mm.sum() > 0 else math.nan,
        condition=math.sqrt(values[-1] / values[0]) if values[0] > 1e-12 * values[-1] else math.inf,
        vif=_inflation(scaled, dead),
    )


def solved(
    aa: Float[np.ndarray, "component component"], am: Float[np.ndarray, " component"], penalty: float
) -> Float[np.ndarray, " component"]:
    """w of one set of cross products. Collinear regressors share their weight (minimum norm), those that do not vary get 0."""
    scale = np.sqrt(np.where(aa.diagonal() > 0, aa.diagonal(), 1.0))
    gram = aa / np.outer(scale, scale) + penalty * np.eye(len(scale))
    return np.linalg.pinv(gram, rcond=SINGULAR, hermitian=True) @ (am / scale) / scale


def _loss(aa: np.ndarray, am: np.ndarray, mm: np.ndarray, folds: np.ndarray, penalty: float) -> float:
    loss = 0.0
    for fold in np.unique(folds):
        out = folds == fold
        w = solved(aa[~out].sum(axis=0), am[~out].sum(axis=0), penalty)
        loss += float(mm[out].sum() - 2 * w @ am[out].sum(axis=0) + w @ aa[out].sum(axis=0) @ w)
    return loss


def _jackknifed(
    aa: np.ndarray, am: np.ndarray, penalty: float, dead: np.ndarray, stratum: np.ndarray | None
) -> Estimates:
    n = len(aa)
    strata = 1 if stratum is None else int(stratum.max(initial=0)) + 1
    whole, right = aa.sum(axis=0), am.sum(axis=0)
    w = solved(whole, right, penalty)
    left = np.stack([solved(whole - aa[u], right - am[u], penalty) for u in range(n)])
    moved = (n - 1) / n * ((left - w) ** 2).sum(axis=0) if stratum is None else spread(left, stratum)
    error = np.sqrt(moved)
    flat = error <= 1e-9 * np.maximum(np.abs(w), 1e-300)
    hole = np.where(dead | flat, math.nan, 1.0)
    df = max(n - strata, 1)
    half = float(student.ppf(0.975, df)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(w) / error, df)
    return Estimates(
        estimate=np.where(dead, math.nan, w),
        low=(w - half) * hole,
        high=(w + half) * hole,
        p=p * hole,
        n=np.full(len(w), n, np.int64),
        n_units=np.full(len(w), n, np.int64),
        method=f"{'ridge' if penalty else 'least squares'}, penalty {penalty:g}; CV3 t, clustered"
        + (f", {strata} strata" if strata > 1 else ""),
        reason=reasons(w.shape, (dead, "the regressor does not vary"), (flat, "a fit without error: no interval")),
    )


def _scaled(aa: np.ndarray) -> np.ndarray:
    scale = np.sqrt(aa.diagonal())
    return aa / np.outer(scale, scale) if len(aa) else aa


def _inflation(scaled: np.ndarray, dead: np.ndarray) -> Float[np.ndarray, " component"]:
    """Diagonal of the inverse correlation; inf where a regressor is a sum of others, nan where it does not vary."""
    out = np.full(len(dead), math.nan)
    values, vectors = np.linalg.eigh(scaled) if len(scaled) else (np.ones(0), np.ones((0, 0)))
    with np.errstate(divide="ignore"):
        inverse = 1 / np.where(values > 1e-12 * values.max(initial=0), values, 0.0)
    loaded = vectors**2 > 1e-12
    out[~dead] = np.where(loaded, vectors**2 * np.where(loaded, inverse, 0.0), 0.0).sum(axis=1)
    return out
