"""Nearest neighbours against brute force."""

import numpy as np
import pytest


def test_against_brute_force():
    from mnemoscope.stats.matching import nearest

    rng = np.random.default_rng(0)
    values, pool = rng.standard_normal(40), rng.standard_normal(25)
    pool[3] = np.nan
    values[7] = np.nan
    found = nearest(values, pool, k=3, caliper=0.4)
    for i, value in enumerate(values):
        gap = np.abs(pool - value)
        order = [j for j in np.argsort(gap, kind="stable") if gap[j] <= 0.4][:3] if i != 7 else []
        assert found[i].tolist() == order + [-1] * (3 - len(order))


def test_no_control_is_no_control():
    from mnemoscope.errors import InputError
    from mnemoscope.stats.matching import nearest

    assert (nearest(np.zeros(2), np.zeros(2), k=3, caliper=1.0) == -1).all()
    with pytest.raises(InputError, match="caliper"):
        nearest(np.zeros(2), np.zeros(2), k=1, caliper=0.0)
