"""Prompt sets: one draw of demonstrations and labels, asked with several queries and with any number of its first lines.

Both reuses pay twice. The prompts of a set begin alike, so a model reads the common beginning once; and curves over shots compare a
set with itself. The set is the unit of independence: prompts of one set share demonstrations and labels. Demonstrations come in
blocks that hold every class once, so that every beginning of the list is as balanced as its length allows (methods P1.4: all
classes are shown as soon as there are as many shots as classes).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mnemoscope.data import function_vectors, pairs, words
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.pairs import SHOTS, TASKS, PairTask
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import DataError, choose


def pair_set(
    task: PairTask | str, number: int, rng: np.random.Generator, *, shots: Sequence[int] = SHOTS, queries: int = 4
) -> tuple[Prompt, ...]:
    """Set `number` of a word-pair task: every number of shots with every query, shots slowest.

    Digits are drawn for the set. Queries are held-out pairs whose classes go round evenly over queries and sets. Labels: those of
    `pair_prompt`, and set.
    """
    task = TASKS[choose("pair task", task, tuple(TASKS))] if isinstance(task, str) else task
    n_classes = len(task.classes)
    digits = [int(d) for d in rng.permutation(10)[:n_classes]]
    lines = _blocks(task, max(shots, default=0), rng)
    asked: list[tuple[int, tuple[str, str]]] = []
    for i in range(queries):
        side = pairs.candidates(task, unseen=True)[(number * queries + i) % n_classes]
        free = [pair for pair in side if pair not in {pair for _, pair in asked}]
        asked.append(((number * queries + i) % n_classes, free[rng.integers(len(free))]))
    made = (pairs.written(task, lines[:k], query, digits=digits) for k in shots for query in asked)
    return tuple(_numbered(prompt, task.name, number) for prompt in made)


def task_set(
    task: Task,
    number: int,
    rng: np.random.Generator,
    *,
    shots: Sequence[int] = SHOTS,
    queries: int = 4,
    form: str = "question",
) -> tuple[Prompt, ...]:
    """The same for a task given as input/output pairs: no query's input is ever demonstrated in its set.

    Raises DataError if the task has too few inputs for that.
    """
    inputs = list(dict.fromkeys(given for given, _ in task.pairs))
    most = max(shots, default=0)
    if len(inputs) < most + queries:
        raise DataError(
            f"prompt sets of task {task.name!r} with {most} shots and {queries} queries",
            found=f"{len(inputs)} different inputs",
            allowed=f"at least {most + queries}",
        )
    first = {given: place for place, (given, _) in reversed(list(enumerate(task.pairs)))}
    drawn = words.shuffled(inputs, rng, most + queries)
    shown = [task.pairs[first[given]] for given in drawn[queries:]]
    asked = [first[given] for given in drawn[:queries]]
    made = (function_vectors.written(task, shown[:k], query, form=form) for k in shots for query in asked)
    return tuple(_numbered(prompt, task.name, number) for prompt in made)


def _numbered(prompt: Prompt, task: str, number: int) -> Prompt:
    return replace(prompt, labels={**prompt.labels, "set": f"{task}:{number:04d}"})


def _blocks(task: PairTask, shots: int, rng: np.random.Generator) -> list[tuple[int, tuple[str, str]]]:
    """(class, pair) per line, pairs unique; every block of as many lines as classes holds each class once."""
    sides = pairs.candidates(task, unseen=False)
    order: list[int] = []
    while len(order) < shots:
        order += words.shuffled(range(len(sides)), rng)
    seen: set[tuple[str, str]] = set()
    lines: list[tuple[int, tuple[str, str]]] = []
    for c in order[:shots]:
        while (pair := sides[c][rng.integers(len(sides[c]))]) in seen:
            pass
        seen.add(pair)
        lines.append((c, pair))
    return lines
