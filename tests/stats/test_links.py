"""Within-item slopes: least squares with item dummies, and a planted slope under a confounded design."""

import math

import numpy as np
import pytest

from mnemoscope.stats.links import within_slope


def test_it_is_least_squares_with_item_dummies():
    rng = np.random.default_rng(0)
    item = rng.integers(0, 8, 50)
    x, y = rng.normal(size=50) + item, rng.normal(size=50) - item
    design = np.column_stack([x, np.eye(8)[item]])
    mine = within_slope(x, y, item, rng=rng, n_boot=50)
    assert mine.estimate == pytest.approx(np.linalg.lstsq(design, y, rcond=None)[0][0])


def test_the_planted_slope_not_the_one_between_items():
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(40), 5)
    easy = rng.normal(size=40)[item]
    x = easy + rng.normal(size=200)
    y = -3 * easy + 0.5 * (x - easy) + 0.5 * easy + 0.5 * rng.normal(size=200)
    one = within_slope(x, y, item, rng=rng, n_boot=500)
    assert one.low < 0.5 < one.high
    assert one.low > 0.2


def test_standardised_is_the_within_correlation():
    rng = np.random.default_rng(2)
    item, x, y = np.repeat(np.arange(20), 4), rng.normal(size=80), rng.normal(size=80)
    dx, dy = ((v.reshape(20, 4) - v.reshape(20, 4).mean(axis=1, keepdims=True)).ravel() for v in (x, y))
    one = within_slope(x, y, item, rng=rng, n_boot=50, standardise=True)
    assert one.estimate == pytest.approx(np.corrcoef(dx, dy)[0, 1])


def test_undefined_says_why():
    rng = np.random.default_rng(3)
    item = np.repeat(np.arange(5), 2)
    assert within_slope(item * 1.0, rng.normal(size=10), item, rng=rng).reason == "x does not vary within items"
    assert within_slope(np.arange(4.0), np.arange(4.0), np.arange(4), rng=rng).reason.startswith("fewer than 3 items")
    flat = within_slope(rng.normal(size=10), item * 1.0, item, rng=rng, standardise=True)
    assert math.isnan(flat.estimate)
