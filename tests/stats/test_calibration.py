"""Scores against scikit-learn, a planted temperature, and a calibrated model that must look calibrated."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from mnemoscope.stats.calibration import brier, calibration_error, nll, temperature


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets drawn from exactly their softmax."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 5))
    chosen = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    return logits, np.minimum(chosen, 4)


def test_scores_are_scikit_learns(drawn):
    logits, target = drawn[0][:300], drawn[1][:300]
    assert nll(logits, target).mean() == pytest.approx(log_loss(target, softmax(logits, axis=1), labels=range(5)))
    two = logits[:, :2]
    yes = (target % 2).astype(np.int64)
    theirs = brier_score_loss(yes, softmax(two, axis=1)[:, 1])
    assert brier(two, yes).mean() == pytest.approx(2 * theirs)


@pytest.mark.parametrize("planted", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_recovered(drawn, planted):
    logits, target = drawn
    assert temperature(planted * logits, target) == pytest.approx(planted, rel=0.05)


def test_no_temperature_is_best_for_perfect_answers():
    logits = np.random.default_rng(1).normal(size=(50, 4))
    assert math.isnan(temperature(logits, logits.argmax(axis=1)))
    assert math.isnan(temperature(np.zeros((50, 4)), np.zeros(50, np.int64)))


def test_a_calibrated_model_has_no_debiased_error(drawn):
    logits, target = drawn
    p = softmax(logits, axis=1)
    sure, right = p.max(axis=1), p.argmax(axis=1) == target
    small = [calibration_error(sure[i::20], right[i::20]) ** 2 for i in range(20)]
    plug = [calibration_error(sure[i::20], right[i::20], debiased=False) ** 2 for i in range(20)]
    assert np.mean(small) < np.mean(plug) / 2
    assert calibration_error(sure, right) < 0.012


def test_a_planted_gap_is_measured():
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.5, 0.9, 20_000)
    assert calibration_error(sure, rng.random(20_000) < sure - 0.2) == pytest.approx(0.2, abs=0.015)


def test_too_few_examples():
    assert math.isnan(calibration_error(np.full(10, 0.5), np.ones(10, bool)))
