"""What does an example change? A few passages, without and behind a solved example, in a model of your choice; seconds.

    python examples/icl.py [MODEL]          MODEL: hub id, folder, or reference (bundled, the default)

Reads the passages once, pools the residual vectors of every layer, compares their geometry with "prompts about the same
activity are alike", and looks where the last token looks. The whole study, with its controls: mnemoscope run icl MODEL
"""

import sys

import numpy as np

import mnemoscope as ms
from mnemoscope.measures.answering import answered
from mnemoscope.model.batch import tokenize
from mnemoscope.stats.rdm import differs, rdm
from mnemoscope.stats.rsa import align
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.inside import inside
from mnemoscope.studies.icl.prompts import prompts


def main() -> None:
    """Print answers, alignment per layer, and the attention ratio, without and behind an example."""
    lm = ms.load(sys.argv[1] if len(sys.argv) > 1 else "reference")
    every = prompts(Config(limit=4), lm, "passages")  # 4 names x 4 activities, twice
    for condition in ("none", "example"):
        own = [p for p in every if p.labels["condition"] == condition]
        found = inside(lm, tokenize(lm, own), (("all", "last"),))
        right = np.mean(
            [one.said.split(".")[0] + "." == p.answer for one, p in zip(answered(lm, own), own, strict=True)]
        )
        activity, item = (np.array([str(p.labels[name]) for p in own]) for name in ("activity", "item"))
        rdms = np.stack([rdm(x) for x in found.vectors["all", "last"][1:]])  # layer 0: one and the same last token
        cells = align(rdms, differs(activity), item, rng=np.random.default_rng(0), n_perm=200).cells
        layers = "  ".join(
            f"L{i + 1} {r:+.2f} (p {p:.3f})" for i, (r, p) in enumerate(zip(cells.estimate, cells.p, strict=True))
        )
        ratio = {layer: np.log(a[:, 0, 0] / a[:, 0, 1]).mean() for layer, a in found.attention.items()}
        print(f"{condition}: {right:.0%} right\n  alignment with the activity asked: {layers}")
        print("  log attention ratio: " + "  ".join(f"L{layer} {value:+.2f}" for layer, value in ratio.items()))


if __name__ == "__main__":
    main()
