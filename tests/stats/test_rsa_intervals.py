"""Intervals of alignments: closed forms, and coverage near the largest value, where Fisher's scale failed."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.jackknife import jackknife_t
from mnemoscope.stats.rdm import dense, differs, rdm
from mnemoscope.stats.rsa_intervals import AT_MOST, bounded_t
from mnemoscope.stats.rsa_pairs import groups_left, pairs_between
from mnemoscope.stats.rsa_ranks import LeftOut, leave_out


def left(values, most=1.0) -> LeftOut:
    values = np.asarray(values, float).reshape(len(values), -1)
    return LeftOut(values=values, most=np.full_like(values, most))


def test_where_any_correlation_is_possible_it_is_fishers_interval():
    values = np.random.default_rng(0).normal(0.4, 0.03, 11)
    mine = bounded_t([(1.0, left(values))], n=5).at(0)
    fisher = jackknife_t(values[:1], values[1:, None], n=5, fisher=True).at(0)
    assert (mine.low, mine.high, mine.p) == pytest.approx((fisher.low, fisher.high, fisher.p), rel=1e-6)


def test_differences_are_zous():
    """Zou 2007, eq. 15, with the jackknife correlation of the two."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.5, 0.02, 12), rng.normal(0.2, 0.02, 12)
    one, two = (bounded_t([(1.0, left(x, 0.65))], n=1).at(0) for x in (a, b))
    r = np.corrcoef(a[1:], b[1:])[0, 1]
    down, up = one.estimate - one.low, two.high - two.estimate
    mine = bounded_t([(1.0, left(a, 0.65)), (-1.0, left(b, 0.65))], n=1).at(0)
    assert mine.low == pytest.approx(a[0] - b[0] - math.sqrt(down**2 + up**2 - 2 * r * down * up))
    turned = bounded_t([(-1.0, left(a, 0.65)), (1.0, left(b, 0.65))], n=1).at(0)
    assert (turned.low, turned.high, turned.p) == pytest.approx((-mine.high, -mine.low, mine.p))


def test_p_is_the_level_at_which_the_interval_ends_at_zero():
    values = np.random.default_rng(2).normal(0.1, 0.02, 9)
    p = bounded_t([(1.0, left(values, 0.7))], n=1).at(0).p
    found = bounded_t([(1.0, left(values, 0.7))], n=1, level=1 - p).at(0)
    assert found.low == pytest.approx(0, abs=1e-9)
    assert p == pytest.approx(2 * student.sf(student.ppf(1 - p / 2, 7), 7))


def test_there_is_no_interval_at_the_largest_value():
    near = np.full(8, 0.6)
    near[3] = 0.65
    found = bounded_t([(1.0, left(near, 0.65))], n=1).at(0)
    assert found.estimate == 0.6
    assert math.isnan(found.low)
    assert found.reason == AT_MOST
    change = bounded_t([(1.0, left(near, 0.65)), (-1.0, left(np.linspace(0, 0.1, 8), 0.65))], n=1).at(0)
    assert change.reason == AT_MOST
    assert bounded_t([(1.0, left(np.full(8, 0.3)))], n=1).at(0).reason == "no variation among units: no interval"
    with pytest.raises(InputError, match="different units"):
        bounded_t([(1.0, left(near)), (1.0, left(near[1:]))], n=1)


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_intervals_cover_near_the_largest_value(spread):
    """Five clusters of five: .61 and .21 of the .65 that they allow. Fisher's scale covers 78% and 97% of 600."""
    cluster, pairs = np.tile(np.arange(5), 5), pairs_between(np.arange(25))
    h, stays = dense(differs(cluster)), groups_left(pairs, np.random.default_rng(0))
    found = []
    for seed in range(200):
        x = np.eye(5)[cluster] + spread * np.random.default_rng(seed).normal(size=(25, 5))
        part = leave_out([dense(rdm(x))], h, [], np.vstack([np.ones((1, 300), bool), stays]))
        found.append(bounded_t([(1.0, part)], n=300).at(0))
    mean = np.mean([one.estimate for one in found])
    there = [one.low <= mean <= one.high for one in found if not one.reason]
    assert len(there) > 190
    assert 0.92 <= np.mean(there) <= 1.0  # 600 sets: .970 and .975; three standard errors of 200 are .04
