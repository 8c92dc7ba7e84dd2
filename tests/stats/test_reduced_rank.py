"""Reduced-rank regression against scikit-learn, against plain minimisation of its loss, and on a planted map."""

import numpy as np
import pytest


def data(rng, *, n=40, k=8, d=6, rank=2, noise=0.3):
    x = rng.standard_normal((n, k)) + 1.0
    b = rng.standard_normal((k, rank)) @ rng.standard_normal((rank, d))
    return x, x @ b + noise * rng.standard_normal((n, d)) - 2.0, b


def test_full_rank_is_ridge_regression():
    from sklearn.linear_model import Ridge

    from mnemoscope.stats.reduced_rank import reduced_rank

    x, y, _ = data(np.random.default_rng(0))
    centred = x - x.mean(axis=0)
    for penalty in (0.1, 1.0):
        alpha = penalty * (centred**2).sum() / len(x)  # penalty tr(K) / N
        theirs = Ridge(alpha=alpha).fit(x, y).coef_.T
        np.testing.assert_allclose(reduced_rank(y, x, rank=6, penalty=penalty), theirs, atol=1e-10)


@pytest.mark.parametrize(("rank", "penalty"), [(1, 0.0), (2, 0.0), (1, 0.2), (3, 0.2)])
def test_no_other_map_of_that_rank_has_a_smaller_loss(rank, penalty):
    """Minimised by scipy over B = P Q from many starts."""
    from scipy.optimize import minimize

    from mnemoscope.stats.reduced_rank import reduced_rank

    rng = np.random.default_rng(1)
    x, y, _ = data(rng, n=25, k=5, d=4, rank=4, noise=1.0)
    X, Y = x - x.mean(axis=0), y - y.mean(axis=0)
    weight = penalty * (X**2).sum() / len(X)

    def loss(b):
        return ((Y - X @ b) ** 2).sum() + weight * (b**2).sum()

    def packed(flat):
        return flat[: 5 * rank].reshape(5, rank) @ flat[5 * rank :].reshape(rank, 4)

    ours = reduced_rank(y, x, rank=rank, penalty=penalty)
    assert np.linalg.matrix_rank(ours, tol=1e-8) <= rank
    starts = [rng.standard_normal(9 * rank) for _ in range(6)]
    best = min(minimize(lambda flat: loss(packed(flat)), start, method="BFGS").fun for start in starts)
    assert loss(ours) == pytest.approx(best, rel=1e-6)


def test_wide_inputs_and_few_rows_give_the_same_as_their_coordinates():
    """Only products of rows count: features may be rotated into any larger space."""
    from mnemoscope.stats.reduced_rank import held_out_rank

    rng = np.random.default_rng(2)
    x, y, _ = data(rng, n=30)
    wide = x @ np.linalg.qr(rng.standard_normal((300, 8)))[0].T + 5.0
    units = np.repeat(np.arange(10), 3)
    a, b = (held_out_rank(y, z, units, rng=np.random.default_rng(3)) for z in (x, wide))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_planted_map_is_found_on_units_it_has_not_seen():
    """R2 reaches what the noise leaves, the rank is the planted one; with one part weighed as a whole nothing is predicted."""
    from mnemoscope.stats.reduced_rank import held_out_rank
    from mnemoscope.stats.regression import held_out

    rng = np.random.default_rng(4)
    x, y, b = data(rng, n=240, k=6, d=6, noise=0.5)
    units = np.repeat(np.arange(60), 4)
    error, base, rank = held_out_rank(y, x, units, rng=rng)
    ceiling = 1 - 6 * 0.25 / (np.trace(b.T @ b) + 6 * 0.25)
    assert 1 - error.sum() / base.sum() == pytest.approx(ceiling, abs=0.03)
    assert np.median(rank) == 2
    weighed, mean = held_out(y, x[None], units, rng=rng)
    assert 1 - weighed.sum() / mean.sum() < 0.5 * (1 - error.sum() / base.sum())


def test_without_a_relation_it_predicts_nothing():
    from mnemoscope.stats.reduced_rank import held_out_rank

    rng = np.random.default_rng(5)
    shares = []
    for _ in range(20):
        x, y = rng.standard_normal((36, 50)), rng.standard_normal((36, 9))
        error, base, _ = held_out_rank(y, x, np.repeat(np.arange(12), 3), rng=rng)
        shares.append(1 - error.sum() / base.sum())
    assert np.mean(shares) == pytest.approx(0.0, abs=0.1)
    assert np.mean(shares) <= 0.01


def test_too_few_units():
    from mnemoscope.errors import InputError
    from mnemoscope.stats.reduced_rank import held_out_rank

    with pytest.raises(InputError, match="at least 3"):
        held_out_rank(np.zeros((4, 2)), np.zeros((4, 3)), np.array([0, 0, 1, 1]), rng=np.random.default_rng(0))
