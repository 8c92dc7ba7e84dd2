"""Cells in, numbers out: chunk by chunk in descents that are verified as they run, or else the slow way.

effect = metric of the patched row - metric of the control row of the same descent (slow path: of the unpatched run).
The first descent that is not what the slow path says ends the fast path for the whole question: all of it is computed
again the slow way, with a warning that says so.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from mnemoscope.engine.chunks import Costs, cell_groups, most_tokens, prompt_groups, select
from mnemoscope.engine.descent import FAST_SITES, descend, read_columns, refusal, steps
from mnemoscope.engine.edit import Context, reaches
from mnemoscope.engine.metric import Question, scores
from mnemoscope.engine.plan import Cell, places
from mnemoscope.engine.rotary import refuse_moved
from mnemoscope.engine.sources import dataset_means, record_sources, site_heads, wanted_sources
from mnemoscope.engine.store import BaseRun, can_share, record_base, record_together
from mnemoscope.engine.verify import Judge, Verification, slow_values
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

Chunk = Float[np.ndarray, "..."]
OnChunk = Callable[[str, Chunk], None]
Progress = Callable[[int, int], None]


class DescentWarning(UserWarning):
    """A descent was not what the slow path says; the slow path's numbers are given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Everything a question needs besides its cells."""

    lm: LM
    base: Batch
    sources: tuple[Batch, ...]
    asked: Question
    budget: int
    align: str | None = None
    done: Mapping[str, Chunk] | None = None
    on_chunk: OnChunk | None = None
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """effects [cell prompt token], base [prompt token] (the unpatched metric), and how they were verified."""

    effects: Float[np.ndarray, "cell prompt token"]
    base: Float[np.ndarray, "prompt token"]
    verification: Verification


def execute(task: Task, cells: Sequence[Cell], *, path: str = "auto") -> Answered:
    """Effects of every cell on every prompt. path: "auto" tries the descent; "slow" does not."""
    context = _context(task, cells)
    reason = "asked for" if path == "slow" else _refusal(task.lm, cells)
    if not reason:
        try:
            answered, reason = _fast(task, cells, context)
        except UnsupportedError as error:
            return _slow(task, cells, context, str(error))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:  # a block that carries more than its stream
            answered, reason = None, f"the descent cannot be run ({type(error).__name__}: {str(error).splitlines()[0]})"
        if answered is not None:
            return answered
        warnings.warn(DescentWarning(f"the slow path's numbers are given: {reason}"), stacklevel=4)
    return _slow(task, cells, context, reason)


def _refusal(lm: LM, cells: Sequence[Cell]) -> str:
    off = sorted({patch.site for cell in cells for patch in cell} - set(FAST_SITES))
    return f"site {', '.join(off)} is not swept in a descent" if off else refusal(lm)


def _context(task: Task, cells: Sequence[Cell]) -> Context:
    """Positions of all prompts, and dataset means."""
    patches = [patch for cell in cells for patch in cell]
    spots = {
        (position, source): places(task.base, task.sources[source] if source >= 0 else None, position, align=task.align)
        for position, source in dict.fromkeys(
            [*(patch.spot for patch in patches), *((patch.keys, -1) for patch in patches if patch.keys is not None)]
        )
    }
    refuse_moved(task.lm, patches, spots)
    everyone = np.arange(len(task.base))
    return Context(
        spots=spots,
        recordings=(),
        means=dataset_means(task.lm, patches, task.sources, spots, budget=task.budget, align=task.align),
        n_heads=site_heads(task.lm),
        ends=task.asked.ends,
        recorded=everyone,
        asked=everyone,
    )


def _fast(task: Task, cells: Sequence[Cell], whole: Context) -> tuple[Answered | None, str]:
    """The answer, or why it is none."""
    lm, asked = task.lm, task.asked
    reach = reaches(cells, whole)
    starts = [min(patch.start for patch in cell) for cell in cells]
    suffix, width = int(reach.max()), int(asked.ends.max())
    groups = prompt_groups(lm, task.base, suffix=suffix, budget=task.budget)
    most = max(len(group) for group in groups)
    parts = cell_groups(lm, reach, starts, n_prompts=most, width=width, budget=task.budget)
    judge = Judge(lm, task.base, n_sources=len(task.sources), share=1 / (len(groups) * len(parts)))
    effects = np.full((len(cells), len(task.base), asked.targets.shape[2]), np.nan)
    base = np.full(effects.shape[1:], np.nan)
    total, finished = len(groups) * len(parts), 0
    for group in groups:
        run = _Group(task, cells, whole, group, suffix)
        for length, part in parts:
            name = f"prompts {group[0]}-{group[-1]} cells {part[0]}-{part[-1]} ({len(part)}) suffix {length}"
            chunk = (task.done or {}).get(name)
            if chunk is None:
                chunk = run.descent(part, length)
                if reason := run.objection(judge, chunk, part, length):
                    return None, reason
                if task.on_chunk is not None:
                    task.on_chunk(name, chunk)
            effects[np.ix_(part, group)] = chunk[1:] - chunk[:1]
            base[group] = chunk[0]
            finished += 1
            if task.progress is not None:
                task.progress(finished, total)
    return Answered(effects=effects, base=base, verification=judge.verdict()), ""


class _Group:
    """Prompts whose runs are recorded together, when the first descent asks for them."""

    def __init__(
        self, task: Task, cells: Sequence[Cell], whole: Context, prompts: Int[np.ndarray, " some"], suffix: int
    ) -> None:
        self.task, self.cells, self.whole, self.prompts, self.suffix = task, cells, whole, prompts, suffix
        self.batch = select(task.base, prompts)
        self.asked = task.asked.of(prompts)
        self._runs: tuple[Context, BaseRun] | None = None

    @property
    def runs(self) -> tuple[Context, BaseRun]:
        """The context with its source runs, and the base run."""
        if self._runs is None:
            lm, context = self.task.lm, self.whole.of(self.prompts)
            patches = [patch for cell in self.cells for patch in cell]
            wanted = wanted_sources(patches, self.task.sources, context.spots, self.prompts)
            ends, read = self.asked.ends, self.asked.read
            suffix = min(self.suffix, int(ends.max()))
            only = wanted[0] if len(wanted) == 1 else None
            if only is not None and can_share(self.batch, only.batch, most=most_tokens(lm)):
                base, source = record_together(lm, self.batch, only, ends=ends, suffix=suffix, read=read)
                recordings = (source,)
            else:
                recordings = record_sources(lm, wanted)
                base = record_base(lm, self.batch, ends=ends, suffix=suffix, read=read)
            self._runs = replace(context, recordings=recordings, recorded=np.arange(len(self.prompts))), base
        return self._runs

    def descent(self, part: Int[np.ndarray, " some"], length: int) -> Float[np.ndarray, "cell prompt token"]:
        """Metrics of the control cell and the cells of a part, in the part's order."""
        context, base = self.runs
        lm, chosen = self.task.lm, [self.cells[i] for i in part]
        length = min(length, base.width)
        plan = steps(chosen, context, n_layers=lm.n_layers, width=base.width, suffix=length)
        final = read_columns(descend(lm, base, plan), self.asked.read, base)
        found = scores(lm, final, self.asked, most_rows=vocabulary_rows(lm, self.task.budget))
        return found[[0, *(1 + place for place in plan.order)]]

    def objection(self, judge: Judge, chunk: Chunk, part: Int[np.ndarray, " some"], length: int) -> str:
        """Why the judge does not believe the descent of a part."""
        cells = [self.cells[i] for i in part]
        return judge.objection(chunk, cells, length, self.batch, self.runs[0], self.asked, self._base_scores())

    def _base_scores(self) -> Float[np.ndarray, "prompt token"]:
        """The metric of the base run as recorded."""
        most = vocabulary_rows(self.task.lm, self.task.budget)
        return scores(self.task.lm, self.runs[1].final[None], self.asked, most_rows=most)[0]


def vocabulary_rows(lm: LM, budget: int) -> int:
    """Complete rows of logits that fit in an eighth of the budget."""
    return max(1, budget // 8 // (4 * 3 * lm.d_vocab))


def _slow(task: Task, cells: Sequence[Cell], whole: Context, reason: str) -> Answered:
    """All cells in whole forward passes."""
    effects = np.full((len(cells), len(task.base), task.asked.targets.shape[2]), np.nan)
    base = np.full(effects.shape[1:], np.nan)
    groups = prompt_groups(task.lm, task.base, suffix=task.base.ids.shape[1], budget=task.budget)
    for name, group, part, values in _slow_chunks(task, cells, whole, groups):
        if part is None:
            base[group] = values[0]
        else:
            effects[np.ix_(part, group)] = values - base[group][None]
        if task.on_chunk is not None and name not in (task.done or {}):
            task.on_chunk(name, values)
    nan = float("nan")
    verdict = Verification(path="slow", reason=reason, rows=0, largest=nan, control=nan, floor=nan, tolerance=nan)
    return Answered(effects=effects, base=base, verification=verdict)


def _slow_chunks(
    task: Task, cells: Sequence[Cell], whole: Context, groups: Sequence[Int[np.ndarray, " _"]]
) -> Iterator[tuple[str, Int[np.ndarray, " _"], Int[np.ndarray, " _"] | None, Chunk]]:
    """(name, prompts, cells or None for the unpatched run, metrics [cell prompt token])."""
    lm, patches = task.lm, [patch for cell in cells for patch in cell]
    costs = Costs.of(lm)
    width = task.base.ids.shape[1]
    reads = task.asked.read.shape[1]
    row = width * (costs.token + width * costs.scores) + 12 * reads * lm.d_vocab
    for group in groups:
        context = whole.of(group)
        recordings = record_sources(lm, wanted_sources(patches, task.sources, context.spots, group))
        context = replace(context, recordings=recordings, recorded=np.arange(len(group)))
        batch, asked = select(task.base, group), task.asked.of(group)
        most = max(1, task.budget // 2 // row // len(group))
        pieces = [None, *np.array_split(np.arange(len(cells)), -(-len(cells) // most))]
        for piece in pieces:
            rows = [()] if piece is None else [cells[i] for i in piece]
            label = "none" if piece is None else f"{piece[0]}-{piece[-1]}"
            name = f"slow prompts {group[0]}-{group[-1]} cells {label}"
            values = (task.done or {}).get(name)
            if values is None:
                pairs = [(cell, prompt) for cell in rows for prompt in range(len(group))]
                found, _ = slow_values(lm, batch, pairs, context, asked)
                values = found.reshape(len(rows), len(group), -1)
            yield name, group, piece, values
