"""Guarded ratios: planted values found, denominators near nothing refused."""

import math

import numpy as np
import pytest

from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.ratio import difference_of_ratios, guarded_ratio


def test_percent_of_a_base_score():
    rng = np.random.default_rng(0)
    base = rng.normal(6, 0.5, 30)
    effect = -0.3 * base + rng.normal(0, 0.05, 30)
    one = guarded_ratio(effect, base, np.arange(30), rng=np.random.default_rng(1), scale=100.0)
    plain = bootstrap_ratio(effect, base, np.arange(30), rng=np.random.default_rng(1))
    assert one.estimate == pytest.approx(100 * effect.sum() / base.sum())
    assert one.low == pytest.approx(100 * plain.low)
    assert one.low < -30 < one.high


def test_a_small_base_gives_no_percent():
    rng = np.random.default_rng(2)
    one = guarded_ratio(rng.normal(size=20), rng.normal(1.1, 1, 20), np.arange(20), rng=rng)
    assert math.isnan(one.estimate)
    assert "not above 1" in one.reason


def test_recovery_beyond_the_neutral_prefix():
    """patched recovers 70% of the gap, the neutral prefix 20%: the difference .5 is covered at about the nominal rate."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(40):
        gap = rng.normal(3, 1, 40)
        patched, neutral = 0.7 * gap + rng.normal(0, 0.3, 40), 0.2 * gap + rng.normal(0, 0.3, 40)
        one = difference_of_ratios((patched, gap), (neutral, gap), np.arange(40), rng=rng, n_boot=400)
        assert one.estimate == pytest.approx((patched - neutral).sum() / gap.sum())
        inside += one.low <= 0.5 <= one.high
    assert inside >= 33


def test_no_gap_no_recovery():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=30)
    one = difference_of_ratios((noise, rng.normal(size=30)), (noise, noise + 5), np.arange(30), rng=rng)
    assert "not above 0" in one.reason
