"""Layer means against the single layers they are made of, and coverage where the truth is known."""

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.stats.rdm import numeric, rdm
from mnemoscope.stats.rsa import align
from mnemoscope.stats.rsa_layers import layer_alignments, mean_over_layers
from mnemoscope.stats.rsa_pairs import pairs_between
from mnemoscope.stats.rsa_ranks import LeftOut


def made(rng: np.random.Generator, *, signal: float, items: int = 14, each: int = 2, layers: int = 3):
    item = np.repeat(np.arange(items), each)
    value = rng.normal(size=items)[item]
    direction = rng.normal(size=12)
    patterns = [rng.normal(size=(len(item), 12)) + signal * value[:, None] * direction for _ in range(layers)]
    return item, value, np.stack([rdm(x) for x in patterns])


def test_the_mean_is_the_mean_of_the_layers():
    rng = np.random.default_rng(0)
    item, value, rdms = made(rng, signal=0.6)
    nuisance = numeric(rng.normal(size=len(item)))[None]
    n = len(pairs_between(item).kept)
    for taken_out in (None, nuisance):
        single = align(rdms, numeric(value), item, rng=np.random.default_rng(1), nuisances=taken_out, n_perm=5)
        left = layer_alignments(rdms, numeric(value), item, rng=np.random.default_rng(1), nuisances=taken_out)
        assert left.values.shape == (15, 3)
        found = mean_over_layers([(1.0, left)], n=n)
        assert found.estimate == pytest.approx(single.cells.estimate.mean())
        assert found.low < found.estimate < found.high
        assert (found.n, found.n_units) == (n, 14)


def test_changes_are_differences_and_a_change_with_itself_is_none():
    rng = np.random.default_rng(2)
    item, value, before = made(rng, signal=0.0)
    after = np.stack([rdm(rng.normal(size=(28, 12)) + 0.8 * value[:, None]) for _ in range(3)])
    a, b = (layer_alignments(x, numeric(value), item, rng=np.random.default_rng(0)) for x in (after, before))
    found = mean_over_layers([(1.0, a), (-1.0, b)], n=10)
    assert found.estimate == pytest.approx(
        mean_over_layers([(1.0, a)], n=10).estimate - mean_over_layers([(1.0, b)], n=10).estimate
    )
    assert found.low > 0
    same = mean_over_layers([(1.0, a), (-1.0, a)], n=10)
    assert same.estimate == 0
    assert np.isnan(same.low)
    assert same.reason


def cut(left: LeftOut, n: int) -> LeftOut:
    return LeftOut(values=left.values[:, :n], most=left.most[:, :n])


def test_undefined_layers_are_left_out_of_both_sides():
    rng = np.random.default_rng(3)
    item, value, rdms = made(rng, signal=0.5)
    flat = rdms.copy()
    flat[0] = 1.0
    whole, part = (layer_alignments(x, numeric(value), item, rng=np.random.default_rng(0)) for x in (rdms, flat))
    assert mean_over_layers([(1.0, part)], n=1).estimate == pytest.approx(whole.values[0, 1:].mean())
    change = mean_over_layers([(1.0, whole), (-1.0, part)], n=1)
    assert change.estimate == pytest.approx(0.0)
    nothing = mean_over_layers([(1.0, cut(part, 1))], n=1)
    assert np.isnan(nothing.estimate)
    assert nothing.reason == "no layer has distances to compare"
    with pytest.raises(InputError, match="different units or layers"):
        mean_over_layers([(1.0, whole), (-1.0, cut(whole, 2))], n=1)


def test_intervals_of_changes_cover_zero_where_nothing_changed():
    """30 items, 60 data sets: the rate of intervals off 0 stays below the binomial 99% limit of 5%."""
    missed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        item = np.arange(30)
        value = rng.normal(size=30)
        sides = []
        for _ in range(2):
            rdms = np.stack([rdm(rng.normal(size=(30, 10)) + 0.5 * value[:, None]) for _ in range(2)])
            sides.append(layer_alignments(rdms, numeric(value), item, rng=np.random.default_rng(0)))
        found = mean_over_layers([(1.0, sides[0]), (-1.0, sides[1])], n=1)
        missed += not found.low <= 0 <= found.high
    assert missed <= 8
