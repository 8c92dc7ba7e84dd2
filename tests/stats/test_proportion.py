"""Binomial intervals against scipy, and their coverage by enumeration."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from mnemoscope.errors import InputError
from mnemoscope.stats.proportion import exact, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 17), (10, 10), (50, 1000)])
@pytest.mark.parametrize(("mine", "method"), [(wilson, "wilson"), (exact, "exact")])
def test_they_are_scipys(k, n, mine, method):
    theirs = binomtest(k, n, 0.3).proportion_ci(method=method)
    one = mine(k, n, null=0.3)
    assert (one.low, one.high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))
    assert one.p == pytest.approx(binomtest(k, n, 0.3).pvalue)


def test_coverage_by_enumeration():
    n, truth = 40, 0.15
    chance = binom.pmf(np.arange(n + 1), n, truth)
    inside = [one.low <= truth <= one.high for one in (exact(k, n) for k in range(n + 1))]
    assert chance @ np.array(inside) >= 0.95
    inside = [one.low <= truth <= one.high for one in (wilson(k, n) for k in range(n + 1))]
    assert 0.92 <= chance @ np.array(inside) <= 0.98


def test_nothing_is_nothing():
    assert wilson(0, 0).reason == "no trials"
    assert math.isnan(exact(0, 0).estimate)
    with pytest.raises(InputError, match="no share"):
        wilson(3, 2)
