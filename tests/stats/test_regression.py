"""The regression against scikit-learn and a literal leave-topics-out, and on planted weights."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from mnemoscope.errors import InputError
from mnemoscope.stats.regression import regress


def planted(rng, *, weights=(0.8, -0.6, 0.0), topics=12, each=6, d=10, noise=0.5, shared=0.0):
    topic = np.repeat(np.arange(topics), each)
    scale = np.array([1.0, 5.0, 0.2])[: len(weights), None, None]
    parts = scale * (
        rng.normal(size=(len(weights), topics, d))[:, topic] + rng.normal(size=(len(weights), len(topic), d))
    )
    parts += shared * rng.normal(size=(1, len(topic), d))
    error = noise * (rng.normal(size=(topics, d))[topic] + rng.normal(size=(len(topic), d)))
    output = np.tensordot(np.array(weights), parts, 1) + error + 3.0
    return output, parts + 1.0, topic


def rows(output, parts):
    centred = (parts - parts.mean(axis=1, keepdims=True)).reshape(len(parts), -1).T
    return centred, (output - output.mean(axis=0)).ravel()


def test_weights_are_scikit_learns():
    output, parts, topic = planted(np.random.default_rng(0))
    x, y = rows(output, parts)
    mine = regress(output, parts, topic, rng=np.random.default_rng(1), penalties=(0.1,), n_boot=20)
    assert np.allclose(mine.ols.estimate, LinearRegression(fit_intercept=False).fit(x, y).coef_)
    rms = np.sqrt((x * x).mean(axis=0))
    assert np.allclose(mine.rms, rms)
    ridge = Ridge(alpha=0.1 * len(y), fit_intercept=False).fit(x / rms, y).coef_ / rms
    assert np.allclose(mine.ridge.estimate, ridge)
    assert np.allclose(mine.intercept, output.mean(axis=0) - np.tensordot(mine.ols.estimate, parts.mean(axis=1), 1))
    values = np.linalg.svd(x / rms, compute_uv=False)
    assert mine.condition == pytest.approx(values[0] / values[-1])
    for c in range(3):
        others = np.delete(x, c, axis=1)
        r2 = LinearRegression(fit_intercept=False).fit(others, x[:, c]).score(others, x[:, c])
        assert mine.vif[c] == pytest.approx(1 / (1 - r2), rel=1e-3)


def test_held_out_r2_is_the_literal_one():
    output, parts, topic = planted(np.random.default_rng(2))
    mine = regress(output, parts, topic, rng=np.random.default_rng(3), n_boot=20, n_folds=12)
    error = base = 0.0
    for t in range(12):
        train = topic != t
        x, y = rows(output[train], parts[:, train])
        w = LinearRegression(fit_intercept=False).fit(x, y).coef_
        a0, m0 = parts[:, train].mean(axis=1), output[train].mean(axis=0)
        guess = m0 + np.tensordot(w, parts[:, ~train] - a0[:, None], 1)
        error += ((output[~train] - guess) ** 2).sum()
        base += ((output[~train] - m0) ** 2).sum()
    assert mine.r2_ols.estimate == pytest.approx(1 - error / base)
    assert mine.r2_ols.low < mine.r2_ols.estimate < mine.r2_ols.high


def test_planted_weights_are_covered_and_topics_not_rows_count():
    rng = np.random.default_rng(4)
    inside = np.zeros(3)
    for _ in range(8):
        mine = regress(*planted(rng), rng=rng, penalties=(0.0,), n_boot=100)
        inside += (mine.ols.low <= [0.8, -0.6, 0.0]) & (mine.ols.high >= [0.8, -0.6, 0.0])
    assert (inside >= 6).all()
    assert mine.ols.n_units.tolist() == [12, 12, 12]


def test_noise_predicts_nothing_on_new_topics():
    rng = np.random.default_rng(5)
    output, parts, topic = planted(rng, weights=(0.0, 0.0, 0.0))
    mine = regress(output, parts, topic, rng=rng, n_boot=20)
    assert mine.r2_ols.estimate < 0.02
    assert mine.r2_ridge.estimate >= mine.r2_ols.estimate - 0.01
    assert mine.penalty > 0


def test_collinear_and_vanishing_regressors_are_named():
    rng = np.random.default_rng(6)
    output, parts, topic = planted(rng)
    parts = np.concatenate([parts, parts[:1], np.ones_like(parts[:1])])
    mine = regress(output, parts, topic, rng=rng, n_boot=20)
    assert mine.condition == math.inf
    assert np.isinf(mine.vif[[0, 3]]).all()
    assert math.isnan(mine.vif[4])
    assert mine.ols.reason[4] == "the regressor does not vary"
    assert mine.ols.estimate[0] == pytest.approx(mine.ols.estimate[3])


def test_topics_are_needed():
    output, parts, topic = planted(np.random.default_rng(7))
    with pytest.raises(InputError, match="at least 3"):
        regress(output, parts, topic % 2, rng=np.random.default_rng(8))
