"""A sweep proves itself: control rows must be the base run, and some rows are recomputed the slow way.

Rows are chosen without chance: every (site, op) of the chunk first, then evenly over its cells in the order of layers,
the prompts in turn. Their number is at most 32 per sweep and at most a tenth of its work, but never none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from mnemoscope.engine.chunks import select
from mnemoscope.engine.edit import Context, Edit, Key, compiled
from mnemoscope.engine.metric import Question, averaged, of_logits
from mnemoscope.engine.plan import Cell
from mnemoscope.engine.slow import logits_at
from mnemoscope.engine.unembedding import n_words
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

MOST_ROWS = 32
SHARE = 0.1
SLOWER = 2.0  # what a token costs in the slow path's small batches against one in a descent (measured: 1.8)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How a sweep was computed and what it was compared with.

    path      "fast" (descent) or "slow" (whole forward passes)
    reason    why the slow path was taken; "" on the fast one
    rows      patched rows recomputed the slow way
    largest   largest difference between them and the descent, in units of the metric; nan without rows
    control   largest difference between unpatched rows of the descents and the base run; nan on the slow path
    floor     noise floor of the unmodified model on such prompts
    tolerance largest difference that counts as rounding
    """

    path: str
    reason: str
    rows: int
    largest: float
    control: float
    floor: float
    tolerance: float


def sample(cells: Sequence[Cell], n_prompts: int, *, most: int, seen: set[tuple[str, str]]) -> list[tuple[int, int]]:
    """(cell, prompt) pairs to recompute. seen: (site, op) pairs that were recomputed before; extended in place."""
    fresh: dict[tuple[str, str], int] = {}
    for index, cell in enumerate(cells):
        for patch in cell:
            if (patch.site, patch.op) not in seen:
                fresh.setdefault((patch.site, patch.op), index)
    seen.update(fresh)
    even = np.unique(np.linspace(0, len(cells) - 1, max(0, most)).round().astype(int)).tolist() if most else []
    chosen = list(dict.fromkeys([*fresh.values(), *even]))
    return [(cell, (i * 7 + 3) % n_prompts) for i, cell in enumerate(chosen[: max(most, len(fresh))])]


def slow_values(
    lm: LM, batch: Batch, rows: Sequence[tuple[Cell, int]], context: Context, asked: Question
) -> tuple[Float[np.ndarray, "row token"], float]:
    """The metric of (cell, prompt) rows, each a whole forward pass of the model; and the largest |logit| seen."""
    prompts = np.array([prompt for _, prompt in rows])
    edits: dict[Key, list[Edit]] = {}
    for row, (cell, prompt) in enumerate(rows):
        own = compiled([cell], context.of(np.array([prompt])), first_row=row, shift=np.zeros(1, dtype=np.int64))
        for key, found in own.items():
            edits.setdefault(key, []).extend(found)
    some = asked.of(prompts)
    logits = logits_at(lm, select(batch, prompts), edits, some.read)
    foils = None if some.foils is None else torch.from_numpy(some.foils).to(logits.device)
    targets = torch.from_numpy(some.targets).to(logits.device)
    found = of_logits(logits, targets, foils, some.metric, n_words(lm))
    scale = max(float(logits.abs().max()), float(found.abs().max()))  # a log probability of flat logits is log V, not 0
    return averaged(found.cpu().numpy()[None], some)[0], scale
