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
from mnemoscope.engine.tolerance import sweep_floor, tolerance
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

    def __str__(self) -> str:
        if self.path == "slow":
            return f"slow path ({self.reason})"
        worst = max(self.control, self.largest if self.rows else 0.0)
        return f"fast path, differences <= {worst:.1e} (rows recomputed: {self.rows}; rounding: {self.tolerance:.1e})"


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


class Judge:
    """Compares descents with what they must equal, and remembers the largest differences. share: a descent's part of the sweep."""

    def __init__(self, lm: LM, base: Batch, *, n_sources: int, share: float) -> None:
        self.lm, self.n_sources, self.share = lm, n_sources, share
        self.floor = sweep_floor(lm, base)
        self.seen: set[tuple[str, str]] = set()
        self.rows, self.largest, self.control, self.scale, self.credit = 0, 0.0, 0.0, 0.0, 0.0

    def objection(
        self,
        found: Float[np.ndarray, "row prompt token"],
        cells: Sequence[Cell],
        length: int,
        batch: Batch,
        context: Context,
        asked: Question,
        base: Float[np.ndarray, "prompt token"],
    ) -> str:
        """Why a descent is not to be believed; "" if it is.

        found: metrics of its control row, then of its cells, over the last `length` positions. base: metrics of the unpatched run.
        """
        pairs = sample(cells, len(batch), most=self._rows(batch, cells, length), seen=self.seen)
        self.control = max(self.control, _largest(found[0], base))
        if pairs:
            slow, scale = slow_values(self.lm, batch, [(cells[cell], prompt) for cell, prompt in pairs], context, asked)
            fast = np.stack([found[1 + cell, prompt] for cell, prompt in pairs])
            self.rows += len(pairs)
            self.scale = max(self.scale, scale)
            self.largest = max(self.largest, _largest(slow, fast))
        if max(self.largest, self.control) <= self.allowed:
            return ""
        return (
            f"descent and slow path differ by {self.largest:.3g}, control rows and base run by {self.control:.3g}; "
            f"{self.allowed:.3g} is rounding"
        )

    def _rows(self, batch: Batch, cells: Sequence[Cell], length: int) -> int:
        """How many rows of a part may be recomputed; what is not spent is kept for the next part."""
        n_layers = self.lm.n_layers
        depth = sum(n_layers - min(patch.start for patch in cell) for cell in cells)
        recordings = (1 + self.n_sources) * batch.ids.numel() * n_layers * self.share
        slow = SLOWER * batch.ids.shape[1] * n_layers
        self.credit += SHARE * (recordings + length * len(batch) * depth) / slow
        rows = min(MOST_ROWS - self.rows, max(int(self.credit), 0 if self.rows else 1))
        self.credit = max(0.0, self.credit - rows)
        return rows

    @property
    def allowed(self) -> float:
        """The tolerance."""
        return tolerance(self.floor, self.lm.dtype, self.scale)

    def verdict(self) -> Verification:
        """The record."""
        return Verification(
            path="fast",
            reason="",
            rows=self.rows,
            largest=self.largest if self.rows else float("nan"),
            control=self.control,
            floor=self.floor,
            tolerance=self.allowed,
        )


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    """Largest absolute difference; what is nan on both sides is equal, nan on one side is infinitely far."""
    if (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    return float(np.nan_to_num(np.abs(a - b), nan=0.0).max(initial=0.0))
