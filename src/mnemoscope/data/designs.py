"""Items that are asked under several conditions: the same question before and after examples, and after their controls.

An item is fixed first (who, what, which points, which example); a condition then only adds what stands in front of it. So two
prompts of one item differ in nothing but the condition. Conditions: `none` (no example), `example` (a solved example or more),
`shuffled` (the same example with a wrong answer: form and length without content). Plain sentences of the same length (length
alone) are put in front by `preceded`.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.lines import PRESETS, LinePreset, line_prompt
from mnemoscope.data.passages import FORMATS, Scene, passage_prompt, scene
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import PromptError, choose

CONDITIONS: Final = ("none", "example", "shuffled")


@dataclass(frozen=True, kw_only=True)
class PassageItem:
    """One question with its passage, its answer format and the example that may stand in front of it."""

    shown: Scene
    example: Scene
    answer_format: str
    draw: int
    seed: int

    def asked(self, condition: str = "none", *, persona: str = "neutral") -> Prompt:
        """The item under a condition and a persona; labels gain draw and condition."""
        choose("condition", condition, CONDITIONS)
        prompt = passage_prompt(
            self.shown,
            answer_format=self.answer_format,
            examples=() if condition == "none" else (self.example,),
            persona=persona,
            shuffled=condition == "shuffled",
            rng=np.random.default_rng(self.seed),
        )
        return replace(prompt, labels={**prompt.labels, "condition": condition, "draw": self.draw})


def passage_items(rng: np.random.Generator, *, people: int, distractors: int, draws: int) -> tuple[PassageItem, ...]:
    """The crossed design of methods P3.6 in a closed world: every one of `people` names does every one of as many activities,
    `draws` times; all that is said in a passage stays among them, examples come from the others and share nobody and nothing.

    Positions of the informative sentence and answer formats go round evenly over names and over activities.
    Raises PromptError if there are too few names for the distractors, or too few others for the examples.
    """
    most = min(len(words.FIRST_NAMES), len(words.ACTIVITIES)) - distractors - 1
    if not distractors + 2 <= people <= most:
        raise PromptError(
            "the crossed design does not fit",
            found=f"{people} names and activities, {distractors} distractors",
            allowed=f"{distractors + 2} to {most} names",
            hint="--limit says how many",
        )
    names, activities = words.FIRST_NAMES[:people], words.ACTIVITIES[:people]
    inside = (*names, *activities)
    outside = (*words.FIRST_NAMES[people:], *words.ACTIVITIES[people:])
    found: list[PassageItem] = []
    for draw in range(draws):
        for i, name in enumerate(names):
            for j, activity in enumerate(activities):
                place = (i + j + draw) % (distractors + 1)
                shown = scene(distractors, place, rng, name=name, activity=activity, without=outside)
                example = scene(distractors, int(rng.integers(distractors + 1)), rng, without=inside)
                form, seed = tuple(FORMATS)[(i - j + draw) % len(FORMATS)], int(rng.integers(0, 2_000_000_000))
                found.append(PassageItem(shown=shown, example=example, answer_format=form, draw=draw, seed=seed))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class LineItem:
    """One line, an order of points to show, and the x that is asked; k examples are the first k points."""

    preset: str
    slope: float
    intercept: float
    shown: tuple[float, ...]
    query: float
    draw: int
    seed: int

    def asked(self, shots: int, *, shuffled: bool = False) -> Prompt:
        """The item behind its first `shots` points (or behind the same points with their y permuted)."""
        prompt = line_prompt(
            self.preset,
            slope=self.slope,
            intercept=self.intercept,
            shots=shots,
            rng=np.random.default_rng(self.seed),
            shown=self.shown[:shots],
            query=self.query,
            shuffled=shuffled,
        )
        return replace(
            prompt, labels={**prompt.labels, "draw": self.draw, "item": f"{prompt.labels['line']}#{self.draw}"}
        )


def line_items(preset: str, rng: np.random.Generator, *, draws: int = 16, most_shots: int = 8) -> tuple[LineItem, ...]:
    """`draws` items on each line of the preset's grid (16 lines x 16 draws in methods P3.5)."""
    held: LinePreset = PRESETS[choose("line preset", preset, tuple(PRESETS))]
    if not 0 <= most_shots < len(held.x_grid):
        raise PromptError("too many points", found=f"{most_shots}", allowed=f"fewer than {len(held.x_grid)}")
    items: list[LineItem] = []
    for slope, intercept in held.lines:
        for draw in range(draws):
            xs = words.shuffled(held.x_grid, rng, most_shots + 1)
            seed = int(rng.integers(0, 2_000_000_000))
            items.append(
                LineItem(
                    preset=preset,
                    slope=slope,
                    intercept=intercept,
                    shown=tuple(xs[1:]),
                    query=xs[0],
                    draw=draw,
                    seed=seed,
                )
            )
    return tuple(items)


def preceded(prompt: Prompt, text: str, *, role: str = "neutral", separator: str = "\n") -> Prompt:
    """The same prompt behind another text: spans move, the text in front becomes a role."""
    shift = len(text) + len(separator)
    moved = {name: tuple((a + shift, b + shift) for a, b in ranges) for name, ranges in prompt.spans.items()}
    return replace(
        prompt, text=text + separator + prompt.text, spans={**moved, role: ((0, len(text)), *moved.get(role, ()))}
    )
