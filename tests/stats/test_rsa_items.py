"""Per-item alignment by definition, and the ceiling of a planted geometry."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from mnemoscope.stats.rdm import numeric, rdm, square
from mnemoscope.stats.rsa_items import item_alignment, rdm_ceiling


def test_rows_of_other_items_only():
    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(6), 2)
    d, h = rdm(rng.normal(size=(12, 7))), numeric(rng.normal(size=6)[item])
    mine = item_alignment(d, h, item)
    other = item != item[3]
    assert mine[3] == pytest.approx(spearmanr(square(d)[3, other], square(h)[3, other]).statistic)


def test_an_item_that_stands_out_of_the_geometry_is_seen():
    rng = np.random.default_rng(1)
    value = np.linspace(-2, 2, 15)
    x = np.column_stack([value, value**2, np.ones(15)]) + 0.05 * rng.normal(size=(15, 3))
    x[2] = x[12]
    mine = item_alignment(rdm(x, metric="euclidean"), numeric(value), np.arange(15))
    assert mine.argmin() == 2


def test_undefined_rows_are_nan():
    h = numeric(np.array([0, 0, 0, 1]))
    assert math.isnan(item_alignment(rdm(np.ones((4, 3))), h, np.arange(4))[0])


def test_the_ceiling_rises_with_the_signal_and_bounds_the_true_geometry():
    rng = np.random.default_rng(2)
    item = np.repeat(np.arange(20), 4)
    truth = rng.normal(size=(20, 30))
    upper = np.triu_indices(20, 1)
    tops = []
    for noise in (0.3, 1.0, 1.5):
        x = truth[item] + noise * rng.normal(size=(80, 30))
        d = square(rdm(x))
        mean = d.reshape(20, 4, 20, 4).mean(axis=(1, 3))
        one = rdm_ceiling(rdm(x), item, rng=rng, n_splits=20)
        reached = spearmanr(mean[upper], rdm(truth)).statistic
        assert reached == pytest.approx(one.estimate, abs=0.12)
        tops.append(one.estimate)
    assert tops == sorted(tops, reverse=True)


def test_one_prompt_per_item_has_no_ceiling():
    rng = np.random.default_rng(3)
    one = rdm_ceiling(rdm(rng.normal(size=(10, 5))), np.arange(10), rng=rng)
    assert one.reason.startswith("no ceiling")
