"""Everything that is asked in episodes, in one place: what the studies import, and what the bundled model was trained on.

Word-pair tasks, the line task, passages with questions, personas, random spans, invented pairs and narratives live in one file
each; here they are gathered, together with the seeded designs (which items under which conditions) that studies share.
"""

import numpy as np

from mnemoscope.data.designs import (
    CONDITIONS,
    LineItem,
    PassageItem,
    line_items,
    passage_items,
    preceded,
)
from mnemoscope.data.lines import PRESETS, LinePreset, line_prompt, read
from mnemoscope.data.pairs import SHOTS, TASKS, PairTask, demonstrations, held_out, pair_prompt
from mnemoscope.data.passages import FORMATS, PERSONAS, Scene, judged, passage_prompt, scene
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.repeats import Story, invented_pairs, narrative, span_prompt
from mnemoscope.errors import choose

__all__ = [
    "CONDITIONS",
    "FORMATS",
    "PERSONAS",
    "PRESETS",
    "SHOTS",
    "TASKS",
    "LineItem",
    "LinePreset",
    "PairTask",
    "PassageItem",
    "Scene",
    "Story",
    "demonstrations",
    "held_out",
    "invented_pairs",
    "judged",
    "line_design",
    "line_items",
    "line_prompt",
    "narrative",
    "pair_design",
    "pair_prompt",
    "passage_design",
    "passage_items",
    "passage_prompt",
    "preceded",
    "read",
    "scene",
    "span_prompt",
]


def pair_design(
    task: str, *, shots: int, count: int, rng: np.random.Generator, shuffled: bool = False
) -> tuple[Prompt, ...]:
    """`count` prompts of one word-pair task with the query classes balanced and label digits redrawn for each prompt."""
    n_classes = len(TASKS[choose("pair task", task, tuple(TASKS))].classes)
    return tuple(
        pair_prompt(task, shots=shots, query_class=i % n_classes, rng=rng, shuffled=shuffled) for i in range(count)
    )


def passage_design(
    *,
    distractors: int,
    shots: int,
    count: int,
    rng: np.random.Generator,
    persona: str = "neutral",
    shuffled: bool = False,
) -> tuple[Prompt, ...]:
    """`count` passages: answer formats and informative positions counterbalanced, examples with disjoint people and activities."""
    return tuple(_passage_item(i, distractors, shots, rng, persona, shuffled) for i in range(count))


def _passage_item(
    i: int, distractors: int, shots: int, rng: np.random.Generator, persona: str, shuffled: bool
) -> Prompt:
    form = tuple(FORMATS)[i % len(FORMATS)]
    shown = scene(distractors, i // len(FORMATS) % (distractors + 1), rng)
    used = [*shown.names, *shown.activities]
    examples: list[Scene] = []
    for _ in range(shots):
        examples.append(scene(distractors, int(rng.integers(distractors + 1)), rng, without=used))
        used += [*examples[-1].names, *examples[-1].activities]
    return passage_prompt(shown, answer_format=form, examples=examples, persona=persona, shuffled=shuffled, rng=rng)


def line_design(
    preset: str, *, shots: int, count: int, rng: np.random.Generator, shuffled: bool = False
) -> tuple[Prompt, ...]:
    """`count` line prompts, the grid of lines gone through evenly."""
    lines = PRESETS[choose("line preset", preset, tuple(PRESETS))].lines
    return tuple(
        line_prompt(preset, slope=slope, intercept=intercept, shots=shots, rng=rng, shuffled=shuffled)
        for slope, intercept in (lines[i % len(lines)] for i in range(count))
    )
