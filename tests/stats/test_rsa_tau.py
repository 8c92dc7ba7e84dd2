"""tau-a from tables of signs against scipy, permutation by permutation."""

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.stats.correlation import kendall_tau_a
from mnemoscope.stats.permutation import label_permutations
from mnemoscope.stats.rdm import differs, numeric, rdm
from mnemoscope.stats.rsa import align
from mnemoscope.stats.rsa_pairs import pairs_between
from mnemoscope.stats.rsa_tau import TAU_PAIRS, signs


@pytest.mark.parametrize("size", [(3,), (2, 4, 1)])
@pytest.mark.parametrize("distance", [numeric, differs])
def test_whole_permuted_and_left_out_are_the_literal_loop(size, distance):
    rng = np.random.default_rng(3)
    line = np.repeat(np.arange(6), np.resize(size, 6))
    value = np.array([3.0, 1, 2, 2, 1, 3])
    x = value[line][:, None] + rng.normal(size=(len(line), 8))
    x[1] = x[0] if line[1] == line[0] else x[1]  # two equal distances to every other prompt
    pairs, d = pairs_between(line), rdm(x)
    mine = align(d[None], distance(value[line]), line, rng=np.random.default_rng(4), kind="tau-a", n_perm=30)
    perms = label_permutations(np.zeros(6, int), 30, np.random.default_rng(4))
    assert mine.cells.estimate[0] == pytest.approx(kendall_tau_a(d[pairs.kept], distance(value[line])[pairs.kept]))
    null = [kendall_tau_a(d[pairs.kept], distance(value[perm][line])[pairs.kept]) for perm in perms]
    assert mine.null[:, 0] == pytest.approx(null)
    assert mine.p[0] == pytest.approx((1 + sum(t >= mine.cells.estimate[0] - 1e-9 for t in null)) / 31)
    assert mine.cells.low[0] < mine.cells.estimate[0] < mine.cells.high[0]


def test_the_largest_value_is_that_of_perfect_distances():
    """Distances that follow two levels without ties of their own: tau-a is the share of pairs of pairs that are not tied."""
    from mnemoscope.stats.rsa_tau import tau_a

    rng = np.random.default_rng(5)
    cluster = np.repeat([0, 1, 2], 3)
    pairs = pairs_between(np.arange(9))
    h = differs(cluster).astype(int)
    d = np.argsort(np.lexsort((rng.random(36), h)))
    found, most = tau_a(signs(d, pairs), h[:, None], np.ones((36, 1), bool))
    assert found[0] == pytest.approx(most[0]) == pytest.approx(9 * 27 / (36 * 35 / 2))


def test_too_many_pairs_are_not_computed_and_say_so():
    rng = np.random.default_rng(6)
    n = 120
    found = align(
        rng.random((1, n * (n - 1) // 2)), numeric(np.arange(n)), np.arange(n), rng=rng, kind="tau-a", n_perm=9
    )
    assert np.isnan(found.cells.estimate[0])
    assert str(TAU_PAIRS) in found.cells.reason[0]
    with pytest.raises(InputError, match="too many pairs"):
        signs(np.arange(7140), pairs_between(np.arange(n)))
