"""Errors on unseen units, written out with numpy."""

import numpy as np
import pytest


def test_held_out_errors_against_numpy():
    from mnemoscope.stats.regression import held_out, least_squares

    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(6), 4)
    a = rng.standard_normal((2, 24, 3))
    m = 0.7 * a[0] - 0.2 * a[1] + 1.0 + 0.1 * rng.standard_normal((24, 3))
    error, base = held_out(m, a, units, rng=np.random.default_rng(1), n_folds=6)
    for u in range(6):
        train = units != u
        x, y = a[:, train], m[train]
        centred = (x - x.mean(1, keepdims=True)).reshape(2, -1).T
        w = np.linalg.lstsq(centred, (y - y.mean(0)).ravel(), rcond=None)[0]
        b = y.mean(0) - w @ x.mean(1)
        mine = units == u
        assert np.isclose(error[u], ((m[mine] - b - np.einsum("c,cnd->nd", w, a[:, mine])) ** 2).sum())
        assert np.isclose(base[u], ((m[mine] - y.mean(0)) ** 2).sum())
        found = least_squares(y, x)
        assert np.allclose(found[0], w)
        assert np.allclose(found[1], b)


def test_noise_predicts_nothing_on_new_units_and_a_penalty_is_chosen():
    from mnemoscope.stats.cross_products import PENALTIES
    from mnemoscope.stats.regression import held_out

    rng = np.random.default_rng(5)
    a, m = rng.standard_normal((3, 72, 10)), rng.standard_normal((72, 10))
    units = np.repeat(np.arange(12), 6)
    r2 = {}
    for name, penalties in (("plain", (0.0,)), ("chosen", PENALTIES)):
        error, base = held_out(m, a, units, rng=np.random.default_rng(6), penalties=penalties)
        r2[name] = 1 - error.sum() / base.sum()
    assert r2["plain"] < 0.0 < 0.02 + r2["chosen"]
    assert r2["chosen"] > r2["plain"]


def test_units_are_needed():
    from mnemoscope.errors import InputError
    from mnemoscope.stats.regression import held_out

    with pytest.raises(InputError, match="at least 3 units"):
        held_out(np.zeros((4, 2)), np.zeros((1, 4, 2)), np.array([0, 0, 1, 1]), rng=np.random.default_rng(0))
