"""Items that are asked under several conditions: the same question before and after examples, and after their controls.

An item is fixed first (who, what, which points, which example); a condition then only adds what stands in front of it. So two
prompts of one item differ in nothing but the condition. Conditions: `none` (no example), `example` (a solved example or more),
`shuffled` (the same example with a wrong answer: form and length without content), `neutral` (plain sentences of about the same
length: length alone).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.lines import PRESETS, LinePreset, line_prompt
from mnemoscope.data.passages import FORMATS, NEUTRAL, Scene, passage_prompt, scene
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import PromptError, choose

CONDITIONS: Final = ("none", "example", "shuffled", "neutral")


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
        solved = condition in ("example", "shuffled")
        prompt = passage_prompt(
            self.shown,
            answer_format=self.answer_format,
            examples=(self.example,) if solved else (),
            persona=persona,
            shuffled=condition == "shuffled",
            neutral_sentences=len(self.example.names) + 2 if condition == "neutral" else 0,
            rng=np.random.default_rng(self.seed),
        )
        return replace(prompt, labels={**prompt.labels, "condition": condition, "draw": self.draw})


def passage_items(
    rng: np.random.Generator,
    *,
    distractors: int = 2,
    names: int = 10,
    activities: int = 10,
    draws: int = 1,
    answer_format: str | None = None,
) -> tuple[PassageItem, ...]:
    """The crossed design of methods P3.6: every one of `names` does every one of `activities`, `draws` times.

    Distractors and examples come from the whole lists and share nobody and nothing with the item; positions of the informative
    sentence and (unless fixed) answer formats go round evenly over items and draws.
    """
    if not 0 < names <= len(words.FIRST_NAMES) or not 0 < activities <= len(words.ACTIVITIES):
        raise PromptError(
            "the crossed design is too large",
            found=f"{names} names, {activities} activities",
            allowed=f"at most {len(words.FIRST_NAMES)} names and {len(words.ACTIVITIES)} activities",
        )
    items: list[PassageItem] = []
    for draw in range(draws):
        for i, name in enumerate(words.FIRST_NAMES[:names]):
            for j, activity in enumerate(words.ACTIVITIES[:activities]):
                turn = (
                    i + j + draw
                )  # a Latin square: position and format are balanced within names and within activities
                shown = scene(distractors, turn % (distractors + 1), rng, name=name, activity=activity)
                used = (*shown.names, *shown.activities)
                form = answer_format or tuple(FORMATS)[(turn // (distractors + 1)) % len(FORMATS)]
                example = scene(distractors, int(rng.integers(distractors + 1)), rng, without=used)
                seed = int(rng.integers(0, 2_000_000_000))
                items.append(PassageItem(shown=shown, example=example, answer_format=form, draw=draw, seed=seed))
    return tuple(items)


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


def neutral_text(n_words: int) -> str:
    """Plain sentences about nothing in particular, with at least `n_words` words: the length control of every task."""
    said: list[str] = []
    while sum(len(s.split()) for s in said) < n_words:
        said.append(NEUTRAL[len(said) % len(NEUTRAL)])
    return " ".join(said)


def preceded(prompt: Prompt, text: str, *, role: str = "neutral", separator: str = "\n") -> Prompt:
    """The same prompt behind another text: spans move, the text in front becomes a role."""
    shift = len(text) + len(separator)
    moved = {name: tuple((a + shift, b + shift) for a, b in ranges) for name, ranges in prompt.spans.items()}
    return replace(
        prompt, text=text + separator + prompt.text, spans={**moved, role: ((0, len(text)), *moved.get(role, ()))}
    )


def crossed(items: Sequence[PassageItem], conditions: Sequence[str], *, persona: str = "neutral") -> tuple[Prompt, ...]:
    """Every item under every condition, items slowest."""
    return tuple(item.asked(condition, persona=persona) for item in items for condition in conditions)
