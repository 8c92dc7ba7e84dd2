"""Pairs of prompts from different units, by hand."""

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.stats.rdm import numeric
from mnemoscope.stats.rsa_pairs import GROUPS, by_unit, grouped, groups_left, pairs_between


def test_only_pairs_of_different_units():
    pairs = pairs_between(np.array(["b", "a", "b", "c"]))
    i, j = np.triu_indices(4, 1)
    assert list(zip(i[pairs.kept], j[pairs.kept], strict=True)) == [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert pairs.labels.tolist() == ["a", "b", "c"]
    assert pairs.block.tolist() == [0, 2, 0, 1, 2]  # units (a,b) (b,c) (a,b) (a,c) (b,c) of the triangle ab ac bc


def test_units_are_left_out_one_by_one_or_in_groups():
    rng = np.random.default_rng(0)
    pairs = pairs_between(np.repeat(np.arange(4), 2))
    stays = groups_left(pairs, rng)
    assert [set(pairs.first[mask]) | set(pairs.second[mask]) for mask in stays] == [
        {0, 1, 2, 3} - {u} for u in range(4)
    ]
    many = grouped(pairs_between(np.arange(3 * GROUPS + 1)), rng)
    assert np.bincount(many).tolist().count(3) == GROUPS - 1


def test_what_cannot_be_asked():
    line = np.repeat(np.arange(4), 2)
    with pytest.raises(InputError, match="not assigned to units"):
        by_unit(numeric(np.arange(8)), pairs_between(line))
    with pytest.raises(InputError, match="constant over all pairs"):
        by_unit(np.ones(28), pairs_between(line))
    with pytest.raises(InputError, match="at least 3"):
        pairs_between(np.array([0, 0, 1]))
