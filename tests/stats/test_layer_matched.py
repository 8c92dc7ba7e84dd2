"""Layer-matched sets: all of them where they are few, distinct draws where they are many."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.stats.layer_matched import layer_matched

EVERY = [(layer, head) for layer in range(3) for head in range(6)]


def test_few_sets_are_all_there():
    found = layer_matched([(1, 0), (1, 3)], EVERY, rng=np.random.default_rng(0))
    expected = {tuple((1, h) for h in pair) for pair in combinations(range(6), 2)} - {((1, 0), (1, 3))}
    assert set(found.sets) == expected
    assert found.complete
    assert found.smallest_p == pytest.approx(1 / comb(6, 2))


def test_many_sets_are_drawn_with_the_same_make():
    chosen = [(0, 1), (0, 2), (2, 5)]
    found = layer_matched(chosen, EVERY, rng=np.random.default_rng(0), most=40)
    assert not found.complete
    assert len(set(found.sets)) == 40
    for one in found.sets:
        assert [layer for layer, _ in one] == [0, 0, 2]
        assert len(set(one)) == 3
        assert set(one) != set(chosen)
    hit = np.bincount([head for one in found.sets for layer, head in one if layer == 2], minlength=6)
    assert hit.min() > 0  # every head gets its turn


def test_heads_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="not distinct"):
        layer_matched([(0, 9)], EVERY, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="not distinct"):
        layer_matched([(0, 1), (0, 1)], EVERY, rng=np.random.default_rng(0))


def test_under_the_null_p_is_valid():
    """Every head has an effect of its own and the set is chosen at random: P(p <= .05) must not exceed .05."""
    rng = np.random.default_rng(1)
    small = 0
    for _ in range(400):
        effect = rng.exponential(size=len(EVERY))
        chosen = [(0, int(rng.integers(6))), (1, int(rng.integers(6))), (2, int(rng.integers(6)))]
        sets = layer_matched(chosen, EVERY, rng=rng, most=60).sets
        own, others = (
            sum(effect[EVERY.index(h)] for h in chosen),
            [sum(effect[EVERY.index(h)] for h in one) for one in sets],
        )
        small += (1 + sum(o >= own for o in others)) / (1 + len(others)) <= 0.05
    assert small <= 29  # 97.5% point of a binomial of 400 with .05
