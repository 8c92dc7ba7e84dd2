"""Weights from cross products against least squares on the rows, and planted weights."""

import numpy as np
import pytest


def data(seed=0, units=12, rows=6, d=5, weights=(0.5, -1.0, 0.0), noise=0.3):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((len(weights), units * rows, d))
    m = np.einsum("c,cnd->nd", np.array(weights), a) + noise * rng.standard_normal((units * rows, d))
    return m, a, np.repeat(np.arange(units), rows)


def products(m, a, code):
    n = code.max() + 1
    aa = np.stack([np.einsum("cnd,end->ce", a[:, code == u], a[:, code == u]) for u in range(n)])
    am = np.stack([np.einsum("cnd,nd->c", a[:, code == u], m[code == u]) for u in range(n)])
    return aa, am, np.array([(m[code == u] ** 2).sum() for u in range(n)])


def test_against_numpy_and_a_written_out_jackknife():
    from scipy.stats import t

    from mnemoscope.stats.cross_products import weights

    m, a, code = data()
    found = weights(*products(m, a, code), rng=np.random.default_rng(0), penalties=(0.0,))

    def solve(keep):
        return np.linalg.lstsq(a[:, keep].reshape(3, -1).T, m[keep].ravel(), rcond=None)[0]

    w = solve(np.full(len(code), True))
    left = np.stack([solve(code != u) for u in range(12)])
    error = np.sqrt(11 / 12 * ((left - w) ** 2).sum(0))
    assert np.allclose(found.ols.estimate, w)
    assert np.allclose(found.ols.high, w + t.ppf(0.975, 11) * error)
    residual = ((m.ravel() - a.reshape(3, -1).T @ w) ** 2).sum()
    assert found.r2 == pytest.approx(1 - residual / (m**2).sum())
    assert found.penalty == 0.0


def test_ridge_condition_and_inflation_are_those_of_the_rows():
    from sklearn.linear_model import LinearRegression, Ridge

    from mnemoscope.stats.cross_products import weights

    m, a, code = data()
    a = a * np.array([1.0, 5.0, 0.2])[:, None, None] + 0.5 * a[:1]
    found = weights(*products(m, a, code), rng=np.random.default_rng(0), penalties=(0.1,))
    x, y = a.reshape(3, -1).T, m.ravel()
    rms = np.sqrt((x * x).mean(axis=0))
    assert np.allclose(found.ridge.estimate, Ridge(alpha=0.1 * len(y), fit_intercept=False).fit(x / rms, y).coef_ / rms)
    values = np.linalg.svd(x / rms, compute_uv=False)
    assert found.condition == pytest.approx(values[0] / values[-1])
    for c in range(3):
        others = np.delete(x, c, axis=1)
        fit = LinearRegression(fit_intercept=False).fit(others, x[:, c])
        share = ((x[:, c] - fit.predict(others)) ** 2).sum() / (x[:, c] ** 2).sum()
        assert found.vif[c] == pytest.approx(1 / share)


def test_planted_weights_lie_inside_their_intervals():
    from mnemoscope.stats.cross_products import weights

    covered = []
    for seed in range(40):
        found = weights(*products(*data(seed)), rng=np.random.default_rng(0), penalties=(0.0,)).ols
        covered.append((found.low < [0.5, -1, 0]) & (found.high > [0.5, -1, 0]))
    assert 0.85 <= np.mean(covered) <= 1.0


def test_collinear_and_dead_regressors():
    from mnemoscope.stats.cross_products import weights

    m, a, code = data()
    a = np.concatenate([a, a[:1], np.zeros_like(a[:1])])
    found = weights(*products(m, a, code), rng=np.random.default_rng(0))
    assert np.isinf(found.condition)
    assert np.isinf(found.vif[0])
    assert found.vif[1] == pytest.approx(1.0, abs=0.2)
    assert np.isnan(found.ols.estimate[4])
    assert found.ols.reason[4] == "the regressor does not vary"
    assert found.ols.estimate[0] == pytest.approx(found.ols.estimate[3])
    assert found.ridge.estimate[1] == pytest.approx(-1.0, abs=0.1)
