"""The largest rank correlation that a hypothesis allows, against scipy on distances that follow it."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mnemoscope.stats.rdm import dense, differs, numeric
from mnemoscope.stats.rsa_ranks import leave_out


@pytest.mark.parametrize("h", [differs(np.repeat(np.arange(5), 5)), numeric(np.repeat([-20.0, -5, 5, 20], 4))])
def test_nothing_exceeds_the_largest_value_and_perfect_distances_attain_it(h):
    rng = np.random.default_rng(0)
    perfect = np.argsort(np.lexsort((rng.random(len(h)), h))).astype(float)
    layers = [dense(perfect), *(dense(rng.random(len(h))) for _ in range(20))]
    found = leave_out(layers, dense(h), [], np.ones((1, len(h)), bool))
    assert found.values[0, 0] == pytest.approx(found.most[0, 0]) == pytest.approx(spearmanr(perfect, h).statistic)
    assert (np.abs(found.values[0, 1:]) < found.most[0, 0]).all()


def test_perfect_distances_attain_it_with_nuisances_too():
    rng = np.random.default_rng(1)
    h = differs(np.repeat(np.arange(4), 5))
    nuisances = [dense(numeric(rng.integers(0, 5, 20))), dense(rng.random(190))]
    perfect = dense(np.argsort(np.lexsort((rng.random(190), h))).astype(float))
    mask = np.ones((2, 190), bool)
    mask[1, :40] = False
    found = leave_out([perfect], dense(h), nuisances, mask)
    assert found.values == pytest.approx(found.most)


def test_a_hypothesis_that_nuisances_explain_has_no_value():
    h = differs(np.repeat(np.arange(4), 3))
    found = leave_out([np.arange(66)], dense(h), [dense(h)], np.ones((1, 66), bool))
    assert np.isnan(found.values).all()
