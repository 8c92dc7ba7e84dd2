"""RSA against rsatoolbox, a literal permutation loop, and planted geometry."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from mnemoscope.errors import InputError
from mnemoscope.stats.correlation import partial_spearman
from mnemoscope.stats.permutation import label_permutations
from mnemoscope.stats.rdm import differs, numeric, rdm, square, standardised
from mnemoscope.stats.rsa import align, compare, max_over_layers
from mnemoscope.stats.rsa_pairs import pairs_between


def lines(rng: np.random.Generator, *, strength: float, n_lines: int = 12, size: tuple[int, ...] = (4,), d: int = 20):
    """Prompts of lines with a slope each; patterns carry the slope along one direction, and the line as noise of its own."""
    each = np.resize(size, n_lines)
    line = np.repeat(np.arange(n_lines), each)
    slope = rng.normal(size=n_lines)
    own = 0.5 * rng.normal(size=(n_lines, d))
    x = strength * slope[line][:, None] * np.eye(d)[:10].sum(axis=0) + own[line] + rng.normal(size=(len(line), d))
    return line, slope, x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:pkg_resources:UserWarning")
@pytest.mark.parametrize(("kind", "theirs"), [("spearman", "spearman"), ("tau-a", "tau-a")])
def test_comparisons_are_rsatoolboxs(kind, theirs):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=190), rng.integers(0, 6, 190).astype(float)
    made = [rsatoolbox.rdm.RDMs(x[None]) for x in (a, b)]
    assert compare(a, b, kind=kind) == pytest.approx(rsatoolbox.rdm.compare(*made, method=theirs)[0, 0], abs=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:pkg_resources:UserWarning")
@pytest.mark.parametrize("kind", ["spearman", "tau-a"])
def test_from_vectors_to_alignment_is_rsatoolboxs(kind):
    """Every prompt a unit of its own, so that all pairs count: theirs from standardised vectors on, ours the study's."""
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(7)
    slope, x = np.repeat([-20.0, -5, 5, 20], 5), rng.normal(size=(2, 20, 30))
    x[0] += slope[:, None] / 20
    model = rsatoolbox.rdm.RDMs(numeric(slope)[None])
    theirs = [
        rsatoolbox.rdm.compare(
            rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(standardised(one)), method="correlation"),
            model,
            method=kind,
        )[0, 0]
        for one in x
    ]
    mine = align(
        np.stack([rdm(one, metric="correlation") for one in x]),
        numeric(slope),
        np.arange(20),
        rng=rng,
        kind=kind,
        n_perm=9,
    )
    assert mine.cells.estimate == pytest.approx(theirs, abs=1e-6)


def test_partial_alignment_is_the_inverse_of_scipys_correlations():
    """Three nuisances at once: -P01 / sqrt(P00 P11), P the inverse of the matrix of rank correlations."""
    rng = np.random.default_rng(8)
    values = rng.integers(0, 4, (4, 14)).astype(float)
    d = rdm(rng.normal(size=(14, 9)) + values[0][:, None] / 2)
    h, *taken = (numeric(row) for row in values)
    inverse = np.linalg.inv(spearmanr(np.stack([d, h, *taken]), axis=1).statistic)
    mine = align(d[None], h, np.arange(14), rng=rng, nuisances=np.stack(taken), n_perm=9)
    assert mine.cells.estimate[0] == pytest.approx(-inverse[0, 1] / math.sqrt(inverse[0, 0] * inverse[1, 1]), abs=1e-9)


@pytest.mark.parametrize("size", [(4,), (2, 5, 3)])
@pytest.mark.parametrize("with_nuisance", [False, True])
def test_estimate_and_permutations_are_the_literal_loop(size, with_nuisance):
    rng = np.random.default_rng(1)
    line, slope, x = lines(rng, strength=1.0, n_lines=6, size=size)
    noise = numeric(rng.integers(0, 5, len(line)))
    nuisances = np.stack([noise, numeric(line)]) if with_nuisance else None
    rdms, kept = np.stack([rdm(x), rdm(rng.normal(size=x.shape))]), pairs_between(line).kept
    mine = align(rdms, numeric(slope[line]), line, rng=np.random.default_rng(2), nuisances=nuisances, n_perm=20)

    def literal(d: np.ndarray, h: np.ndarray) -> float:
        if nuisances is None:
            return float(spearmanr(d[kept], h[kept]).statistic)
        return partial_spearman(d[kept], h[kept], nuisances[:, kept])

    perms = label_permutations(np.zeros(6, int), 20, np.random.default_rng(2))
    for layer in range(2):
        assert mine.cells.estimate[layer] == pytest.approx(literal(rdms[layer], numeric(slope[line])))
        null = [literal(rdms[layer], numeric(slope[perm][line])) for perm in perms]
        assert np.allclose(mine.null[:, layer], null)
        left, most = [], []
        for stay in [np.ones(len(line), bool), *(line != u for u in range(6))]:
            sub, upper = np.ix_(stay, stay), np.triu_indices(stay.sum(), 1)
            inside = pairs_between(line[stay]).kept
            d, h = (square(v)[sub][upper][inside] for v in (rdms[layer], numeric(slope[line])))
            follows = np.empty(len(d))
            follows[np.lexsort((d, h))] = np.arange(len(d))  # by the hypothesis, then by distance
            if nuisances is None:
                left.append(spearmanr(d, h).statistic)
                most.append(spearmanr(follows, h).statistic)
            else:
                z = np.stack([square(v)[sub][upper][inside] for v in nuisances])
                left.append(partial_spearman(d, h, z))
                most.append(partial_spearman(follows, h, z))
        (whole, *left), (top, *most) = left, most

        def error(values) -> float:
            return math.sqrt(5 / 6 * ((np.array(values) - np.mean(values)) ** 2).sum())

        t, r = 2.570582, whole / top  # t_.975, 5 df
        ends = [
            top * math.tanh(math.atanh(r) + side * t * error(np.arctanh(np.array(left) / most))) for side in (-1, 1)
        ]
        reach = [math.hypot(end - whole, t * abs(r) * error(most)) for end in ends]
        assert mine.cells.low[layer] == pytest.approx(whole - reach[0], abs=1e-6)
        assert mine.cells.high[layer] == pytest.approx(whole + reach[1], abs=1e-6)


def test_planted_layers_are_found_and_nuisances_are_not():
    rng = np.random.default_rng(5)
    line, slope, planted = lines(rng, strength=3.0)
    length = rng.integers(3, 30, len(line))
    by_length = 3 * length[:, None] / 10 + rng.normal(size=planted.shape)
    rdms = np.stack([rdm(planted), rdm(by_length), rdm(rng.normal(size=planted.shape))])
    mine = align(rdms, numeric(slope[line]), line, rng=rng, nuisances=numeric(length)[None], n_perm=499)
    assert mine.p[0] < 0.05
    assert (mine.p[1:] > 0.05).all()
    assert mine.cells.low[0] > 0
    assert mine.cells.at(0).n_units == 12


def test_names_within_activity():
    rng = np.random.default_rng(6)
    name, activity = (v.ravel() for v in np.meshgrid(np.arange(5), np.arange(5)))
    item = name * 10 + activity
    x = 3 * rng.normal(size=(5, 15))[activity] + rng.normal(size=(25, 15))
    mine = align(rdm(x)[None], differs(name), item, rng=rng, strata=activity, n_perm=200)
    assert mine.p[0] > 0.05
    y = x + 3 * rng.normal(size=(5, 15))[name]
    assert align(rdm(y)[None], differs(name), item, rng=rng, strata=activity, n_perm=200).p[0] < 0.05


def test_layers_without_geometry_say_so():
    rng = np.random.default_rng(7)
    line, slope, x = lines(rng, strength=1.0)
    mine = align(np.stack([rdm(np.ones_like(x)), rdm(x)]), numeric(slope[line]), line, rng=rng, n_perm=50)
    assert mine.cells.reason.tolist() == ["distances undefined or constant", ""]
    assert np.isnan(mine.p).tolist() == [True, False]


def test_what_cannot_be_asked():
    rng = np.random.default_rng(8)
    line = np.repeat(np.arange(4), 2)
    with pytest.raises(InputError, match="vary within a unit"):
        align(rng.random((1, 28)), numeric(line), line, rng=rng, strata=np.arange(8))


def test_one_layer_needs_no_correction():
    null = np.random.default_rng(9).normal(size=(99, 1))
    want = (1 + (null >= 1.3).sum()) / 100
    assert max_over_layers(np.array([1.3]), null)[0] == pytest.approx(want)
    assert rankdata([3, 1, 2]).tolist() == [3, 1, 2]
