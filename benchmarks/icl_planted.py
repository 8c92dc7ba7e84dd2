"""Planted geometry over many seeds: recovery, coverage, and how often the twin and pure noise are taken for a finding (B2.5).

    python -m benchmarks.icl_planted [--quick] [--seeds 2000]

recovery   alignment measured in the model minus the alignment of the codes that were planted (largest difference)
coverage   share of 95% jackknife intervals that hold the mean alignment over all seeds, 25 items (2,000 seeds: 92.5 to 97.5%).
           Near the largest value that a hypothesis of two levels allows (.65 here) it falls: .79 at .61 (spread .3, 150 seeds)
twin       share of p <= .05 (permutation of items) for hypotheses that the twin's clusters do not follow
noise      the same for patterns without structure: alignment, before/after, and the attention ratio's max-T with recency
"""

import argparse

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import binomtest

from mnemoscope.data.prompt import Prompt
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import view
from mnemoscope.reference import planted
from mnemoscope.reference.planting.build import Planted
from mnemoscope.stats.maxt import redraw_max_t
from mnemoscope.stats.rdm import differs, rdm
from mnemoscope.stats.rsa import Alignment, align
from mnemoscope.stats.rsa_paired import before_after
from mnemoscope.studies.icl.inside import inside
from mnemoscope.studies.icl.ratio_summary import _versions

SPREAD = 0.5  # of the items' own deviations: alignment .41 of the .65 that five clusters of five can reach
LEVEL = 3  # behind block 2, which writes the codes
PERMUTATIONS = 199


def states(made: Planted, prompts: list[Prompt]) -> Float[np.ndarray, "prompt d"]:
    """The last token's vector where the codes were planted, as the study reads it."""
    lm = view(made.model, made.tokenizer)
    found = inside(lm, tokenize(lm, prompts), (("all", "last"),))
    return found.vectors["all", "last"][LEVEL].astype(float)


def measured(kind: str, seed: int, hypothesis: str, *, n_perm: int) -> tuple[Alignment, float]:
    """Alignment behind examples in a planted model, and that of its realised codes."""
    made = planted(kind, seed=seed, draws=1, spread=SPREAD)
    own = [p for p in made.prompts if p.labels["example"]]
    label, item = (np.array([str(p.labels[name]) for p in own]) for name in (hypothesis, "item"))
    rng = np.random.default_rng(seed)
    found = align(rdm(states(made, own))[None], differs(label), item, rng=rng, n_perm=n_perm)
    names = [f"{name}/{activity}" for name, activity, _ in made.truth.facts["items"]]
    codes = np.array(made.truth.facts["item_codes"]["with"])[[names.index(one) for one in item]]
    true = align(rdm(codes)[None], differs(label), item, rng=rng, n_perm=0)
    return found, float(true.cells.estimate[0])


def share(hits: list[bool]) -> str:
    """A share with its exact interval."""
    exact = binomtest(sum(hits), len(hits)).proportion_ci(method="exact")
    return f"{np.mean(hits):.3f} [{exact.low:.3f}, {exact.high:.3f}] of {len(hits)}"


def noise(seed: int) -> tuple[float, float, float]:
    """p of an alignment, of a before/after test and of the attention ratio (smallest over heads) where there is nothing."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(25), 2)
    names = differs(item // 5)
    before, after = rng.normal(size=(2, 50, 12))
    one = align(rdm(after)[None], names, item, rng=rng, n_perm=PERMUTATIONS)
    two = before_after([(before, after)], names, item, rng=rng, n_perm=PERMUTATIONS)
    recency = np.exp(np.array([0.0, 0.5, 1.5]) + rng.normal(0, 0.5, (36, 4, 3)))
    _, versions = _versions(recency, np.arange(36) % 3)
    heads = redraw_max_t(versions, rng=rng, n_perm=PERMUTATIONS, side="two-sided")
    return float(one.p[0]), float(two.p[0]), float(np.nanmin(heads.p))


def main() -> None:
    """Print one line for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 seeds")
    parser.add_argument("--seeds", type=int, default=2000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(40 if asked.quick else asked.seeds)
    found = [measured("geometry", seed, "activity", n_perm=0) for seed in seeds]
    values = np.array([float(one.cells.estimate[0]) for one, _ in found])
    print(f"recovery: largest difference {max(abs(v - t) for v, (_, t) in zip(values, found, strict=True)):.4f}")
    held = [bool(one.cells.low[0] <= values.mean() <= one.cells.high[0]) for one, _ in found]
    print(f"coverage of the mean alignment {values.mean():.3f}: {share(held)}")
    for hypothesis in ("name", "activity"):
        p = [float(measured("geometry_twin", seed, hypothesis, n_perm=PERMUTATIONS)[0].p[0]) for seed in seeds]
        print(f"twin, {hypothesis}: p <= .05 in {share([one <= 0.05 for one in p])}")
    drawn = np.array([noise(seed) for seed in seeds])
    for name, p in zip(("alignment", "before/after", "attention ratio, max-T"), drawn.T, strict=True):
        print(f"noise, {name}: p <= .05 in {share([bool(one <= 0.05) for one in p])}")


if __name__ == "__main__":
    main()
