"""Stratified intervals: textbook variances, topics in several relations, and coverage where relations differ."""

import numpy as np
import pytest

SIZES = {"capitals": 9, "young": 5, "symbols": 14}


def data(rng, sizes=None, effect=2.0):
    """Values, topics, relations: relations differ by far more than topics do."""
    relations = np.concatenate([[name] * n for name, n in (sizes or SIZES).items()])
    topics = np.array([f"{name} {i}" for name, n in (sizes or SIZES).items() for i in range(n)])
    level = {name: effect * i for i, name in enumerate(sizes or SIZES)}
    return np.array([level[r] for r in relations]) + rng.standard_normal(len(topics)), topics, relations


def textbook(values, strata):
    """Cochran 1977, Sampling Techniques, eq. 5.6 and 5.13 without finite-population terms: sum of (n_s / n)^2 s_s^2 / n_s."""
    groups = [values[strata == s] for s in np.unique(strata)]
    return sum((len(g) / len(values)) ** 2 * np.var(g, ddof=1) / len(g) for g in groups)


def test_the_variance_of_a_mean_is_the_textbook_one():
    from scipy.stats import t

    from mnemoscope.stats.clusters import clustered_mean
    from mnemoscope.stats.jackknife import jackknife

    x, topics, relations = data(np.random.default_rng(0))
    expected = np.sqrt(textbook(x, relations))
    half = t.ppf(0.975, len(x) - len(SIZES)) * expected
    for one in (
        clustered_mean(x, topics, strata=relations),
        jackknife(lambda kept: float(x[kept].mean()), topics, strata=relations),
    ):
        assert (one.high - one.low) / 2 == pytest.approx(half)
        assert one.n_units == len(x)
        assert "3 strata" in one.method
    assert clustered_mean(x, topics).high - one.estimate > 1.3 * half  # what relations differ by is in there


def test_one_stratum_is_the_plain_interval():
    from mnemoscope.stats.bootstrap import bootstrap_ratio
    from mnemoscope.stats.clusters import clustered_mean
    from mnemoscope.stats.jackknife import jackknife

    x, topics, _ = data(np.random.default_rng(1))
    same = np.zeros(len(x))
    for function in (
        lambda **k: clustered_mean(x, topics, **k),
        lambda **k: jackknife(lambda kept: float(x[kept].mean()), topics, **k),
        lambda **k: bootstrap_ratio(x, None, topics, rng=np.random.default_rng(2), n_boot=200, **k),
    ):
        one, plain = function(strata=same), function()
        assert (one.low, one.high) == pytest.approx((plain.low, plain.high))


def test_resamples_spread_as_the_textbook_says():
    from mnemoscope.stats.bootstrap import bootstrap_ratio
    from mnemoscope.stats.strata import draws, strata_of

    x, topics, relations = data(np.random.default_rng(3), {"a": 40, "b": 60})
    order = np.argsort(topics)
    star = draws(strata_of(topics, relations), 20_000, np.random.default_rng(4)) @ x[order] / len(x)
    assert star.mean() == pytest.approx(x.mean(), abs=0.01)
    assert star.var() == pytest.approx(textbook(x, relations), rel=0.06)  # (n_s - 1) / n_s and sampling error
    one = bootstrap_ratio(x, None, topics, strata=relations, rng=np.random.default_rng(5))
    assert (one.high - one.low) / 2 == pytest.approx(1.98 * np.sqrt(textbook(x, relations)), rel=0.1)


def test_a_topic_of_several_relations_has_their_set_as_stratum_and_lone_ones_go_together():
    from mnemoscope.stats.strata import strata_of

    topics = np.array(["fr", "fr", "it", "it", "es", "dog", "cat", "gold"])
    relations = np.array(["cap", "lang", "cap", "lang", "cap", "young", "young", "symbol"])
    stratum = dict(zip(np.unique(topics), strata_of(topics, relations).tolist(), strict=True))
    assert stratum["fr"] == stratum["it"]
    assert stratum["dog"] == stratum["cat"] != stratum["fr"]
    assert stratum["es"] == stratum["gold"] not in (stratum["fr"], stratum["dog"])
    last = strata_of(topics[:7], relations[:7])  # es alone: to the largest stratum, not one of its own
    assert len(set(last.tolist())) == 2
    assert strata_of(topics, None).tolist() == [0] * 6


def shared(rng):
    """20 topics in two relations whose values hang together, 12 more in one; the estimand is the mean over all 52 units."""
    relations = np.repeat(["a", "b", "c"], [20, 20, 12])
    topics = np.concatenate([np.arange(20), np.arange(20), np.arange(20, 32)]).astype(str)
    own = rng.standard_normal(32)
    level = np.repeat([0.0, 4.0, -3.0], [20, 20, 12])
    values = level + own[topics.astype(int)] + 0.5 * rng.standard_normal(52)
    return values, topics, relations, float(level.mean())


@pytest.mark.parametrize("how", ["t", "bootstrap", "jackknife"])
def test_coverage_where_relations_differ_and_share_topics(how):
    from mnemoscope.stats.bootstrap import bootstrap_ratio
    from mnemoscope.stats.clusters import clustered_mean
    from mnemoscope.stats.jackknife import jackknife

    rng, n = np.random.default_rng(6), 300
    hits = 0
    for _ in range(n):
        x, topics, relations, truth = shared(rng)
        one = {
            "t": lambda x=x, t=topics, r=relations: clustered_mean(x, t, strata=r),
            "bootstrap": lambda x=x, t=topics, r=relations: bootstrap_ratio(x, None, t, strata=r, rng=rng, n_boot=299),
            "jackknife": lambda x=x, t=topics, r=relations: jackknife(lambda k: float(x[k].mean()), t, strata=r),
        }[how]()
        hits += one.low <= truth <= one.high
    assert 0.91 <= hits / n <= 0.985  # .95 -+ 3 standard errors


def test_a_cell_in_which_a_stratum_has_one_cluster_left():
    """It deviates from the mean of all clusters then: a width, not a hole."""
    from mnemoscope.stats.clusters import clustered_means

    x, topics, relations = data(np.random.default_rng(7))
    x = np.stack([x, x], axis=1)
    x[np.flatnonzero(relations == "young")[1:], 1] = np.nan
    found = clustered_means(x, topics, strata=relations)
    assert np.isfinite(found.low).all()
    assert found.n_units.tolist() == [28, 24]
