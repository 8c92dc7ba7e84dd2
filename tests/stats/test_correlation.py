"""Correlations against scipy and by definition; reliabilities and intervals against planted truth."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mnemoscope.errors import InputError, OptionError
from mnemoscope.stats.correlation import (
    ceiling,
    correlate,
    kendall_tau_a,
    map_correlation,
    partial_spearman,
    pearson,
    spearman,
    spearman_brown,
    split_half,
    within_group,
)


@pytest.fixture
def tied() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 40).astype(float)
    return x, x + rng.integers(0, 6, 40)


def test_pearson_and_spearman_are_scipys(tied):
    assert pearson(*tied) == pytest.approx(stats.pearsonr(*tied).statistic)
    assert spearman(*tied) == pytest.approx(stats.spearmanr(*tied).statistic)


def test_tau_a_by_its_definition(tied):
    x, y = tied
    signs = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in itertools.combinations(range(40), 2)]
    assert kendall_tau_a(x, y) == pytest.approx(np.mean(signs))


def test_partial_is_the_textbook_formula():
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 50)) + rng.normal(size=50)
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    assert partial_spearman(x, y, z[None]) == pytest.approx((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))


def test_partial_removes_a_common_cause():
    rng = np.random.default_rng(2)
    z = rng.normal(size=2000)
    x, y = z + 0.3 * rng.normal(size=(2, 2000))
    assert spearman(x, y) > 0.8
    assert abs(partial_spearman(x, y, z[None])) < 0.08


def test_groups_are_not_pooled():
    """Negative inside every group, positive between groups."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(6), 20)
    inside = rng.normal(size=120)
    x, y = 10 * group + inside, 10 * group - inside + 0.2 * rng.normal(size=120)
    assert spearman(x, y) > 0.9
    assert within_group(x, y, group) < -0.9


def test_an_interval_covers_the_planted_correlation():
    rng = np.random.default_rng(4)
    cluster, inside = np.repeat(np.arange(40), 2), 0
    for _ in range(10):
        x = rng.normal(size=40)[cluster]
        y = 0.6 * x + 0.8 * rng.normal(size=40)[cluster]
        one = correlate(x, y, cluster, rng=rng, kind="pearson", n_boot=200)
        inside += one.low <= 0.6 <= one.high
    assert 7 <= inside <= 10


def test_a_map_is_correlated_over_documents():
    rng = np.random.default_rng(5)
    truth, unrelated = rng.normal(size=(2, 60))
    first, second = truth + rng.normal(size=(80, 60)), truth + rng.normal(size=(80, 60))
    same = map_correlation(first, second, np.arange(80))
    other = map_correlation(first, unrelated + rng.normal(size=(80, 60)), np.arange(80))
    assert same.low > 0.9
    assert abs(other.estimate) < 0.4
    assert (same.n, same.n_units) == (80, 80)


def test_reliability_of_a_planted_map():
    """Signal variance 1, noise variance 9 over 36 documents: reliability 1 / (1 + 9/36) = .8."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=3000) + 3 * rng.normal(size=(36, 3000))
    one = split_half(values, np.arange(36), rng=rng, kind="pearson", n_splits=20)
    assert one.estimate == pytest.approx(0.8, abs=0.02)
    assert ceiling(one.estimate) == pytest.approx(math.sqrt(one.estimate))


def test_spearman_brown_by_hand():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(-0.9) == -1.0
    assert math.isnan(ceiling(0.5, -0.1))


def test_undefined_and_refused():
    rng = np.random.default_rng(7)
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert math.isnan(kendall_tau_a(np.ones(5), np.arange(5.0)))
    assert math.isnan(pearson(np.arange(2.0), np.arange(2.0)))
    assert split_half(rng.normal(size=(3, 4)), np.arange(3), rng=rng).reason == "fewer than 4 clusters to split"
    with pytest.raises(OptionError, match="tau-a"):
        correlate(np.arange(9.0), np.arange(9.0), np.arange(9), rng=rng, kind="tau")
    with pytest.raises(OptionError):
        correlate(np.arange(9.0), np.arange(9.0), np.arange(9), rng=rng, kind="pearson", covariates=np.ones((1, 9)))
    assert issubclass(OptionError, InputError)
