"""Probes against scikit-learn's own nested search, planted labels, memorised items, and controls."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.probe import (
    classify,
    estimate_value,
    grouped_folds,
)
from mnemoscope.stats.probe_controls import control_labels, recurring, redrawn_among_candidates, shuffled_among_items
from mnemoscope.stats.probe_scores import probe_gain, probe_score, refitted


def crossed(rng: np.random.Generator, *, strength: float, items: int = 30, each: int = 4, d: int = 12):
    """Items with one of three labels; patterns hold the label, and the item, as directions."""
    item = np.repeat(np.arange(items), each)
    label = (np.arange(items) % 3)[item]
    x = strength * rng.normal(size=(3, d))[label] + rng.normal(size=(items, d))[item] + rng.normal(size=(len(item), d))
    return x, label, item


@pytest.mark.parametrize("d", [12, 200])
def test_the_fit_is_scikit_learns(d):
    x, label, item = crossed(np.random.default_rng(0), strength=1.0, d=d)
    folds = grouped_folds(item, rng=np.random.default_rng(1))
    mine = classify(x, label, item, folds, penalties=(10.0,))
    value = estimate_value(x, x[:, 0] + label, item, folds, penalties=(10.0,))
    for fold in range(5):
        train, test = folds[0] != fold, folds[0] == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000, tol=1e-8)).fit(
            x[train], label[train]
        )
        log_p = model.predict_log_proba(x[test])
        true = log_p[np.arange(test.sum()), label[test]]
        np.put_along_axis(log_p, label[test][:, None], -np.inf, axis=1)
        assert np.allclose(mine.margin[test], true - log_p.max(axis=1), atol=1e-4)
        line = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(x[train], (x[:, 0] + label)[train])
        assert np.allclose(value.score[test], (line.predict(x[test]) - (x[:, 0] + label)[test]) ** 2)
        assert np.allclose(value.base[test], ((x[:, 0] + label)[test] - (x[:, 0] + label)[train].mean()) ** 2)


def test_items_stay_together_and_folds_are_even():
    item = np.repeat(np.arange(23), 3)
    label = (np.arange(23) % 2)[item]
    folds = grouped_folds(item, repeats=4, rng=np.random.default_rng(2), labels=label)
    for row in folds:
        assert all(len(np.unique(row[item == i])) == 1 for i in range(23))
        assert np.ptp(np.bincount(row)) <= 3
        assert all(set(label[row == fold]) == {0, 1} for fold in range(5))
    assert not np.array_equal(folds[0], folds[1])


def test_a_planted_label_is_read_and_an_item_is_not_a_label():
    rng = np.random.default_rng(3)
    x, label, item = crossed(rng, strength=2.0)
    folds = grouped_folds(item, rng=rng, labels=label)
    assert probe_score(classify(x, label, item, folds), item, rng=rng).low > 0.3
    memory, _, _ = crossed(rng, strength=0.0)
    assert (
        probe_score(classify(memory, label, item, folds, penalties=(10.0,)), item, rng=rng).low < 0
    )  # prompts of an item give it away, items do not


def test_inputs_that_say_nothing_share_what_is_equally_likely():
    """Patterns without variation leave the training labels' frequencies; answers that tie are not decided by rounding."""
    item = np.arange(40)
    label = np.array([0, 1, 2, 3] * 10)
    candidates = np.ones((40, 4), bool)
    candidates[:, 3] = label == 3
    folds = (item // 4 % 5)[None]  # every training set has 8 of each label
    for allowed in (None, candidates):
        found = classify(np.full((40, 6), 0.3), label, item, folds, candidates=allowed)
        expected = np.full(40, 0.25) if allowed is None else np.where(label == 3, 1 / 4, 1 / 3)
        np.testing.assert_allclose(found.score, expected, rtol=1e-12)
        np.testing.assert_allclose(found.base, expected, rtol=1e-12)
    merged = np.where(label == 3, 0, label)  # 0 is twice as frequent as 1 and 2 in every training set
    np.testing.assert_array_equal(classify(np.full((40, 6), 0.3), merged, item, folds).score, merged == 0)


def test_gain_is_paired():
    rng = np.random.default_rng(4)
    before, label, item = crossed(rng, strength=0.0)
    after = before + 2 * np.eye(12)[label]
    folds = grouped_folds(item, rng=rng)
    low, high = (classify(x, label, item, folds, penalties=(10.0,)) for x in (before, after))
    gain = probe_gain(high, low, item)
    assert gain.low > 0.2
    assert gain.estimate == pytest.approx(high.score.mean() - low.score.mean())
    assert probe_gain(low, low, item).estimate == 0


def test_a_planted_slope_is_read():
    rng = np.random.default_rng(5)
    item = np.repeat(np.arange(40), 3)
    slope = rng.normal(size=40)[item]
    x = slope[:, None] * np.ones(8) + rng.normal(size=(120, 8))
    folds = grouped_folds(item, rng=rng)
    good, bad = (estimate_value(v, slope, item, folds) for v in (x, rng.normal(size=(120, 8))))
    assert probe_score(good, item, rng=rng).estimate == pytest.approx(
        8 / 9, abs=0.06
    )  # signal 64, noise 8: R2 = 64 / 72
    assert probe_score(bad, item, rng=rng).estimate < 0.05
    assert probe_gain(good, bad, item).low > 0.2


def test_candidates_bound_the_answer():
    """Patterns show which two labels are present, not which is asked: chance, although the label is far from chance unbounded."""
    rng = np.random.default_rng(6)
    item = np.arange(192)
    pair = np.array(list(itertools.permutations(range(4), 2)) * 16)
    present = np.zeros((192, 4), bool)
    present[np.arange(192)[:, None], pair] = True
    label = pair[:, 0]
    x = present @ rng.normal(size=(4, 10)) * 3 + rng.normal(size=(192, 10))
    folds = grouped_folds(item, rng=rng, labels=label)
    free = classify(x, label, item, folds, penalties=(10.0,))
    bound = classify(x, label, item, folds, candidates=present, penalties=(10.0,))
    assert probe_score(free, item, rng=rng).low > 0.1
    one = probe_score(bound, item, rng=rng)
    assert one.low < 0 < one.high
    asked = classify(x + 4 * rng.normal(size=(4, 10))[label], label, item, folds, candidates=present, penalties=(10.0,))
    assert probe_score(asked, item, rng=rng).low > 0.2


def test_a_frequent_label_is_no_knowledge():
    rng = np.random.default_rng(10)
    item = np.arange(150)
    label = (rng.random(150) < 0.25).astype(int)
    reading = classify(
        rng.normal(size=(150, 5)), label, item, grouped_folds(item, rng=rng, labels=label), penalties=(1e3,)
    )
    assert reading.score.mean() > 0.65
    assert probe_score(reading, item, rng=rng).estimate < 0.03


def test_always_right_is_not_certain():
    rng = np.random.default_rng(11)
    x, label, item = crossed(rng, strength=20.0)
    folds = grouped_folds(item, rng=rng)
    reading = classify(x, label, item, folds, penalties=(0.1,))
    one = probe_score(reading, item, rng=rng)
    assert reading.score.min() == 1.0
    assert one.low == pytest.approx(binomtest(30, 30).proportion_ci().low - reading.base.mean())
    assert probe_gain(reading, reading, item).high == pytest.approx(binomtest(0, 30).proportion_ci().high)


def test_sharing_folds_widens_an_interval():
    """Nadeau and Bengio: over 5 folds the variance is 1 + 5/4 times that of values read by themselves; t shrinks by its root."""
    rng = np.random.default_rng(3)
    x, label, item = crossed(rng, strength=0.3)
    reading = classify(x, label, item, grouped_folds(item, rng=rng, labels=label), penalties=(10.0,))
    alone = clustered_mean(reading.score, item, null=1 / 3)
    one = refitted(alone, reading, null=1 / 3)
    assert one.estimate == alone.estimate
    assert one.high - one.low == pytest.approx(1.5 * (alone.high - alone.low))
    df = alone.n_units - 1
    assert t.isf(one.p / 2, df) == pytest.approx(t.isf(alone.p / 2, df) / 1.5)


@pytest.mark.slow
def test_noise_is_seldom_read():
    """Without the widening .10 to .13 of these p values are at most .05."""
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        item = np.arange(36)
        label = rng.permutation(item % 2)
        sides = rng.normal(size=(2, 36, 16))
        folds = grouped_folds(item, rng=rng, labels=label)
        high, low = (classify(x, label, item, folds, penalties=(10.0,)) for x in sides)
        found.append((probe_score(high, item, rng=rng).p, probe_gain(high, low, item).p))
    rejected = (np.array(found) <= 0.05).sum(axis=0)
    assert (binom.sf(rejected - 1, 150, 0.05) > 0.001).all(), rejected


def test_nulls_keep_the_design():
    rng = np.random.default_rng(7)
    _, label, item = crossed(rng, strength=1.0)
    shuffled = shuffled_among_items(label, item, rng=rng)
    assert np.array_equal(np.bincount(shuffled), np.bincount(label))
    assert all(len(set(shuffled[item == i])) == 1 for i in range(30))
    candidates = rng.random((120, 3)) < 0.6
    candidates[:, 0] = True
    redrawn = redrawn_among_candidates(candidates, np.arange(3), item, rng=rng)
    assert candidates[np.arange(120), redrawn].all()


def test_controls_attach_to_a_word_that_recurs():
    rng = np.random.default_rng(8)
    _, label, item = crossed(rng, strength=1.0)
    folds = grouped_folds(item, rng=rng)
    word = np.arange(120) % 7
    control = control_labels(word, label, rng=rng)
    assert all(len(set(control[word == w])) == 1 for w in range(7))
    recurring(word, folds)
    with pytest.raises(InputError, match="one fold only"):
        recurring(item, folds)
    shown = np.eye(7)[word] + 0.1 * rng.normal(size=(120, 7))
    assert (
        probe_score(classify(shown, control, item, folds, penalties=(10.0,)), item, rng=rng).estimate > 0.3
    )  # learnable, as a control must be


def test_what_cannot_be_read():
    rng = np.random.default_rng(9)
    x, label, item = crossed(rng, strength=1.0)
    folds = grouped_folds(item, rng=rng)
    with pytest.raises(InputError, match="at least two classes"):
        classify(x, label * 0, item, folds)
    with pytest.raises(InputError, match="fewer items than folds"):
        grouped_folds(np.arange(3), rng=rng)
    with pytest.raises(InputError, match="target that varies"):
        estimate_value(x, np.ones(120), item, folds)
    with pytest.raises(InputError, match="vary within an item"):
        shuffled_among_items(np.arange(120), item, rng=rng)
    with pytest.raises(InputError, match="outside their candidates"):
        classify(x, label, item, folds, candidates=np.zeros((120, 3), bool))
