"""Three levels of in-context learning at every checkpoint of a training run; seconds, on a CPU.

    python examples/emergence.py [MODEL]          MODEL: a folder of checkpoints, or reference (bundled, the default)

Asks a few texts and word-pair prompts of every checkpoint, and looks at the strongest induction head. The whole study, with
intervals, onsets, the relation index and its controls: mnemoscope run emergence MODEL
"""

import sys

import numpy as np

from mnemoscope.measures.icl_levels import label_scores, label_sets, narratives, text_losses
from mnemoscope.measures.induction import induction_scores, repeated_tokens
from mnemoscope.runner.source import source_of
from mnemoscope.studies.emergence.revisions import checkpoints


def main() -> None:
    """Print one line per checkpoint."""
    models = source_of(sys.argv[1] if len(sys.argv) > 1 else "reference").models()
    texts = narratives(4, seed=0)
    prompts = label_sets(
        "binary_fruit_month", 6, seed=0, shots=(20,)
    )  # 24 prompts, half of them right by guessing a label
    print("step      loss  late - early  format  pattern  strongest prefix matching")
    for one in checkpoints(None, models(), most=8):
        lm = models(one.revision)
        losses, labels = text_losses(lm, texts), label_scores(lm, prompts)
        heads = induction_scores(lm, repeated_tokens(lm, 4, seed=0))["prefix_matching"].values.mean(0)
        layer, head = np.unravel_index(np.nanargmax(heads), heads.shape)
        print(
            f"{one.step:<8} {losses.loss.mean():5.2f}  {losses.reduction.mean():+12.2f}  {labels.format.mean():6.2f}  "
            f"{labels.pattern.mean():7.2f}  L{layer}H{head} {heads[layer, head]:.2f}"
        )


if __name__ == "__main__":
    main()
