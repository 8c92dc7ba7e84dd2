"""The judges of B2.5: honest p values pass, liberal ones do not."""

import numpy as np
import pytest
from scipy.stats import kstest

from mnemoscope.errors import InputError
from mnemoscope.stats.rates import excess_of, judged_coverage, judged_p


def test_the_excess_is_kolmogorovs():
    p = np.random.default_rng(0).random(500)
    assert excess_of(p) == pytest.approx(kstest(p, "uniform", alternative="greater").statistic)


def test_uniform_and_conservative_pass_liberal_fails():
    p = np.random.default_rng(1).random(1000)
    assert judged_p(p).ok
    assert judged_p(np.sqrt(p)).ok
    assert not judged_p(p**1.5).ok
    assert not judged_p(np.where(p < 0.12, p / 3, p)).ok  # right nearly everywhere, wrong where it matters


def test_coverage_has_two_sides():
    n = np.arange(2000)
    assert judged_coverage(n >= 100).ok
    assert not judged_coverage(n >= 200).ok
    assert not judged_coverage(n >= 20).ok


def test_holes_are_refused():
    with pytest.raises(InputError, match="undefined p values"):
        judged_p(np.array([0.1, np.nan]))
