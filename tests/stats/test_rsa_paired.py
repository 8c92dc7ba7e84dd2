"""The swap test against a literal loop over swapped patterns, and against planted changes."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata

from mnemoscope.errors import InputError
from mnemoscope.stats.correlation import partial_spearman
from mnemoscope.stats.permutation import paired_swaps
from mnemoscope.stats.rdm import numeric, rdm, square, standardised
from mnemoscope.stats.rsa import compare
from mnemoscope.stats.rsa_paired import before_after
from mnemoscope.stats.rsa_pairs import pairs_between


def design(rng: np.random.Generator, *, items: int = 10, each: int = 2):
    item = np.repeat(np.arange(items), each)
    return item, rng.normal(size=items)[item]


def test_it_is_the_literal_loop():
    rng = np.random.default_rng(0)
    item, slope = design(rng, items=6)
    before, after = rng.normal(size=(2, 12, 8))
    mine = before_after([(before, after)], numeric(slope), item, rng=np.random.default_rng(1), n_perm=20)
    kept = pairs_between(item).kept
    want = compare(rdm(after)[kept], numeric(slope)[kept]) - compare(rdm(before)[kept], numeric(slope)[kept])
    assert mine.cells.estimate[0] == pytest.approx(want)

    both = np.vstack([standardised(before), standardised(after)])
    i, j = np.triu_indices(24, 1)
    joint, other = rdm(both, standardise=False), np.tile(item, 2)[i] != np.tile(item, 2)[j]
    rank = np.zeros(len(i))
    rank[other] = rankdata(joint[other])
    table, h = square(rank), rankdata(numeric(slope)[kept])

    def statistic(swap: np.ndarray) -> float:
        pick = np.where(swap[item], np.arange(12) + 12, np.arange(12))
        halves = [pick, (pick + 12) % 24]
        values = [table[np.ix_(rows, rows)][np.triu_indices(12, 1)][kept] for rows in halves]
        return pearsonr(values[1], h).statistic - pearsonr(values[0], h).statistic

    swaps = paired_swaps(6, 20, np.random.default_rng(1))
    assert np.allclose(mine.null[:, 0], [statistic(s) for s in swaps])
    seen = statistic(np.zeros(6, bool))
    assert mine.cells.p[0] == pytest.approx((1 + (mine.null[:, 0] >= seen - 1e-9).sum()) / (1 + len(swaps)))


def test_nuisances_are_partialled_out_of_each_condition():
    rng = np.random.default_rng(2)
    item, slope = design(rng)
    before, after = rng.normal(size=(2, 20, 8))
    length = rng.integers(3, 40, 40)
    mine = before_after([(before, after)], numeric(slope), item, rng=rng, nuisances=numeric(length)[None], n_perm=20)
    kept = pairs_between(item).kept
    low, high = (
        partial_spearman(rdm(x)[kept], numeric(slope)[kept], numeric(z)[kept][None])
        for x, z in ((before, length[:20]), (after, length[20:]))
    )
    assert mine.cells.estimate[0] == pytest.approx(high - low)


def test_a_planted_rise_is_found_in_its_layer():
    rng = np.random.default_rng(3)
    item, slope = design(rng, items=20)
    carried = slope[:, None] * np.ones(10)
    layers = []
    for layer in range(4):
        before = rng.normal(size=(40, 10)) + 4  # a common shift is no difference
        layers.append((before, rng.normal(size=(40, 10)) + (carried if layer == 2 else 0)))
    mine = before_after(layers, numeric(slope), item, rng=rng, n_perm=499)
    assert np.flatnonzero(mine.p < 0.05).tolist() == [2]
    assert mine.cells.low[2] > 0
    assert "20" in str(mine.cells.n_units[2])


def test_dead_layers_and_bad_nuisances():
    rng = np.random.default_rng(4)
    item, slope = design(rng)
    x = rng.normal(size=(20, 5))
    mine = before_after(
        [(np.ones((20, 5)), x), (x, x + rng.normal(size=x.shape))], numeric(slope), item, rng=rng, n_perm=20
    )
    assert mine.cells.reason[0] == "distances undefined or constant"
    assert math.isnan(mine.p[0])
    assert not math.isnan(mine.p[1])
    with pytest.raises(InputError, match="cover both conditions"):
        before_after([(x, x)], numeric(slope), item, rng=rng, nuisances=numeric(np.arange(20))[None])
