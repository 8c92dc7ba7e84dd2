"""Permutations against exact enumeration and scipy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mnemoscope.errors import InputError
from mnemoscope.stats.permutation import (
    difference_test,
    label_permutations,
    p_value,
    paired_swaps,
    sign_flip_test,
    sign_flips,
    smallest_p,
)


def test_p_counts_ties_and_the_data_themselves():
    null = np.array([[0.0], [1.0], [2.0], [-3.0]])
    assert p_value(1.0, null).tolist() == [3 / 5]
    assert p_value(1.0, null, side="less").tolist() == [4 / 5]
    assert p_value(1.0, null, side="two-sided").tolist() == [4 / 5]
    assert math.isnan(p_value(math.nan, null)[0])


def test_few_units_are_enumerated():
    assert len(sign_flips(5, 100, np.random.default_rng(0))) == 31
    assert len(np.unique(sign_flips(5, 100, np.random.default_rng(0)), axis=0)) == 31
    assert sign_flips(10, 100, np.random.default_rng(0)).shape == (100, 10)
    assert len(label_permutations(np.array([0, 0, 0, 1, 1]), 100, np.random.default_rng(0))) == 11
    assert paired_swaps(3, 100, np.random.default_rng(0)).shape == (7, 3)


def test_permutations_stay_in_their_stratum():
    strata = np.array([0, 1, 0, 1, 2, 0, 1, 2, 2, 0])
    perms = label_permutations(strata, 50, np.random.default_rng(1))
    assert (strata[perms] == strata).all()
    assert (np.sort(perms, axis=1) == np.arange(10)).all()


def test_all_permutations_are_equally_likely():
    perms = label_permutations(np.zeros(4, int), 20, np.random.default_rng(2))
    big = np.concatenate([label_permutations(np.zeros(4, int), 20, np.random.default_rng(s)) for s in range(300)])
    counts = np.unique(big, axis=0, return_counts=True)[1]
    assert len(perms) == 20
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.001


def test_exact_sign_flips_of_clusters():
    x = np.array([1.2, -0.3, 0.8, 2.0, 0.1, 0.9])
    mine = sign_flip_test(x, np.arange(6), rng=np.random.default_rng(0), side="greater")
    sums = [abs(x) @ np.array(s) for s in itertools.product((1, -1), repeat=6)]
    assert mine.p == pytest.approx(np.mean(np.array(sums) >= x.sum() - 1e-9))


def test_seven_units_cannot_go_below_their_floor():
    x = np.full(7, 3.0) + np.arange(7) * 0.01
    mine = sign_flip_test(x, np.arange(7), rng=np.random.default_rng(0))
    assert mine.p == pytest.approx(2 * smallest_p(1999, 2**7))  # two-sided: B2.1's .016


def test_difference_of_two_samples_is_scipys():
    rng = np.random.default_rng(3)
    x, treated = np.concatenate([rng.normal(1, 1, 12), rng.normal(0, 2, 15)]), np.arange(27) < 12
    mine = difference_test(x, treated, rng=rng, n_perm=4000)
    theirs = stats.ttest_ind(x[treated], x[~treated], equal_var=False).confidence_interval()
    exact = stats.permutation_test(
        (x[treated], x[~treated]), lambda a, b: a.mean() - b.mean(), n_resamples=4000, rng=np.random.default_rng(0)
    )
    assert (mine.low, mine.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert mine.p == pytest.approx(exact.pvalue, abs=0.02)


def test_strata_take_their_means_with_them():
    """A difference between strata, none inside: nothing may be found although the pooled means differ."""
    rng = np.random.default_rng(4)
    strata = np.repeat([0, 1], 40)
    treated = np.concatenate([np.arange(40) < 30, np.arange(40) < 10])
    x = strata * 5 + rng.normal(size=80)
    assert difference_test(x, treated, strata, rng=rng, n_perm=500).p > 0.05
    assert difference_test(x, treated, rng=rng, n_perm=500).p < 0.01
    found = difference_test(x + 2 * treated, treated, strata, rng=rng, n_perm=500)
    assert found.low < 2 < found.high


def test_one_kind_only():
    with pytest.raises(InputError, match="no stratum has both kinds"):
        difference_test(np.ones(4), np.ones(4, bool), rng=np.random.default_rng(0))
