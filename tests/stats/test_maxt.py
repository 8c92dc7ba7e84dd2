"""max-T against a literal loop, Holm's order, planted cells and family-wise error."""

import math

import numpy as np
import pytest
from scipy import stats

from mnemoscope.stats.maxt import label_max_t, redraw_max_t, sign_flip_max_t
from mnemoscope.stats.permutation import sign_flips


def wallace(t: np.ndarray, d: int) -> np.ndarray:
    return np.sign(t) * (8 * d + 1) / (8 * d + 3) * np.sqrt(d * np.log1p(t * t / d))


def hall(x: np.ndarray) -> np.ndarray:
    """Hall's transformation of t, from scipy's moments."""
    n, g, w = len(x), stats.skew(x), x.mean(axis=0) / x.std(axis=0)
    return math.sqrt(n - 1) * (w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n))


def test_it_is_the_literal_loop():
    x = np.random.default_rng(0).normal(0.2, 1, (12, 6))
    mine = sign_flip_max_t(x, rng=np.random.default_rng(1), n_perm=99)
    flips = sign_flips(12, 99, np.random.default_rng(1))
    t = wallace(hall(x), 11)
    null = np.array([wallace(hall(x * s[:, None]), 11) for s in flips])
    assert np.allclose(mine.z, t)
    assert np.allclose(mine.p, [(1 + (null.max(axis=1) >= v).sum()) / 100 for v in t])
    assert np.allclose(mine.p_single, (1 + (null >= t).sum(axis=0)) / 100)


def test_the_normal_scale_is_the_normal_scale():
    t, d = np.array([0.5, 2.0, 4.0]), 9
    assert np.allclose(wallace(t, d), stats.norm.isf(stats.t.sf(t, d)), atol=0.01)


def test_without_skewness_it_is_students_t():
    x = np.random.default_rng(15).normal(0.4, 1, (10, 3))
    symmetric = np.concatenate([x, 2 * x.mean(axis=0) - x])
    mine = sign_flip_max_t(symmetric, rng=np.random.default_rng(16), n_perm=9)
    assert np.allclose(mine.z, wallace(stats.ttest_1samp(symmetric, 0).statistic, 19))


def test_one_cell_needs_no_correction():
    x = np.random.default_rng(2).normal(0.5, 1, (20, 1))
    mine = sign_flip_max_t(x, rng=np.random.default_rng(3))
    assert mine.p == pytest.approx(mine.p_single)


def test_sides_mirror_each_other():
    x = np.random.default_rng(4).normal(0.3, 1, (15, 8))
    up = sign_flip_max_t(x, rng=np.random.default_rng(5), n_perm=199)
    down = sign_flip_max_t(-x, rng=np.random.default_rng(5), n_perm=199, side="less")
    assert np.allclose(up.p, down.p)
    assert np.allclose(up.z, -down.z)


def test_planted_cells_are_found_among_hundreds():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 400)) + rng.normal(size=(40, 1))
    x[:, [3, 300]] += 3
    mine = sign_flip_max_t(x, rng=rng, n_perm=499)
    assert set(np.flatnonzero(mine.p < 0.05)) == {3, 300}
    assert mine.smallest_p == 1 / 500


def test_holes_and_small_cells_are_left_out():
    x = np.random.default_rng(7).normal(1, 1, (10, 4))
    x[2:, 1] = math.nan
    x[:, 2] = 0.0
    x[0, 3] = math.nan
    mine = sign_flip_max_t(x, rng=np.random.default_rng(8), n_perm=99)
    assert mine.n_tested == 2
    assert list(np.isnan(mine.p)) == [False, True, True, False]
    assert mine.reason.tolist() == ["", "fewer than 5 independent units", "no value differs from 0", ""]
    assert mine.n_units.tolist() == [10, 2, 10, 9]


def test_blocks_do_not_matter(monkeypatch):
    x = np.random.default_rng(9).normal(0.2, 1, (20, 37))
    whole = sign_flip_max_t(x, rng=np.random.default_rng(10), n_perm=99)
    monkeypatch.setattr("mnemoscope.stats.maxt.BUDGET", 8 * 100 * 5)
    assert np.allclose(whole.p, sign_flip_max_t(x, rng=np.random.default_rng(10), n_perm=99).p)


def test_clusters_are_flipped_whole():
    rng = np.random.default_rng(11)
    x, cluster = rng.normal(0.3, 1, (40, 5)), np.repeat(np.arange(10), 4)
    grouped = x.reshape(10, 4, 5).sum(axis=1)
    a = sign_flip_max_t(x, cluster, rng=np.random.default_rng(12), n_perm=199)
    b = sign_flip_max_t(grouped, rng=np.random.default_rng(12), n_perm=199)
    assert np.allclose(a.p, b.p)


def test_redrawn_labels_find_the_true_one_only():
    rng = np.random.default_rng(13)
    draws = rng.random((6, 40, 30)) ** 4  # skewed, as shares are
    draws[0, :, 7] += 0.3
    mine = redraw_max_t(draws - draws.mean(axis=0), rng=rng, n_perm=499)
    assert np.flatnonzero(mine.p < 0.05).tolist() == [7]
    still = redraw_max_t(np.repeat(draws[:1], 3, axis=0), rng=rng, n_perm=99)
    assert set(still.reason) == {"redrawing changes nothing"}


def test_labels_in_strata_are_welchs_t():
    rng = np.random.default_rng(14)
    x, treated = rng.normal(size=(30, 4)), np.arange(30) % 3 == 0
    x[treated, 2] += 3
    mine = label_max_t(x, treated, rng=rng, n_perm=499)
    theirs = stats.ttest_ind(x[treated], x[~treated], equal_var=False).statistic
    assert np.allclose(mine.z, wallace(theirs, 28))
    assert np.flatnonzero(mine.p < 0.05).tolist() == [2]
