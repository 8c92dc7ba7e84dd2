"""What fits in the budget: prompts are grouped so that a group's base and source runs fit, and cells so that their rows do.

Chunks follow from the plan and the budget alone, never from free memory: the same question is cut the same way wherever
it runs, so that a chunk that was finished yesterday is the chunk that is missing today.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from mnemoscope.errors import OptionError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason

UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
FEWEST_TOKENS = 512  # a descent of fewer row tokens reads the weights for too little work: merged with the next suffix
# Beyond, matrix products gain nothing. On a CPU the MLP's activations then also leave the caches and the allocator's heap
# (32 MiB blocks come from fresh pages every time: 18% of the time at 9216 tokens of GPT-2-small, 6% at 2560).
MOST_TOKENS = {"cpu": 2560, "cuda": 16384}


def most_tokens(lm: LM) -> int:
    """Tokens that go through the model at once, where more can be had."""
    return MOST_TOKENS.get(lm.device.type, MOST_TOKENS["cuda"])


def budget_bytes(budget: str | int) -> int:
    """Bytes of "1GiB", "500 MB" or a number."""
    if isinstance(budget, int):
        return budget
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", budget)
    if match is None or match[2].upper() not in UNITS:
        raise OptionError(f"budget {budget!r} is not a size", allowed="a number of bytes, or one with KiB, MiB, GiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Bytes: of one token inside a block, of one token kept per layer, and of one score per head."""

    token: int
    kept: int
    scores: int

    @classmethod
    def of(cls, lm: LM) -> "Costs":
        """Read off the sizes of the weights."""
        size = lm.dtype.itemsize
        widest = max((max(p.shape[-2:]) for p in lm.blocks[0].parameters() if p.ndim > 1), default=lm.d_model)
        shapes = [shape for shape in lm.shapes if shape is not None]
        kept = sum(size * shape.n_kv_heads * (shape.d_head + shape.d_value) for shape in shapes)
        heads = max((shape.n_heads for shape in shapes), default=1)
        return cls(token=size * (10 * lm.d_model + 5 * widest), kept=kept, scores=4 * 4 * heads)


def prompt_groups(lm: LM, batch: Batch, *, suffix: int, budget: int) -> list[Int[np.ndarray, " _"]]:
    """Prompts whose recordings fit in half the budget; of equal length where the model cannot be padded."""
    costs, width = Costs.of(lm), batch.ids.shape[1]
    streams = 2 * lm.dtype.itemsize * lm.d_model * (lm.n_layers + 1) * suffix
    each = width * (costs.token + costs.kept + width * costs.scores) + streams
    most = max(1, budget // 2 // each)
    lengths = batch.lengths.cpu().numpy()
    everyone = np.arange(len(batch))
    classes = [everyone]
    if batch.padded and padding_reason(lm, "right", width=width):
        classes = [everyone[lengths == n] for n in np.unique(lengths)]
    return [part for some in classes for part in np.array_split(some, -(-len(some) // most))]


def cell_groups(
    lm: LM, reach: Int[np.ndarray, " cell"], starts: Sequence[int], *, n_prompts: int, width: int, budget: int
) -> list[tuple[int, Int[np.ndarray, " _"]]]:
    """(suffix length, cells) of every descent: equal reach together, small ones merged upwards, cut to the budget."""
    costs = Costs.of(lm)
    order = np.lexsort((np.arange(len(reach)), np.array(starts), reach))
    groups: list[tuple[int, list[int]]] = []
    for length in np.unique(reach).tolist():
        cells = [int(i) for i in order if reach[i] == length]
        small = groups and groups[-1][0] * len(groups[-1][1]) * n_prompts < FEWEST_TOKENS
        before = groups.pop()[1] if small else []
        groups.append((length, before + cells))
    parts: list[tuple[int, Int[np.ndarray, " _"]]] = []
    for length, cells in groups:
        cells.sort(key=lambda i: (starts[i], i))
        row = length * (costs.token + width * costs.scores)
        most = min(budget // 2 // row, max(1, most_tokens(lm) // length)) // n_prompts - 1
        pieces = -(-len(cells) // max(1, most))
        parts += [(length, np.array(part)) for part in np.array_split(cells, pieces)]
    return parts


def select(batch: Batch, prompts: Sequence[int] | Int[np.ndarray, " some"]) -> Batch:
    """Some prompts of a right-padded batch (repetitions allowed), cut to the longest of them."""
    index = [int(i) for i in prompts]
    width = int(batch.lengths[index].max())
    return replace(
        batch,
        ids=batch.ids[index, :width],
        mask=batch.mask[index, :width],
        positions=batch.positions[index, :width],
        prompts=tuple(batch.prompts[i] for i in index),
        spans={role: tuple(ranges[i] for i in index) for role, ranges in batch.spans.items()},
        lead=tuple(batch.lead[i] for i in index),
        left_out=tuple(batch.left_out[i] for i in index),
    )
