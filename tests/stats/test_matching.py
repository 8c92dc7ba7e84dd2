"""Nearest neighbours per group against brute force; the case that the k nearest of a pool get wrong."""

import numpy as np
import pytest


def test_against_brute_force():
    from mnemoscope.stats.matching import nearest

    rng = np.random.default_rng(0)
    values, pool, groups = rng.standard_normal(40), rng.standard_normal(60), rng.integers(0, 4, 60)
    pool[3] = np.nan
    values[7] = np.nan
    found = nearest(values, pool, groups, caliper=0.1)
    for i, value in enumerate(values):
        for group in range(4):
            fit = [j for j in range(60) if groups[j] == group and abs(pool[j] - value) <= 0.1]
            assert found[i, group] == (min(fit, key=lambda j: abs(pool[j] - value)) if fit else -1)
    assert (found[7] == -1).all()
    assert (found == -1).any()


def test_every_text_gives_a_control_where_all_values_agree():
    """The nearest of the whole pool would be those of the first text."""
    from mnemoscope.stats.matching import nearest

    pool, texts = np.ones(12), np.repeat(["a", "b", "c"], 4)
    assert nearest(np.ones(2), pool, texts, caliper=0.5).tolist() == [[0, 4, 8], [0, 4, 8]]


def test_no_control_is_no_control():
    from mnemoscope.errors import InputError
    from mnemoscope.stats.matching import nearest

    assert (nearest(np.zeros(2), np.full(2, np.nan), np.zeros(2), caliper=1.0) == -1).all()
    with pytest.raises(InputError, match="caliper"):
        nearest(np.zeros(2), np.zeros(2), np.zeros(2), caliper=0.0)
