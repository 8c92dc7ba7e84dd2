"""Is a probability worth its name: log loss, Brier score, calibration error, temperature (B6.8).

A remedy for under-confidence counts only if it beats the plainest remedy, one temperature for all logits. Judged by proper
scores on held-out facts; the calibration error is secondary. Everything is per example, so that intervals cluster by topic.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from mnemoscope.errors import InputError


def nll(
    logits: Real[np.ndarray, "example option"], target: Int[np.ndarray, " example"]
) -> Float[np.ndarray, " example"]:
    """-log softmax(logits)[target], nats, >= 0. Options are the vocabulary or the relation's answers: say which."""
    logits = np.asarray(logits, float)
    return logsumexp(logits, axis=1) - logits[np.arange(len(target)), target]


def brier(
    logits: Real[np.ndarray, "example option"], target: Int[np.ndarray, " example"]
) -> Float[np.ndarray, " example"]:
    """sum over options of (p - 1[option is target])^2: 0 perfect, 2 certain and wrong (Brier 1950, the original two-sided form)."""
    p = softmax(np.asarray(logits, float), axis=1)
    p[np.arange(len(target)), target] -= 1
    return (p * p).sum(axis=1)


def temperature(logits: Real[np.ndarray, "example option"], target: Int[np.ndarray, " example"]) -> float:
    """T > 0 that minimises the mean NLL of logits / T (Guo et al. 2017, ICML), searched in [1/100, 100].

    T < 1 sharpens: the model was under-confident. nan where no finite T is best (all targets the argmax, or logits constant).
    """
    if not len(target):
        raise InputError("a temperature needs examples", found="none")
    logits = np.asarray(logits, float)

    def loss(log_t: float) -> float:
        return float(nll(logits / math.exp(log_t), target).mean())

    edge = math.log(100)
    found: Any = minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-8})
    best = float(found.x)
    flat = abs(loss(best) - loss(best / 2 + 0.1)) < 1e-14
    return math.nan if flat or abs(best) > edge - 1e-3 else math.exp(best)


def _bins(confidence: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin of every example, bins of equal mass (examples of equal confidence may be split), and the bins' sizes."""
    place = np.empty(len(confidence), np.int64)
    place[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * n_bins // len(confidence)
    return place, np.bincount(place, minlength=n_bins)


def calibration_error(
    confidence: Float[np.ndarray, " example"],
    correct: Bool[np.ndarray, " example"],
    *,
    n_bins: int = 15,
    debiased: bool = True,
) -> float:
    """Root mean squared gap of confidence and accuracy over bins of equal mass; 0 is calibrated, in probability.

        plug-in^2 = sum_b n_b/n (acc_b - conf_b)^2        debiased^2 = plug-in^2 - sum_b n_b/n acc_b (1 - acc_b) / (n_b - 1)

    Kumar, Liang and Ma 2019 (NeurIPS, "Verified uncertainty calibration", section 4): the plug-in is positive for a calibrated
    model. A negative debiased square is returned as 0. nan where a bin would hold fewer than 2 examples.
    """
    n = len(confidence)
    if n < 2 * n_bins:
        return math.nan
    place, size = _bins(np.asarray(confidence, float), n_bins)
    accuracy = np.bincount(place, correct.astype(float), n_bins) / size
    mean = np.bincount(place, confidence, n_bins) / size
    gap = (accuracy - mean) ** 2
    if debiased:
        gap = gap - accuracy * (1 - accuracy) / (size - 1)
    return math.sqrt(max(0.0, float((size / n) @ gap)))
