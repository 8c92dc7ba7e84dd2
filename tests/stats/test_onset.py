"""Onsets of planted sigmoids, censoring, differences and coincidence; the rule itself against a literal loop."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from mnemoscope.errors import InputError
from mnemoscope.stats.onset import coincidence, onset, onset_difference, share_in_window

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])


def curve(
    rise: int, rng: np.random.Generator, *, items: int = 40, height: float = 0.5, noise: float = 0.1
) -> np.ndarray:
    """Chance .5 before checkpoint `rise`, .5 + height from it on."""
    level = 0.5 + height * (np.arange(len(STEPS)) >= rise)
    return level[:, None] + noise * rng.normal(size=(len(STEPS), items))


def test_the_rule_is_the_literal_one():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = 0.5 + np.cumsum(rng.normal(0.05, 0.1, 12))[:, None] + 0.3 * rng.normal(size=(12, 15))
        mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(15)
        low = mean - student.ppf(0.975, 14) * error
        above = low > 0.5 + 0.25 * (mean[-1] - 0.5)
        if low[-1] <= 0.5:
            above[:] = False
        want = next((c for c in range(11) if above[c] and above[c + 1]), -1)
        assert onset(values, STEPS, chance=0.5, rng=rng, n_boot=10).index == want


def test_a_planted_step_is_found_with_its_neighbours():
    one = onset(curve(6, np.random.default_rng(1)), STEPS, chance=0.5, rng=np.random.default_rng(2))
    assert (one.index, one.step, one.low, one.high) == (6, 32.0, 16.0, 64.0)
    assert one.threshold == pytest.approx(0.625, abs=0.02)


def test_one_checkpoint_alone_is_no_onset():
    values = curve(9, np.random.default_rng(3))
    values[4] += 0.5
    assert onset(values, STEPS, chance=0.5, rng=np.random.default_rng(4)).index == 9


def test_censoring_is_said():
    rng = np.random.default_rng(5)
    never = onset(curve(99, rng), STEPS, chance=0.5, rng=rng)
    assert (never.censored, never.high) == ("never", math.inf)
    assert math.isnan(never.step)
    there = onset(curve(0, rng), STEPS, chance=0.5, rng=rng)
    assert (there.censored, there.low, there.step) == ("already there", -math.inf, 0.0)
    late = onset(curve(11, rng), STEPS, chance=0.5, rng=rng)
    assert late.censored == "never"  # one checkpoint cannot show that it lasts


def test_noisy_curves_have_wider_intervals():
    rng = np.random.default_rng(6)
    ramp = 0.5 + np.linspace(0, 0.5, 12)[:, None]
    quiet = onset(ramp + 0.1 * rng.normal(size=(12, 30)), STEPS, chance=0.5, rng=rng)
    loud = onset(ramp + 0.6 * rng.normal(size=(12, 30)), STEPS, chance=0.5, rng=rng)
    assert loud.high - loud.low > quiet.high - quiet.low


def test_missing_items_and_clusters():
    rng = np.random.default_rng(7)
    values = curve(5, rng)
    values[:, :10] = math.nan
    one = onset(values, STEPS, chance=0.5, rng=rng, clusters=np.repeat(np.arange(20), 2))
    assert (one.index, one.n_units, one.n) == (5, 20, 12 * 30)


def test_differences_are_in_checkpoints():
    rng = np.random.default_rng(8)
    early, late = (onset(curve(k, rng), STEPS, chance=0.5, rng=rng) for k in (4, 7))
    one = onset_difference(early, late)
    assert (one.estimate, one.low, one.high) == (-3.0, -4.0, -2.0)
    never = onset(curve(99, rng), STEPS, chance=0.5, rng=rng)
    assert "second never" in onset_difference(early, never).reason


def test_how_special_a_window_is():
    one = share_in_window(np.array([3, 4, 5, 9, -1, -1, 4, 0]), (4, 5))
    assert (one.estimate, one.n) == (3 / 8, 8)


def test_coincidence_needs_seeds():
    rng = np.random.default_rng(9)
    a = [onset(curve(5, rng), STEPS, chance=0.5, rng=rng, n_boot=50) for _ in range(4)]
    b = [onset(curve(5, rng), STEPS, chance=0.5, rng=rng, n_boot=50) for _ in range(4)]
    far = [onset(curve(9, rng), STEPS, chance=0.5, rng=rng, n_boot=50) for _ in range(4)]
    assert coincidence(a, b)[1].verdict == "supported"
    assert coincidence(a, far)[1].verdict == "contradicted"
    assert coincidence(a[:1], b[:1])[1].reason == "undetermined (one run)"
    assert coincidence(a[:2], b[:2])[1].verdict == "undetermined"
    estimate = coincidence(a, far)[0]
    assert (estimate.estimate, estimate.high - estimate.low) == (-4.0, 2.0)


def test_a_grid_is_needed():
    with pytest.raises(InputError, match="rising order"):
        onset(np.ones((3, 5)), np.array([0, 2, 1]), chance=0.5, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match=">= 3 independent items"):
        onset(np.ones((3, 2)), np.array([0, 1, 2]), chance=0.5, rng=np.random.default_rng(0))
