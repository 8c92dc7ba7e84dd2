"""Clustered means against scipy, a literal jackknife, and planted two-way effects."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import bounded_mean, clustered_mean, clustered_means, codes, crossed, matched, sums


def test_without_clusters_it_is_the_t_test():
    x = np.random.default_rng(0).normal(0.3, 1, 25)
    mine, theirs = clustered_mean(x, np.arange(25)), ttest_1samp(x, 0)
    interval = theirs.confidence_interval()
    assert mine.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (mine.low, mine.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_clusters_of_unequal_size_are_a_literal_jackknife():
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 9, 60)
    weight = rng.random(60)
    x = rng.normal(size=60)
    left = [np.average(x[cluster != g], weights=weight[cluster != g]) for g in range(9)]
    error = math.sqrt(8 / 9 * sum((value - np.average(x, weights=weight)) ** 2 for value in left))
    mine = clustered_mean(x, cluster, weights=weight)
    assert mine.estimate == pytest.approx(np.average(x, weights=weight))
    assert (mine.high - mine.low) / 2 == pytest.approx(2.306004 * error, rel=1e-6)  # t_.975 with 8 df
    assert (mine.n, mine.n_units) == (60, 9)


def test_a_missing_value_is_as_if_it_were_not_there():
    rng = np.random.default_rng(2)
    x, cluster = rng.normal(size=(40, 3)), rng.integers(0, 8, 40)
    x[5:9, 1] = math.nan
    kept = ~np.isnan(x[:, 1])
    many, one = clustered_means(x, cluster).at(1), clustered_mean(x[kept, 1], cluster[kept])
    assert (many.n, many.n_units, many.low, many.p) == (
        one.n,
        one.n_units,
        pytest.approx(one.low),
        pytest.approx(one.p),
    )


def test_two_ways_never_narrower_than_one():
    rng = np.random.default_rng(3)
    doc, tail = rng.integers(0, 15, 300), rng.integers(0, 12, 300)
    x = rng.normal(size=15)[doc] + rng.normal(size=12)[tail] + rng.normal(size=300)
    two, one, other = clustered_mean(x, doc, tail), clustered_mean(x, doc), clustered_mean(x, tail)
    assert two.high - two.low >= max(one.high - one.low, other.high - other.low)
    assert two.n_units == 12


def test_two_way_variance_of_a_planted_design():
    """x = a_doc + b_tail + e, fully crossed: V(doc) + V(tail) - V(cell) = 1/20 + 4/20 + 2 (.25/400) - 5.25/400 on average.

    The truth is 1/20 + 4/20 + .25/400: subtracting single cells takes 5% away with 20 x 20 clusters, vanishing as 1/G.
    """
    rng = np.random.default_rng(4)
    doc, tail = (x.ravel() for x in np.meshgrid(np.arange(20), np.arange(20)))
    widths = []
    for _ in range(80):
        x = rng.normal(0, 1, 20)[doc] + rng.normal(0, 2, 20)[tail] + rng.normal(0, 0.5, 400)
        two = clustered_mean(x, doc, tail)
        widths.append(((two.high - two.low) / 2 / 2.093) ** 2)  # t_.975 with 19 df
    assert np.mean(widths) == pytest.approx(1 / 20 + 4 / 20 + 0.5 / 400 - 5.25 / 400, rel=0.09)


def test_undefined_says_why():
    assert clustered_mean(np.full(3, math.nan), np.arange(3)).reason == "no observations"
    assert clustered_mean(np.arange(3.0), np.zeros(3, int)).reason == "fewer than 2 independent units"
    flat = clustered_mean(np.ones(5), np.arange(5))
    assert flat.estimate == 1.0
    assert math.isnan(flat.low)
    assert flat.reason.startswith("no variation")
    with pytest.raises(InputError, match="negative or nan"):
        clustered_mean(np.ones(3), np.arange(3), weights=np.array([1.0, -1.0, 1.0]))
    with pytest.raises(InputError, match="values 3, labels 4"):
        matched("a mean", values=3, labels=4)


def test_codes_and_sums():
    code, n = codes(np.array(["b", "a", "b"]))
    assert (code.tolist(), n) == ([1, 0, 1], 2)
    assert crossed(np.array([0, 0, 1]), np.array(["x", "y", "x"]))[1] == 3
    assert sums(np.array([[1.0], [2.0], [3.0]]), code, n).tolist() == [[2.0], [4.0]]


def test_agreement_is_bounded_by_the_exact_binomial():
    one = bounded_mean(np.ones(12), np.repeat(np.arange(6), 2), limits=(0.0, 1.0), null=0.5)
    theirs = binomtest(6, 6, 0.5)
    assert one.low == pytest.approx(theirs.proportion_ci().low)
    assert (one.high, one.p) == (1.0, pytest.approx(theirs.pvalue))
    mixed = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    assert bounded_mean(mixed, np.arange(5), limits=(0.0, 1.0)).high == 1.0
    assert bounded_mean(mixed, np.arange(5), limits=(0.0, 1.0)).low == clustered_mean(mixed, np.arange(5)).low
    with pytest.raises(InputError, match="outside their limits"):
        bounded_mean(mixed * 2, np.arange(5), limits=(0.0, 1.0))
