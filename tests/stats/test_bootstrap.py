"""Bootstraps against scipy, against the t interval on normal data, and against planted ratios."""

import math

import numpy as np
import pytest
from scipy import stats

from mnemoscope.errors import OptionError
from mnemoscope.stats.bootstrap import bootstrap, bootstrap_ratio, bootstrap_ratios, multiplicities
from mnemoscope.stats.clusters import clustered_mean


def test_bca_is_scipys():
    x = np.random.default_rng(0).exponential(size=60)
    mine = bootstrap(lambda i: float(x[i].mean()), np.arange(60), rng=np.random.default_rng(1), n_boot=3000)
    fast = bootstrap_ratio(x, None, np.arange(60), rng=np.random.default_rng(2), n_boot=9000, interval="bca")
    theirs = stats.bootstrap((x,), np.mean, n_resamples=9000, method="BCa", rng=np.random.default_rng(3))
    for one in (mine, fast):
        assert one.low == pytest.approx(theirs.confidence_interval.low, abs=0.03)
        assert one.high == pytest.approx(theirs.confidence_interval.high, abs=0.04)


def test_percentile_is_scipys():
    x = np.random.default_rng(0).exponential(size=60)
    mine = bootstrap_ratio(x, None, np.arange(60), rng=np.random.default_rng(2), n_boot=9000, interval="percentile")
    theirs = stats.bootstrap((x,), np.mean, n_resamples=9000, method="percentile", rng=np.random.default_rng(3))
    assert mine.low == pytest.approx(theirs.confidence_interval.low, abs=0.03)


def test_studentised_on_normal_data_is_the_t_interval():
    x = np.random.default_rng(4).normal(1, 1, 40)
    mine = bootstrap_ratio(x, None, np.arange(40), rng=np.random.default_rng(5), n_boot=20_000)
    exact = clustered_mean(x, np.arange(40))
    assert mine.low == pytest.approx(exact.low, abs=0.05)
    assert mine.high == pytest.approx(exact.high, abs=0.05)


def test_a_cell_is_as_if_alone_and_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(6)
    a, b, cluster = rng.normal(2, 1, (50, 5)), rng.normal(4, 1, (50, 5)), rng.integers(0, 12, 50)
    whole = bootstrap_ratios(a, b, cluster, rng=np.random.default_rng(7), n_boot=300)
    monkeypatch.setattr("mnemoscope.stats.bootstrap.CELLS_AT_ONCE", 2)
    blocks = bootstrap_ratios(a, b, cluster, rng=np.random.default_rng(7), n_boot=300)
    alone = bootstrap_ratio(a[:, 3], b[:, 3], cluster, rng=np.random.default_rng(7), n_boot=300)
    assert np.allclose(whole.low, blocks.low)
    assert whole.at(3).high == pytest.approx(alone.high)


def test_a_planted_ratio_is_covered():
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(60):
        b = rng.gamma(4, 1, 25)
        a = 0.5 * b + rng.normal(0, 1, 25)
        one = bootstrap_ratio(a, b, np.arange(25), rng=rng, n_boot=400)
        inside += one.low <= 0.5 <= one.high
    assert 51 <= inside <= 60


def test_resamples_have_the_size_of_the_sample():
    drawn = multiplicities(7, 50, np.random.default_rng(0))
    assert (drawn.sum(axis=1) == 7).all()


def test_undefined_says_why():
    rng = np.random.default_rng(0)
    assert bootstrap_ratio(np.ones(5), None, np.array([0, 0, 1, 1, 1]), rng=rng).reason == "fewer than 3 clusters"
    assert bootstrap_ratio(np.ones(5), None, np.arange(5), rng=rng).reason.startswith("no variation")
    zero = bootstrap_ratio(np.arange(5.0), np.array([1.0, 0, 0, 0, 0]), np.arange(5), rng=rng)
    assert "denominator vanishes" in zero.reason
    assert math.isnan(bootstrap_ratio(np.full(5, math.nan), None, np.arange(5), rng=rng).estimate)
    assert bootstrap(lambda i: math.nan, np.arange(5), rng=rng).reason == "the statistic is undefined"
    with pytest.raises(OptionError, match="no bootstrap interval is called 'BCa'"):
        bootstrap_ratio(np.ones(5), None, np.arange(5), rng=rng, interval="BCa")
