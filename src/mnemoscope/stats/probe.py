"""Probes: what a linear reader finds in pooled representations, on items it has not seen (P3.3, B7.3).

Outer folds leave out whole items (all prompts of a line, of a name-activity pair); the penalty is chosen by an inner grouped
cross-validation on the training items. The same folds serve before and after examples, and every layer, so that gains are
paired. A score is worth its distance to chance, to a control task whose labels attach to a recurring word type (Hewitt and Liang
2019, EMNLP), and to the same probe at layer 0. scikit-learn does the fitting.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched

PENALTIES: Final = (1e-3, 1e-1, 1e1, 1e3)  # of the L2 term, inputs standardised
INNER_FOLDS: Final = 3
TIE: Final = 1e-6  # nats: what the fit itself is exact to; answers closer than this are equally likely


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a probe read, per prompt, averaged over repeats of the cross-validation.

    score     classification: 1 if right, 1 / k if one of k equally likely answers (mean of repeats);  regression: squared error
    base      classification: what needs no input: chance 1 / (number of candidates), or the training labels' most frequent
              candidate where that is right more often;  regression: squared error of the training mean
    margin    classification: log p(true) - largest other log p among candidates, nats;  regression: minus absolute error
    penalty   chosen in every outer fold, one row per repeat
    kind      "classes" or "value"
    """

    score: Float[np.ndarray, " prompt"]
    base: Float[np.ndarray, " prompt"]
    margin: Float[np.ndarray, " prompt"]
    penalty: Float[np.ndarray, "repeat fold"]
    kind: str


def grouped_folds(
    items: Shaped[np.ndarray, " prompt"],
    *,
    n_folds: int = 5,
    repeats: int = 1,
    rng: np.random.Generator,
    labels: Shaped[np.ndarray, " prompt"] | None = None,
) -> Int[np.ndarray, "repeat prompt"]:
    """Fold number of every prompt; all prompts of an item share one. Balanced over the labels of items where given."""
    code, n = codes(items)
    if n < n_folds:
        raise InputError("fewer items than folds", found=f"{n} items, {n_folds} folds", hint="ask for fewer folds")
    level = np.zeros(n, np.int64)
    if labels is not None:
        level[code] = codes(labels)[0]
    out = np.empty((repeats, len(code)), np.int64)
    for row in out:
        order = np.lexsort((rng.random(n), level))
        fold = np.empty(n, np.int64)
        fold[order] = (np.arange(n) + rng.integers(n_folds)) % n_folds
        row[:] = rng.permutation(n_folds)[fold[code]]
    return out


def classify(
    patterns: Real[np.ndarray, "prompt d"],
    labels: Shaped[np.ndarray, " prompt"],
    items: Shaped[np.ndarray, " prompt"],
    folds: Int[np.ndarray, "repeat prompt"],
    *,
    candidates: Bool[np.ndarray, "prompt option"] | None = None,
    penalties: tuple[float, ...] = PENALTIES,
) -> Reading:
    """L2 logistic regression of a label, read on left-out items.

    `candidates` (columns: the sorted distinct labels) restricts the answer of every prompt, e.g. to the activities that are
    present: then the probe answers "which of these is asked". A class missing from a training set cannot be answered and counts
    as wrong. C = 1 / penalty, chosen by the inner folds' log loss among the candidates. One class only: refused.
    """
    options, target = np.unique(labels, return_inverse=True)
    matched("probe", patterns=len(patterns), labels=len(labels), items=len(items), folds=folds.shape[1])
    if len(options) < 2:
        raise InputError("a probe needs labels of at least two classes", found=f"{options.tolist()} only")
    allowed = np.ones((len(labels), len(options)), bool) if candidates is None else candidates
    wrong = int((~allowed[np.arange(len(target)), target]).sum())
    if wrong:
        raise InputError(f"{wrong} prompts have a label outside their candidates", hint="columns are the sorted labels")

    def read(train: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
        known, chance = _log_p(patterns[train], target[train], patterns[test], penalty)
        out = np.full((len(test), len(options)), -math.inf)
        out[:, known] = chance
        return np.where(allowed[test], out, -math.inf)

    def loss(train: np.ndarray, test: np.ndarray, penalty: float) -> float:
        log_p = np.maximum(read(train, test, penalty), -1e9)  # no candidate occurs in training: all alike, and wrong
        true = log_p[np.arange(len(test)), target[test]]
        return float(np.minimum(np.logaddexp.reduce(log_p, axis=1) - true, 50.0).sum())

    def judge(log_p: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(test))
        true = np.maximum(log_p[rows, target[test]], -50.0)
        other = log_p.copy()
        other[rows, target[test]] = -math.inf
        margin = true - np.maximum(other.max(axis=1), -50.0)
        first = log_p >= np.maximum(log_p.max(axis=1, keepdims=True) - TIE, -1e9)
        return first[rows, target[test]] / np.maximum(first.sum(axis=1), 1), margin

    score, margin, chosen = _crossed(read, loss, judge, items=items, folds=folds, penalties=penalties)
    base = _without_input(target, allowed, folds)
    return Reading(score=score, base=base, margin=margin, penalty=chosen, kind="classes")


def _without_input(target: np.ndarray, allowed: np.ndarray, folds: np.ndarray) -> Float[np.ndarray, " prompt"]:
    """Accuracy without looking: 1 / candidates, or the candidate most frequent in training (ties shared) where that is better."""
    prior = np.zeros(len(target))
    for row in folds:
        for fold in np.unique(row):
            test = row == fold
            count = np.where(allowed[test], np.bincount(target[~test], minlength=allowed.shape[1]), -1)
            best = count == count.max(axis=1, keepdims=True)
            prior[test] += best[np.arange(test.sum()), target[test]] / best.sum(axis=1) / len(folds)
    chance = 1 / allowed.sum(axis=1)
    return prior if prior.mean() > chance.mean() else chance


def estimate_value(
    patterns: Real[np.ndarray, "prompt d"],
    target: Real[np.ndarray, " prompt"],
    items: Shaped[np.ndarray, " prompt"],
    folds: Int[np.ndarray, "repeat prompt"],
    *,
    penalties: tuple[float, ...] = PENALTIES,
) -> Reading:
    """Ridge regression of a number (slope, intercept), read on left-out items; base: the training items' mean."""
    matched("probe", patterns=len(patterns), target=len(target), items=len(items), folds=folds.shape[1])
    y = np.asarray(target, float)
    if np.ptp(y) == 0:
        raise InputError("a probe needs a target that varies", found=f"{y[0]:g} only")
    base = np.zeros(len(y))
    for row in folds:
        for fold in np.unique(row):
            base[row == fold] += (y[row == fold] - y[row != fold].mean()) ** 2 / len(folds)

    def read(train: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
        inside, outside = _prepared(patterns[train], patterns[test])
        return Ridge(alpha=penalty).fit(inside, y[train]).predict(outside)

    def loss(train: np.ndarray, test: np.ndarray, penalty: float) -> float:
        return float(((read(train, test, penalty) - y[test]) ** 2).sum())

    def judge(value: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (value - y[test]) ** 2, -np.abs(value - y[test])

    score, margin, chosen = _crossed(read, loss, judge, items=items, folds=folds, penalties=penalties)
    return Reading(score=score, base=base, margin=margin, penalty=chosen, kind="value")


def _prepared(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised by the training prompts; rotated into their span where there are fewer prompts than dimensions.

    The rotation changes nothing: an L2-penalised linear fit depends on inputs through their inner products only.
    """
    scaler = StandardScaler().fit(np.asarray(train, float))
    a, b = (np.asarray(scaler.transform(np.asarray(x, float))) for x in (train, test))
    if a.shape[1] <= a.shape[0]:
        return a, b
    _, size, basis = np.linalg.svd(a, full_matrices=False)
    basis = basis[size > 1e-10 * max(float(size[0]), 1e-300)]
    return (a @ basis.T, b @ basis.T) if len(basis) else (a[:, :1], b[:, :1])


def _log_p(x: np.ndarray, y: np.ndarray, new: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes seen in training, and the log probabilities of new prompts over them."""
    classes = np.unique(y)
    if len(classes) == 1:
        return classes, np.zeros((len(new), 1))
    inside, outside = _prepared(x, new)
    # States are ill-conditioned: with a weak penalty L-BFGS needs hundreds of steps, Newton a dozen, and comes closer.
    model = LogisticRegression(C=1 / penalty, solver="newton-cg", max_iter=1000, tol=1e-6).fit(inside, y)
    with np.errstate(divide="ignore"):  # a probability of 0 is -inf here, and -700 below
        return model.classes_, np.maximum(model.predict_log_proba(outside), -700.0)


def _crossed(
    read: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
    loss: Callable[[np.ndarray, np.ndarray, float], float],
    judge: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    items: np.ndarray,
    folds: np.ndarray,
    penalties: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nested cross-validation: choose the penalty inside, read outside, average over repeats."""
    n_folds = int(folds.max()) + 1
    score, margin = np.zeros(folds.shape[1]), np.zeros(folds.shape[1])
    chosen = np.full((len(folds), n_folds), math.nan)
    for repeat, row in enumerate(folds):
        for fold in range(n_folds):
            train, test = np.flatnonzero(row != fold), np.flatnonzero(row == fold)
            with config_context(
                assume_finite=True, skip_parameter_validation=True
            ):  # checked once by the callers' fits
                penalty = _chosen(loss, train, items, penalties, seed=fold)
                right, distance = judge(read(train, test, penalty), test)
            score[test] += right / len(folds)
            margin[test] += distance / len(folds)
            chosen[repeat, fold] = penalty
    return score, margin, chosen


def _chosen(
    loss: Callable[[np.ndarray, np.ndarray, float], float],
    train: np.ndarray,
    items: np.ndarray,
    penalties: tuple[float, ...],
    *,
    seed: int,
) -> float:
    """The penalty with the smallest inner loss. The inner folds depend on items and fold number only: equal before and after."""
    if len(penalties) == 1:
        return penalties[0]
    inner = grouped_folds(items[train], n_folds=INNER_FOLDS, rng=np.random.default_rng(seed))[0]
    total = [
        sum(loss(train[inner != fold], train[inner == fold], penalty) for fold in range(INNER_FOLDS))
        for penalty in penalties
    ]
    return penalties[int(np.argmin(total))]
