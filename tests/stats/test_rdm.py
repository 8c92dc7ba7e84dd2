"""RDMs against scipy and rsatoolbox; ranks against scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

from mnemoscope.errors import InputError
from mnemoscope.stats.rdm import (
    dense,
    differs,
    midranks,
    numeric,
    prompts_of,
    rdm,
    square,
    standardised,
    token_overlap,
)


@pytest.fixture
def patterns() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(12, 30))
    x[:, 3] = 100 * x[:, 3] + 5  # a rogue dimension
    x[:, 4] = 7.0  # one that does not vary
    return x


@pytest.mark.parametrize(("metric", "theirs"), [("cosine", "cosine"), ("correlation", "correlation")])
def test_distances_are_scipys(patterns, metric, theirs):
    assert np.allclose(rdm(patterns, metric=metric, standardise=False), pdist(patterns, theirs))
    assert np.allclose(rdm(patterns, metric=metric), pdist(standardised(patterns), theirs))


def test_euclidean_is_the_mean_square(patterns):
    assert np.allclose(rdm(patterns, metric="euclidean"), pdist(standardised(patterns), "sqeuclidean") / 30)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:pkg_resources:UserWarning")
def test_correlation_distance_is_rsatoolboxs(patterns):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    data = rsatoolbox.data.Dataset(patterns)
    theirs = rsatoolbox.rdm.calc_rdm(data, method="correlation").get_vectors()[0]
    assert np.allclose(rdm(patterns, metric="correlation", standardise=False), theirs, atol=1e-6)
    theirs = rsatoolbox.rdm.calc_rdm(data, method="euclidean").get_vectors()[0]
    assert np.allclose(rdm(patterns, metric="euclidean", standardise=False), theirs, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:pkg_resources:UserWarning")
def test_cosine_distance_is_rsatoolboxs():
    """It has the cosine of two RDMs; a pattern of 20 * 19 / 2 dimensions passes for one."""
    rsatoolbox = pytest.importorskip("rsatoolbox")
    x = np.random.default_rng(3).normal(size=(12, 190)) + 0.5
    theirs = rsatoolbox.rdm.compare(*[rsatoolbox.rdm.RDMs(x)] * 2, method="cosine")
    assert np.allclose(rdm(x, standardise=False), 1 - theirs[np.triu_indices(12, 1)], atol=1e-6)


def test_standardising_removes_rogue_and_flat_dimensions(patterns):
    z = standardised(patterns)
    assert np.allclose(np.delete(z, 4, axis=1).std(axis=0), 1)
    assert (z[:, 4] == 0).all()
    assert np.allclose(z, standardised(patterns * np.arange(1, 31)))


def test_a_pattern_without_length_has_no_direction():
    assert np.isnan(rdm(np.ones((4, 3)))).all()
    x = np.random.default_rng(1).normal(size=(4, 3))
    x[2] = 0
    assert np.isnan(square(np.nan_to_num(rdm(x, standardise=False), nan=np.nan))[2, [0, 1, 3]]).all()


def test_hypotheses_by_hand():
    assert numeric(np.array([1, 4, 2])).tolist() == [3, 1, 2]
    assert differs(np.array(["a", "b", "a"])).tolist() == [1, 0, 1]
    assert token_overlap(np.array([[1, 1, 0], [0, 2, 1], [0, 0, 0]])) == pytest.approx([2 / 3, 1, 1])


def test_condensed_and_square():
    assert square(np.array([1.0, 2, 3])).tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
    assert prompts_of(499_500) == 1000
    with pytest.raises(InputError, match="no condensed RDM"):
        prompts_of(4)


def test_ranks_are_scipys():
    x = np.random.default_rng(2).integers(0, 9, 50).astype(float)
    assert np.allclose(midranks(dense(x)), rankdata(x))
    times = np.random.default_rng(3).integers(1, 4, 50)
    assert np.allclose(np.repeat(midranks(dense(x), times), times), rankdata(np.repeat(x, times)))
    with pytest.raises(InputError, match="undefined distances"):
        dense(np.array([1.0, np.nan]))
