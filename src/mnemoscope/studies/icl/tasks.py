"""The prompts of every task: items fixed first, then asked under each condition (methods P3.5 to P3.7). No torch, no model.

Passages are a crossed design in a closed world: distractors come from the same names and activities that are asked about, so that
which of the present ones is asked is a question; examples come from the others. Position of the informative sentence and
answer format are crossed. Lines carry the y of the other slopes at the same x as distractors. The neutral text is the
one whose number of tokens comes nearest to what the example adds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnemoscope.data import formats, function_vectors, words
from mnemoscope.data.designs import LineItem, PassageItem, line_items, preceded
from mnemoscope.data.lines import PRESETS, written
from mnemoscope.data.passages import FORMATS, NEUTRAL, scene
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import DataError, PromptError, listed
from mnemoscope.results.job import seed_of
from mnemoscope.studies.icl import design
from mnemoscope.studies.icl.config import Config

Length = Callable[[str], int]  # number of tokens of a text
MOST_FOILS = 8
USER_ITEMS = 40  # items of a user's task by default


def asked(config: Config, task: str, length: Length, *, preset: str = "decimals") -> tuple[Prompt, ...]:
    """All prompts of a built-in task; labels task, item, unit, draw, condition and the design variables."""
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


def passage_items(rng: np.random.Generator, *, people: int, distractors: int, draws: int) -> tuple[PassageItem, ...]:
    """Every one of `people` names does every one of as many activities, `draws` times; all that is said stays among them."""
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


def _passage(item: PassageItem, length: Length, people: int, task: str) -> list[Prompt]:
    plain, solved, shuffled = (item.asked(c) for c in ("none", "example", "shuffled"))
    neutral = _neutral(plain, length(solved.text), length)
    own = {"none": plain, "example": solved, design.SHUFFLED: shuffled, design.NEUTRAL: neutral}
    foils = () if plain.foils else _absent(item, people)
    return [_labelled(p, task, c, _people(item), foils=p.foils or foils) for c, p in own.items()]


def _absent(item: PassageItem, people: int) -> tuple[str, ...]:
    """Two activities of the design that a simple passage does not tell of, in its answer format."""
    shown, form = item.shown, FORMATS[item.answer_format]
    others = [a for a in words.ACTIVITIES[:people] if a not in shown.activities]
    chosen = words.shuffled(others, np.random.default_rng(item.seed), 2)
    return tuple(form.format(name=shown.names[shown.asked], activity=a) + "." for a in chosen)


def _persona(item: PassageItem) -> list[Prompt]:
    cells = [(persona, example) for persona in design.PERSONAS for example in (False, True)]
    return [
        _labelled(
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
    own[design.NEUTRAL] = _neutral(own["k2"], length(own["k8"].text), length)
    held = PRESETS[item.preset]
    true = own["k2"].answer
    values = [written(round(a * item.query + item.intercept, held.y_decimals), held.y_decimals) for a in held.slopes]
    foils = tuple(dict.fromkeys(f"{held.gap}{value})" for value in values if f"{held.gap}{value})" != true))
    first = str(own["k2"].part("query_x")[0]).lstrip("0.")[:1] or "0"
    return [
        _labelled(
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


def _neutral(prompt: Prompt, goal: int, length: Length) -> Prompt:
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


def _labelled(
    prompt: Prompt, task: str, condition: str, more: dict[str, Any], *, foils: Sequence[str] | None = None
) -> Prompt:
    labels = {**prompt.labels, **more, "task": task, "condition": condition}
    labels["item"] = str(labels["item"])
    return replace(prompt, labels=labels, foils=prompt.foils if foils is None else tuple(foils))


def users(config: Config, length: Length) -> dict[str, tuple[Prompt, ...]]:
    """Prompts of the user's own tasks by name: input/output pairs, or JSON lines with the labels item and condition."""
    assert config.data is not None
    found = formats.read(config.data)
    if found.tasks:
        return {task.name: _pairs(config, task, length) for task in found.tasks}
    if not found.prompts:
        raise DataError(
            f"{config.data} holds no task",
            found=found.format,
            allowed="input/output pairs (function-vectors JSON), or JSON lines of prompts labelled with item and condition",
        )
    return _own_prompts(found.prompts, Path(config.data).stem, config)


def _own_prompts(prompts: Sequence[Prompt], stem: str, config: Config) -> dict[str, tuple[Prompt, ...]]:
    bare = [
        str(p.labels.get("id", i))
        for i, p in enumerate(prompts)
        if not {"item", "condition"} <= set(p.labels) or not p.answer
    ]
    if bare:
        raise DataError(
            f"{len(bare)} prompts cannot be compared between conditions",
            found=listed(bare),
            allowed='an answer, and the labels "item" and "condition"',
        )
    tasks: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        labels = {"draw": 0, "task": stem, **prompt.labels}
        tasks.setdefault(str(labels["task"]), []).append(
            replace(prompt, labels={**labels, "item": str(labels["item"])})
        )
    for name, own in tasks.items():
        made = design.design_of(name if name not in design.DESIGNS else f"{name} ", [p.labels for p in own])
        items = len({p.labels["item"] for p in own})
        if made.targets and items < config.folds:
            raise DataError(
                f"task {name!r} has fewer items than probes have folds",
                found=f"{items} items; {len(made.targets)} labels to read: {', '.join(t.name for t in made.targets)}",
                allowed=f"at least {config.folds}: each fold leaves out whole items",
                hint="add items, or take these labels out of the file",
            )
    return {name if name not in design.DESIGNS else f"{name} (own)": tuple(own) for name, own in tasks.items()}


def _pairs(config: Config, task: function_vectors.Task, length: Length) -> tuple[Prompt, ...]:
    """Every chosen input without and with solved pairs, with shuffled ones, and behind neutral text of their length."""
    rng = np.random.default_rng(seed_of(config.seed, f"icl {task.name}"))
    inputs = {given: i for i, (given, _) in enumerate(task.pairs)}
    chosen = words.shuffled(list(inputs.values()), rng, config.limit or USER_ITEMS)
    found: list[Prompt] = []
    for query in chosen:
        for draw in range(config.draws):
            seed = int(rng.integers(0, 2_000_000_000))
            shots = min(config.pairs_shots, len(inputs) - 1)
            plain, solved, shuffled = (
                function_vectors.task_prompt(
                    task, shots=k, query=query, rng=np.random.default_rng(seed), shuffled=mixed
                )
                for k, mixed in ((0, False), (shots, False), (shots, True))
            )
            own = {"none": plain, "example": solved, design.SHUFFLED: shuffled}
            own[design.NEUTRAL] = _neutral(plain, length(solved.text), length)
            foils = words.shuffled(plain.foils, np.random.default_rng(seed), MOST_FOILS)
            more = {"answer": plain.answer.strip(), "draw": draw}
            found += [_labelled(p, task.name, c, more, foils=foils) for c, p in own.items()]
    return tuple(found)
