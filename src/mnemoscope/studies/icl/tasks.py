"""The prompts of the built-in tasks: items fixed first, then asked under each condition (methods P3.5 to P3.7). No torch, no model.

Passages are a crossed design in a closed world: distractors come from the same names and activities that are asked about, so that
which of the present ones is asked is a question; examples come from the others. Position of the informative sentence and
answer format are crossed. Lines carry the y of the other slopes at the same x as distractors. The neutral text is the
one whose number of tokens comes nearest to what the example adds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.designs import LineItem, PassageItem, line_items, passage_items, preceded
from mnemoscope.data.lines import PRESETS, written
from mnemoscope.data.passages import FORMATS, NEUTRAL
from mnemoscope.data.prompt import Prompt
from mnemoscope.results.job import seed_of
from mnemoscope.studies.icl import design
from mnemoscope.studies.icl.config import Config

Length = Callable[[str], int]  # number of tokens of a text


def asked(config: Config, task: str, length: Length, *, preset: str = "decimals") -> tuple[Prompt, ...]:
    """All prompts of a task; labels task, item, unit, draw, condition and the design variables."""
    rng = np.random.default_rng(seed_of(config.seed, f"icl {task}"))
    if task == "lines":
        items = line_items(preset, rng, draws=config.limit or config.line_draws)
        return tuple(prompt for item in items for prompt in _line(item, length))
    distractors = 0 if task == "simple" else config.distractors
    draws = 1 if task in ("simple", "persona") else config.draws
    people = passage_items(rng, people=config.people, distractors=distractors, draws=draws)
    if task == "persona":
        return tuple(prompt for item in people for prompt in _persona(item))
    return tuple(prompt for item in people for prompt in _passage(item, length, config.people, task))


def _passage(item: PassageItem, length: Length, people: int, task: str) -> list[Prompt]:
    plain, solved, shuffled = (item.asked(c) for c in ("none", "example", "shuffled"))
    neutral = behind_neutral(plain, length(solved.text), length)
    own = {"none": plain, "example": solved, design.SHUFFLED: shuffled, design.NEUTRAL: neutral}
    foils = () if plain.foils else _absent(item, people)
    return [labelled(p, task, c, _people(item), foils=p.foils or foils) for c, p in own.items()]


def _absent(item: PassageItem, people: int) -> tuple[str, ...]:
    """Two activities of the design that a simple passage does not tell of, in its answer format."""
    shown, form = item.shown, FORMATS[item.answer_format]
    others = [a for a in words.ACTIVITIES[:people] if a not in shown.activities]
    chosen = words.shuffled(others, np.random.default_rng(item.seed), 2)
    return tuple(form.format(name=shown.names[shown.asked], activity=a) + "." for a in chosen)


def _persona(item: PassageItem) -> list[Prompt]:
    cells = [(persona, example) for persona in design.PERSONAS for example in (False, True)]
    return [
        labelled(
            item.asked("example" if example else "none", persona=persona),
            "persona",
            f"{persona}{design.EXAMPLE if example else ''}",
            _people(item),
        )
        for persona, example in cells
    ]


def _people(item: PassageItem) -> dict[str, Any]:
    shown = item.shown
    return {
        "names": design.PRESENT.join(shown.names),
        "activities": design.PRESENT.join(shown.activities),
        "first_name": shown.names[0],
        "draw": item.draw,
    }


def _line(item: LineItem, length: Length) -> list[Prompt]:
    own = {f"k{k}": item.asked(k) for k in (2, 4, 8)}
    own[design.SHUFFLED] = item.asked(8, shuffled=True)
    own[design.NEUTRAL] = behind_neutral(own["k2"], length(own["k8"].text), length)
    held = PRESETS[item.preset]
    true = own["k2"].answer
    values = [written(round(a * item.query + item.intercept, held.y_decimals), held.y_decimals) for a in held.slopes]
    foils = tuple(dict.fromkeys(f"{held.gap}{value})" for value in values if f"{held.gap}{value})" != true))
    first = str(own["k2"].part("query_x")[0]).lstrip("0.")[:1] or "0"
    return [
        labelled(
            prompt,
            "lines",
            condition,
            {**_numbers(prompt), "x_digit": first, "span": held.span, "draw": item.draw},
            foils=foils,
        )
        for condition, prompt in own.items()
    ]


def _numbers(prompt: Prompt) -> dict[str, Any]:
    """Nuisances of a line prompt: mean of the shown y, digits and minus signs of the text."""
    shown = [float(y) for y in prompt.part("point_y")]
    digits = sum(c.isdigit() for c in prompt.text)
    return {"mean_y": float(np.mean(shown)), "digits": digits, "minus": prompt.text.count("-")}


def behind_neutral(prompt: Prompt, goal: int, length: Length) -> Prompt:
    """The prompt behind as many plain sentences as bring its number of tokens nearest to `goal`."""
    best, said = prompt, ""
    for i in range(200):
        said = f"{said} {NEUTRAL[i % len(NEUTRAL)]}".strip()
        longer = preceded(prompt, said)
        now = length(longer.text)
        if best is prompt or abs(now - goal) < abs(length(best.text) - goal):
            best = longer
        if now >= goal:
            break
    return best


def labelled(
    prompt: Prompt, task: str, condition: str, more: dict[str, Any], *, foils: Sequence[str] | None = None
) -> Prompt:
    """The prompt as a row of the study: its task, condition and item, and `more` labels."""
    labels = {**prompt.labels, **more, "task": task, "condition": condition}
    labels["item"] = str(labels["item"])
    return replace(prompt, labels=labels, foils=prompt.foils if foils is None else tuple(foils))
