"""Are the p values and intervals of `mnemoscope.stats` what they say (methods B2.5)? Simulated null data sets and planted truths.

Every scenario makes one data set from a generator and returns one p value (true null) or whether the interval held the truth. 1,000
data sets for p, 2,000 for coverage. `tests/stats/test_calibrated.py` runs five of them at these sizes; here is everything.
Run: python benchmarks/calibration.py [--only NAME] [--scale 1.0]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.correlation import correlate
from mnemoscope.stats.cross_products import weights
from mnemoscope.stats.links import within_slope
from mnemoscope.stats.maxt import label_max_t, redraw_max_t, sign_flip_max_t
from mnemoscope.stats.permutation import sign_flip_test
from mnemoscope.stats.probe import classify, grouped_folds
from mnemoscope.stats.probe_controls import shuffled_among_items
from mnemoscope.stats.rates import Calibration, judged_coverage, judged_p
from mnemoscope.stats.ratio import difference_of_ratios
from mnemoscope.stats.rdm import differs, numeric, rdm
from mnemoscope.stats.rsa import align
from mnemoscope.stats.rsa_paired import before_after

Rng = np.random.Generator


def skewed(rng: Rng, *shape: int) -> np.ndarray:
    """Mean 0, variance 1, skewness 2: what a share that is mostly 0 looks like."""
    return rng.exponential(size=shape) - 1


def max_t_family(rng: Rng) -> float:
    """40 documents x 30 correlated cells of different support, skewed: smallest corrected p of the family."""
    x = skewed(rng, 40, 30) + skewed(rng, 40, 1)
    x[rng.random((40, 30)) < np.linspace(0, 0.6, 30)] = np.nan
    return float(np.nanmin(sign_flip_max_t(x, rng=rng, n_perm=99, min_units=10).p))


def max_t_family_two_sided(rng: Rng) -> float:
    """The same, two-sided: skewness works against the lower tail."""
    x = skewed(rng, 40, 30) + skewed(rng, 40, 1)
    return float(np.nanmin(sign_flip_max_t(x, rng=rng, n_perm=99, side="two-sided").p))


def max_t_redrawn(rng: Rng) -> float:
    """20 documents, tails redrawn among 5 candidates, jointly for 20 cells, very skewed shares."""
    shares = rng.random((5, 20, 20)) ** 6
    return float(np.nanmin(redraw_max_t(shares - shares.mean(axis=0), rng=rng, n_perm=99).p))


def max_t_labels(rng: Rng) -> float:
    """30 treated against 30, skewed, unequal variances between strata."""
    stratum = np.arange(60) % 2
    x = skewed(rng, 60, 20) * (1 + 2 * stratum[:, None])
    return float(np.nanmin(label_max_t(x, rng.permutation(np.arange(60) < 30), stratum, rng=rng, n_perm=99).p))


def sign_flips(rng: Rng) -> float:
    """One cell, 15 clusters of unequal size."""
    cluster = rng.integers(0, 15, 60)
    return sign_flip_test(rng.normal(size=15)[cluster] + skewed(rng, 60), cluster, rng=rng, n_perm=199).p


def rsa_lines(rng: Rng) -> float:
    """12 lines x 3 prompts; lines differ, but not by their slopes: smallest p over 2 layers."""
    line = np.repeat(np.arange(12), 3)
    slope = rng.choice([-20.0, -5, 5, 20], 12)
    own = rng.normal(size=(2, 12, 10))
    rdms = np.stack([rdm(own[k][line] + 0.5 * rng.normal(size=(36, 10))) for k in range(2)])
    return float(align(rdms, numeric(slope[line]), line, rng=rng, n_perm=99).p.min())


def rsa_lines_with_nuisance(rng: Rng) -> float:
    """The geometry is prompt length, which differs between lines: partial correlation, lines permuted."""
    line = np.repeat(np.arange(12), 3)
    length = rng.integers(5, 25, 12)[line] + rng.integers(0, 5, 36)
    x = length[:, None] / 5 * np.ones(10) + rng.normal(size=(36, 10))
    hypothesis, control = numeric(rng.normal(size=12)[line]), numeric(length)[None]
    return float(align(rdm(x)[None], hypothesis, line, rng=rng, nuisances=control, n_perm=99).p[0])


def rsa_names(rng: Rng) -> float:
    """6 names x 6 activities; geometry follows activities only, names permuted within activity."""
    name, activity = (v.ravel() for v in np.meshgrid(np.arange(6), np.arange(6)))
    x = 2 * rng.normal(size=(6, 10))[activity] + rng.normal(size=(36, 10))
    return float(align(rdm(x)[None], differs(name), np.arange(36), rng=rng, strata=activity, n_perm=99).p[0])


def rsa_before_after(rng: Rng) -> float:
    """Both conditions carry the hypothesis equally, the second shifted and scaled for all prompts alike; 2 layers."""
    item = np.repeat(np.arange(14), 2)
    value = rng.normal(size=14)[item]
    layers = []
    for _ in range(2):
        shared = value[:, None] * np.ones(8) + rng.normal(size=(14, 8))[item]
        one, two = shared + rng.normal(size=(28, 8)), shared + rng.normal(size=(28, 8))
        layers.append((one, 3 * two + 5))
    return float(before_after(layers, numeric(value), item, rng=rng, n_perm=99).p.min())


def probe_null(rng: Rng) -> float:
    """Items with patterns of their own and random labels: accuracy against labels shuffled among items."""
    item = np.repeat(np.arange(20), 3)
    x, label = rng.normal(size=(20, 6))[item] + 0.5 * rng.normal(size=(60, 6)), rng.permutation(np.arange(20) % 2)[item]
    folds = grouped_folds(item, n_folds=4, rng=rng)

    def accuracy(labels: np.ndarray) -> float:
        return float(classify(x, labels, item, folds, penalties=(10.0,)).score.mean())

    seen = accuracy(label)
    null = [accuracy(shuffled_among_items(label, item, rng=rng)) for _ in range(19)]
    return (1 + sum(value >= seen - 1e-12 for value in null)) / 20


def held(low: float, truth: float, high: float) -> bool:
    return bool(low <= truth <= high)


def clustered_t(rng: Rng) -> bool:
    """Mean 1 of 25 clusters of unequal size, skewed cluster effects; estimand: the mean of the event distribution."""
    cluster = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    one = clustered_mean(1 + skewed(rng, 25)[cluster] + rng.normal(size=len(cluster)), cluster)
    return held(one.low, 1.0, one.high)


def clustered_bootstrap(rng: Rng) -> bool:
    """The same, studentised bootstrap of clusters."""
    cluster = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    x = 1 + skewed(rng, 25)[cluster] + rng.normal(size=len(cluster))
    one = bootstrap_ratio(x, None, cluster, rng=rng, n_boot=399)
    return held(one.low, 1.0, one.high)


def two_way_t(rng: Rng) -> bool:
    """600 events of 40 documents and 30 tail types of uneven frequency; both have effects."""
    doc, tail = rng.integers(0, 40, 600), np.minimum(rng.geometric(0.08, 600) - 1, 29)
    one = clustered_mean(
        0.5 * rng.normal(size=40)[doc] + 0.5 * rng.normal(size=30)[tail] + rng.normal(size=600), doc, tail
    )
    return held(one.low, 0.0, one.high)


def two_way_t_without_effects(rng: Rng) -> bool:
    """The same grouping, independent events: the two-way interval may be wide, not narrow."""
    doc, tail = rng.integers(0, 40, 600), rng.integers(0, 30, 600)
    one = clustered_mean(rng.normal(size=600), doc, tail)
    return held(one.low, 0.0, one.high)


def in_relations(rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Skewed values of 20 topics that two relations share and 12 of a third; relations differ by 4 and by 3."""
    relations = np.repeat(["a", "b", "c"], [20, 20, 12])
    topics = np.concatenate([np.arange(20), np.arange(20), np.arange(20, 32)])
    level = np.repeat([0.0, 4.0, -3.0], [20, 20, 12])
    values = level + skewed(rng, 32)[topics] + 0.5 * rng.standard_normal(52)
    return values, topics, relations, float(level.mean())


def stratified_t(rng: Rng) -> bool:
    """A mean over these relations; topics clustered across them, stratified by relation (B2.2)."""
    x, topics, relations, truth = in_relations(rng)
    one = clustered_mean(x, topics, strata=relations)
    return held(one.low, truth, one.high)


def stratified_bootstrap(rng: Rng) -> bool:
    """The same, studentised bootstrap within strata."""
    x, topics, relations, truth = in_relations(rng)
    one = bootstrap_ratio(x, None, topics, strata=relations, rng=rng, n_boot=399)
    return held(one.low, truth, one.high)


def ratio_studentised(rng: Rng) -> bool:
    """sum A / sum B = .5 over 30 topics."""
    b = rng.gamma(4, 1, 30)
    one = bootstrap_ratio(0.5 * b + rng.normal(0, 1, 30), b, np.arange(30), rng=rng, n_boot=399)
    return held(one.low, 0.5, one.high)


def recovery(rng: Rng) -> bool:
    """Transplant recovers .7, the neutral prefix .2, 40 items: difference .5."""
    gap = rng.normal(3, 1, 40)
    first, second = (share * gap + rng.normal(0, 0.5, 40) for share in (0.7, 0.2))
    one = difference_of_ratios((first, gap), (second, gap), np.arange(40), rng=rng, n_boot=399)
    return held(one.low, 0.5, one.high)


def correlation(rng: Rng) -> bool:
    """Pearson .5 over 50 topics with 2 rows each, BCa."""
    topic = np.repeat(np.arange(50), 2)
    x, e = rng.normal(size=(2, 50))
    one = correlate(x[topic], (0.5 * x + np.sqrt(0.75) * e)[topic], topic, rng=rng, kind="pearson", n_boot=199)
    return held(one.low, 0.5, one.high)


def within_item(rng: Rng) -> bool:
    """Slope .5 within 30 items of 4 rows, item effects in both variables."""
    item = np.repeat(np.arange(30), 4)
    effect, inside = rng.normal(size=(2, 30))[:, item], rng.normal(size=120)
    one = within_slope(effect[0] + inside, effect[1] + 0.5 * inside + rng.normal(size=120), item, rng=rng, n_boot=399)
    return held(one.low, 0.5, one.high)


def regression_weight(rng: Rng) -> bool:
    """w = .8 of one of three regressors, 15 topics x 5 templates x 8 dimensions, errors shared within topic."""
    topic = np.repeat(np.arange(15), 5)
    parts = rng.normal(size=(3, 15, 8))[:, topic] + rng.normal(size=(3, 75, 8))
    error = rng.normal(size=(15, 8))[topic] + rng.normal(size=(75, 8))
    by_topic = parts.reshape(3, 15, -1), (0.8 * parts[0] + error).reshape(15, -1)
    aa, am = np.einsum("ctn,etn->tce", by_topic[0], by_topic[0]), np.einsum("ctn,tn->tc", *by_topic)
    fit = weights(aa, am, (by_topic[1] ** 2).sum(axis=1), rng=rng, penalties=(0.0,))
    return held(fit.ols.low[0], 0.8, fit.ols.high[0])


def rsa_jackknife(rng: Rng) -> bool:
    """Alignment of one-dimensional geometry + noise with its hypothesis, 30 items of one prompt; euclidean, not standardised.

    Estimand: the limit for many items, TRUE_ALIGNMENT, measured once.
    """
    value = rng.normal(size=30)
    x = np.column_stack([value + 0.5 * rng.normal(size=30), 0.7 * rng.normal(size=30)])
    distances = rdm(x, metric="euclidean", standardise=False)[None]
    one = align(distances, numeric(value), np.arange(30), rng=rng, n_perm=1).cells
    return held(one.low[0], TRUE_ALIGNMENT, one.high[0])


TRUE_ALIGNMENT = 0.603  # rsa_jackknife's design; `true_alignment` averaged over 30 x 2,000 items, standard error .0016


def true_alignment(rng: Rng, n: int = 3000) -> float:
    from mnemoscope.stats.rsa import compare

    value = rng.normal(size=n)
    x = np.column_stack([value + 0.5 * rng.normal(size=n), 0.7 * rng.normal(size=n)])
    return compare(rdm(x, metric="euclidean", standardise=False), numeric(value))


NULLS: dict[str, Callable[[Rng], float]] = {
    f.__name__: f
    for f in (
        max_t_family,
        max_t_redrawn,
        rsa_lines,
        rsa_before_after,
        max_t_family_two_sided,
        max_t_labels,
        sign_flips,
        rsa_lines_with_nuisance,
        rsa_names,
        probe_null,
    )
}
TRUTHS: dict[str, Callable[[Rng], bool]] = {
    f.__name__: f
    for f in (
        clustered_t,
        clustered_bootstrap,
        two_way_t,
        two_way_t_without_effects,
        stratified_t,
        stratified_bootstrap,
        ratio_studentised,
        recovery,
        correlation,
        within_item,
        regression_weight,
        rsa_jackknife,
    )
}


def judge(name: str, data_sets: int, seed: int = 0) -> Calibration:
    """Run one scenario on independent data sets and judge it by B2.5."""
    children = np.random.SeedSequence([seed, *name.encode()]).spawn(data_sets)
    rngs = (np.random.default_rng(child) for child in children)
    if name in NULLS:
        return judged_p(np.array([NULLS[name](rng) for rng in rngs]))
    return judged_coverage(np.array([TRUTHS[name](rng) for rng in rngs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*NULLS, *TRUTHS])
    parser.add_argument("--scale", type=float, default=1.0)
    asked = parser.parse_args()
    for name in [asked.only] if asked.only else [*NULLS, *TRUTHS]:
        start = time.perf_counter()
        result = judge(name, int((1000 if name in NULLS else 2000) * asked.scale))
        print(
            f"{'ok ' if result.ok else 'BAD'} {name}: {result.reason} ({time.perf_counter() - start:.0f} s)", flush=True
        )


if __name__ == "__main__":
    main()
