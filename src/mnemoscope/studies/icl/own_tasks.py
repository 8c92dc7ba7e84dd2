"""The user's own tasks: input/output pairs, or prompts labelled with item and condition. No torch, no model.

What cannot be compared is refused before anything runs; single inputs that cannot be judged are left out, and listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mnemoscope.data import formats, function_vectors, words
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import DataError, listed
from mnemoscope.results.job import seed_of
from mnemoscope.studies.icl import design
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.tasks import Length, behind_neutral, labelled

MOST_FOILS = 8
ITEMS = 40  # inputs of a task by default


@dataclass(frozen=True, kw_only=True)
class Own:
    """Prompts by task, and what of the file is not among them."""

    tasks: Mapping[str, tuple[Prompt, ...]]
    left_out: tuple[LeftOut, ...] = ()


def users(config: Config, length: Length) -> Own:
    """Prompts of the user's own tasks by name: input/output pairs, or JSON lines with the labels item and condition.

    DataError: no task in the file; and what `design.design_of`, `_refuse_labels` and `_refuse_pairs` say.
    """
    assert config.data is not None
    found = formats.read(config.data)
    if found.tasks:
        clear = [(task, _unclear(task)) for task in found.tasks]
        left = (*found.left_out, *(case for task, inputs in clear for case in _cases(task, inputs)))
        return Own(tasks={t.name: _pairs(config, _without(t, gone), length) for t, gone in clear}, left_out=left)
    if not found.prompts:
        raise DataError(
            f"{config.data} holds no task",
            found=found.format,
            allowed="input/output pairs (function-vectors JSON), or JSON lines of prompts labelled with item and condition",
        )
    return Own(tasks=_own_prompts(found.prompts, Path(config.data).stem, config))


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
            hint='add "answer": " ...", "labels": {"item": "1", "condition": "none"}, and the same item under "example"',
        )
    tasks: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        labels = {"draw": 0, "task": stem, **prompt.labels}
        tasks.setdefault(str(labels["task"]), []).append(
            replace(prompt, labels={**labels, "item": str(labels["item"])})
        )
    named = {name if name not in design.DESIGNS else f"{name} (own)": tuple(own) for name, own in tasks.items()}
    for name, own in named.items():
        _refuse_labels(name, own, config)
    return named


def _refuse_labels(name: str, own: Sequence[Prompt], config: Config) -> None:
    """Labels none of which says which items should be alike; fewer items than a probe has folds."""
    labels = [p.labels for p in own]
    made = design.design_of(name, labels)
    useless = design.useless(labels)
    if useless and not made.hypotheses:
        raise DataError(
            f"no label of task {name!r} says which items should be alike",
            found=listed(f"{label}: {why}" for label, why in useless.items()),
            allowed=f"no such labels, or labels with {design.ALIKE}",
            hint="take these labels out of the file: answers and attention are compared without them",
        )
    items = len({label["item"] for label in labels})
    if made.targets and items < config.folds:
        raise DataError(
            f"task {name!r} has fewer items than probes have folds",
            found=f"{items} items; {len(made.targets)} labels to read: {', '.join(t.name for t in made.targets)}",
            allowed=f"at least {config.folds}: each fold leaves out whole items",
            hint="add items, or take these labels out of the file",
        )


def _unclear(task: function_vectors.Task) -> dict[str, tuple[str, ...]]:
    """Inputs with several outputs, which no single answer is right for."""
    outputs: dict[str, dict[str, None]] = {}
    for given, output in task.pairs:
        outputs.setdefault(given, {})[output] = None
    return {given: tuple(own) for given, own in outputs.items() if len(own) > 1}


def _cases(task: function_vectors.Task, inputs: Mapping[str, Sequence[str]]) -> list[LeftOut]:
    return [
        LeftOut(id=f"{task.name} / {given}", reason="input with several outputs", detail=", ".join(own))
        for given, own in inputs.items()
    ]


def _without(task: function_vectors.Task, inputs: Mapping[str, Sequence[str]]) -> function_vectors.Task:
    """The task's other pairs, each once."""
    return replace(task, pairs=tuple(dict.fromkeys(pair for pair in task.pairs if pair[0] not in inputs)))


def _pairs(config: Config, task: function_vectors.Task, length: Length) -> tuple[Prompt, ...]:
    """Every chosen input without and with solved pairs, with shuffled ones, and behind neutral text of their length."""
    _refuse_pairs(config, task)
    rng = np.random.default_rng(seed_of(config.seed, f"icl {task.name}"))
    chosen = words.shuffled(list(range(len(task.pairs))), rng, config.limit or ITEMS)
    found: list[Prompt] = []
    for query in chosen:
        for draw in range(config.draws):
            seed = int(rng.integers(0, 2_000_000_000))
            plain, solved, shuffled = (
                function_vectors.task_prompt(
                    task, shots=k, query=query, rng=np.random.default_rng(seed), shuffled=mixed
                )
                for k, mixed in ((0, False), (config.pairs_shots, False), (config.pairs_shots, True))
            )
            own = {"none": plain, "example": solved, design.SHUFFLED: shuffled}
            own[design.NEUTRAL] = behind_neutral(plain, length(solved.text), length)
            foils = words.shuffled(plain.foils, np.random.default_rng(seed), MOST_FOILS)
            more = {design.OUTPUT: plain.answer.strip(), "draw": draw}
            found += [labelled(p, task.name, c, more, foils=foils) for c, p in own.items()]
    return tuple(found)


def _refuse_pairs(config: Config, task: function_vectors.Task) -> None:
    """Too few inputs for the solved pairs of a prompt; one output for all, which every state says."""
    needed = max(config.pairs_shots + 1, design.FEWEST)
    if len(task.pairs) < needed:
        raise DataError(
            f"task {task.name!r} has too few inputs",
            found=f"{len(task.pairs)} different inputs with one output each",
            allowed=f"at least {needed}: {config.pairs_shots} solved pairs beside the one that is asked",
            hint="add pairs, or show fewer (pairs_shots of the Python call)",
        )
    if len(task.outputs) < 2:
        raise DataError(
            f"task {task.name!r} has one output",
            found=f"{', '.join(task.outputs)!r} for all {len(task.pairs)} inputs",
            allowed="at least two different outputs: any state that says the one would be right",
            hint="add pairs with another output",
        )
