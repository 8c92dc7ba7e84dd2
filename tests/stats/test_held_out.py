"""Errors on unseen units, written out with numpy."""

import numpy as np


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
