"""Adjusted p values against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from mnemoscope.errors import InputError
from mnemoscope.stats.multiplicity import benjamini_hochberg, corrected, holm


def test_false_discovery_rate_is_scipys():
    p = np.random.default_rng(0).random(40) ** 3
    assert np.allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 -> 4 x .01, 3 x .02, then the running maximum .06
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holes_are_no_tests():
    p = np.array([0.01, math.nan, 0.04])
    assert holm(p)[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm(p)[1])


def test_underpowered_families_say_so():
    p = np.full(1440, 1 / 2000)
    short = corrected(p, smallest=1 / 2000)
    assert short.note.startswith("underpowered")
    assert np.isnan(short.adjusted).all()
    assert not short.rejected.any()
    assert corrected(p, smallest=1 / 28_801).note == ""  # B2.1: 144 heads x 10 relations need B >= 28,800


def test_true_positives_are_rejected():
    p = np.concatenate([np.full(3, 1e-6), np.linspace(0.1, 1, 50)])
    for method in ("holm", "bh"):
        assert corrected(p, smallest=0.0, method=method).rejected.sum() == 3


def test_no_p_values():
    with pytest.raises(InputError, match="no p values"):
        holm(np.array([1.2]))
