"""Planted geometry over many seeds: recovery, and how often the twin and pure noise are taken for a finding (B2.5).

    python -m benchmarks.icl_planted [--models 100] [--seeds 2000] [--sets 1000] [--only geometry twin noise] [--write]

geometry   in models: alignment of what the study reads minus that of the codes which were planted, both centred (standardising
           depends on the axes), largest difference. In the codes alone, which are then as good: the share of 95% intervals that
           hold the mean alignment over all seeds: 25 items in five clusters of five, one prompt each, behind examples
twin       p of hypotheses that the twin's clusters do not follow, as the study tests them: names moved within activity and the
           reverse; alignment behind examples, and its rise from the same passages without
noise      the same where there is nothing: alignment in three layers (max-T), its rise, the rise of a mean over layers
           (two-sided), the attention ratio with recency in four heads (max-T), a probe, its gain, and a link

Judged is the exact binomial interval of the share of p <= .05, which includes .05 or lies below it, and the largest
excess of the distribution of p over the uniform one, which is at most .05. One p per independent data set.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import binomtest

from benchmarks.machine import machine, options, table
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import view
from mnemoscope.reference import planted
from mnemoscope.reference.planting import geometry as geometry_of
from mnemoscope.reference.planting.noise import DEFAULT, spoiled
from mnemoscope.reference.planting.plan import dice
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.maxt import redraw_max_t
from mnemoscope.stats.probe import classify, grouped_folds
from mnemoscope.stats.probe_scores import probe_gain, probe_score
from mnemoscope.stats.rdm import differs, rdm
from mnemoscope.stats.rsa import align
from mnemoscope.stats.rsa_layers import layer_alignments, mean_over_layers
from mnemoscope.stats.rsa_paired import before_after
from mnemoscope.studies.icl.inside import inside
from mnemoscope.studies.icl.link_summary import slopes
from mnemoscope.studies.icl.ratio_summary import _versions

SPREAD = 0.5  # of the items' own deviations: alignment .41 of the .65 that five clusters of five can reach
LEVEL = 3  # behind block 2, which writes the codes
PERMUTATIONS = 199
P = dict[str, float]
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, eq=False)
class Codes:
    """What was planted for every item: its name and activity, its code without and behind an example, noise included."""

    name: np.ndarray
    activity: np.ndarray
    before: Float[np.ndarray, "item cluster"]
    after: Float[np.ndarray, "item cluster"]

    @property
    def item(self) -> np.ndarray:
        """Names of items."""
        return np.char.add(np.char.add(self.name, "/"), self.activity)


def codes(seed: int, *, twin: bool = False) -> Codes:
    """The circuit of `planted("geometry", seed=seed, spread=SPREAD, draws=1)`, without building the model."""
    rngs = dice(seed)
    made = geometry_of.plan(geometry_of.Sizes(draws=1, spread=SPREAD), rngs, twin=twin)
    real: Any = made.realised(spoiled(made.circuit, sigma=DEFAULT, rng=rngs.noise))["item_codes"]
    name, activity, _ = (np.array(column).astype(str) for column in zip(*made.facts["items"], strict=True))
    return Codes(name=name, activity=activity, before=np.array(real["without"]), after=np.array(real["with"]))


def recovered(seed: int) -> float:
    """Alignment with activities of centred vectors behind examples minus that of the planted codes."""
    made = planted("geometry", seed=seed, draws=1, spread=SPREAD)
    own = [p for p in made.prompts if p.labels["example"]]
    lm = view(made.model, made.tokenizer)
    read = inside(lm, tokenize(lm, own), (("all", "last"),)).vectors["all", "last"][LEVEL].astype(float)
    label, item = (np.array([str(p.labels[name]) for p in own]) for name in ("activity", "item"))
    true = codes(seed)
    place = {one: i for i, one in enumerate(true.item)}
    behind = true.after[[place[one] for one in item]]
    both = np.stack([rdm(x - x.mean(0), standardise=False) for x in (read, behind)])
    found = align(both, differs(label), item, rng=np.random.default_rng(seed), n_perm=0).cells.estimate
    return float(found[0] - found[1])


def geometry(seed: int) -> Estimate:
    """Alignment of the planted codes behind examples with activities."""
    one = codes(seed)
    found = align(rdm(one.after)[None], differs(one.activity), one.item, rng=np.random.default_rng(seed), n_perm=0)
    return found.cells.at(0)


def twin(seed: int) -> P:
    """p values of both hypotheses in the negative twin."""
    one = codes(seed, twin=True)
    found: P = {}
    for name, label, strata in (("name", one.name, one.activity), ("activity", one.activity, one.name)):
        rng, h = np.random.default_rng(seed), differs(label)
        high = align(rdm(one.after)[None], h, one.item, rng=rng, strata=strata, n_perm=PERMUTATIONS)
        rise = before_after([(one.before, one.after)], h, one.item, rng=rng, n_perm=PERMUTATIONS)
        found |= {f"{name}: alignment": float(high.p[0]), f"{name}: its rise": float(rise.p[0])}
    return found


def noise(seed: int) -> P:
    """p values where there is nothing: 25 items of two prompts, 12 dimensions, three layers."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(25), 2)
    names = differs(item // 5)
    before, after = rng.normal(size=(2, 3, 50, 12))
    rdms = [np.stack([rdm(x) for x in side]) for side in (before, after)]
    one = align(rdms[1], names, item, rng=rng, n_perm=PERMUTATIONS)
    two = before_after(list(zip(before, after, strict=True)), names, item, rng=rng, n_perm=PERMUTATIONS)
    low, high = (layer_alignments(x, names, item, rng=rng) for x in rdms)
    recency = np.exp(np.array([0.0, 0.5, 1.5]) + rng.normal(0, 0.5, (36, 4, 3)))
    heads = redraw_max_t(_versions(recency, np.arange(36) % 3)[1], rng=rng, n_perm=PERMUTATIONS, side="two-sided")
    return {
        "alignment, max-T over layers": float(np.nanmin(one.p)),
        "its rise, max-T over layers": float(np.nanmin(two.p)),
        "rise of the mean over layers": mean_over_layers([(1.0, high), (-1.0, low)], n=len(names)).p,
        "attention ratio, max-T over heads": float(np.nanmin(heads.p)),
        **_probed(before[0], after[0], item, rng),
        "link": slopes(*rng.normal(size=(2, 100)), np.tile(item, 2), rng=rng, centred=True)[0].p,
    }


def _probed(before: np.ndarray, after: np.ndarray, item: np.ndarray, rng: np.random.Generator) -> P:
    """Which of three candidates is asked, read from noise; and its gain."""
    label = np.repeat(rng.permutation(np.arange(25) % 5), 2)  # every class occurs
    allowed = rng.random((50, 5)).argsort(1) < 2
    allowed[np.arange(50), label] = True
    folds = grouped_folds(item, n_folds=4, rng=rng, labels=label)
    low, high = (classify(x, label, item, folds, candidates=allowed, penalties=(10.0,)) for x in (before, after))
    return {"probe": probe_score(high, item, rng=rng).p, "its gain": probe_gain(high, low, item).p}


def share(hits: np.ndarray) -> str:
    """A share with its exact interval."""
    exact = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
    return f"{hits.mean():.3f} [{exact.low:.3f}, {exact.high:.3f}]"


def excess(p: Float[np.ndarray, " set"]) -> float:
    """sup (F(p) - p)."""
    ordered = np.sort(p)
    return float((np.arange(1, len(p) + 1) / len(p) - ordered).max())


def calibrated(drawn: list[P]) -> Iterator[tuple[str, str, str, str, str]]:
    """name, sets, share of p <= .05, sup(F(p) - p), verdict."""
    for name in drawn[0]:
        p = np.array([one[name] for one in drawn])
        p = p[~np.isnan(p)]
        low = binomtest(int((p <= 0.05).sum()), len(p)).proportion_ci(method="exact").low
        good = low <= 0.05 and excess(p) <= 0.05
        yield name, str(len(p)), share(p <= 0.05), f"{excess(p):.3f}", "yes" if good else "NO"


def mapped(one: Callable[[int], Found], count: int, processes: int) -> list[Found]:
    """One result per seed, in order."""
    if processes == 1:
        return [one(seed) for seed in range(count)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(one, range(count), chunksize=10))


def part(name: str, asked: argparse.Namespace) -> str:
    """What one question gave."""
    if name != "geometry":
        head = ("question", "data sets", "p <= .05", "sup(F(p) - p)", "as asked")
        drawn = mapped({"twin": twin, "noise": noise}[name], asked.sets, asked.processes)
        return table(head, list(calibrated(drawn)))
    found = mapped(geometry, asked.seeds, asked.processes)
    mean = np.mean([one.estimate for one in found])
    held = np.array([one.low <= mean <= one.high for one in found if not one.reason])
    off = max(abs(one) for one in mapped(recovered, asked.models, asked.processes))
    return (
        f"largest difference of {asked.models} models from the planted codes {off:.1e}; mean alignment {mean:.3f}, in the "
        f"interval {share(held)} of {len(held)} ({len(found) - len(held)} have none)"
    )


def main() -> None:
    """Print each part as it is done, and with --write add it to RESULTS.md."""
    parser = options(__doc__)
    parser.add_argument("--models", type=int, default=100, help="built to see that they hold the codes")
    parser.add_argument("--seeds", type=int, default=2000, help="of geometry")
    parser.add_argument("--sets", type=int, default=1000, help="of twin and noise")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", default=["geometry", "twin", "noise"], choices=["geometry", "twin", "noise"]
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    texts = [f"\n## icl_planted, {asked.seeds} seeds, {asked.sets} sets\n\n{machine()}\n"]
    print(texts[0], flush=True)
    for name in asked.only:
        texts.append(f"\n### {name}\n\n{part(name, asked)}\n")
        print(texts[-1], flush=True)
    if asked.write:
        with Path(__file__).with_name("RESULTS.md").open("a") as file:
            file.write("".join(texts))


if __name__ == "__main__":
    main()
