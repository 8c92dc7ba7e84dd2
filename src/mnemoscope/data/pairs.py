"""Few-shot word-pair tasks with arbitrary digit labels: the four families of methods P1.4, on word lists of our own.

A line is `left, right: label`; the prompt ends with the colon of the query line (binding decision B4: the label is the token
" d" behind it). Which digit stands for which class is redrawn for every prompt set, so that frequency cannot answer. Ordered
pairs are split by a stable hash: held-out pairs occur in no training document and are the only queries of an evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.errors import PromptError, choose

SHOTS: Final = (0, 1, 2, 3, 4, 5, 10, 20)


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """A task: categories, and the ordered category pairs that are its classes, in class order."""

    name: str
    classes: tuple[tuple[str, str], ...]


def _all_pairs(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((a, b) for a in names for b in names)


TASKS: Final = {
    "binary_fruit_month": PairTask(name="binary_fruit_month", classes=(("fruit", "month"), ("month", "fruit"))),
    "binary_furniture_profession": PairTask(
        name="binary_furniture_profession", classes=(("furniture", "profession"), ("profession", "furniture"))
    ),
    "four_fruit_month": PairTask(name="four_fruit_month", classes=_all_pairs("fruit", "month")),
    "nine_fruit_animal_month": PairTask(name="nine_fruit_animal_month", classes=_all_pairs("fruit", "animal", "month")),
}


def held_out(left: str, right: str) -> bool:
    """Whether this ordered pair is kept out of all training documents: one pair in five, by a hash of the two words."""
    return blake2b(f"{left}>{right}".encode(), digest_size=4).digest()[0] % 5 == 0


@cache
def candidates(task: PairTask, *, unseen: bool) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Per class the ordered word pairs of one side of the split, a word never with itself."""
    return tuple(
        tuple(
            (left, right)
            for left in words.CATEGORIES[a]
            for right in words.CATEGORIES[b]
            if left != right and held_out(left, right) is unseen
        )
        for a, b in task.classes
    )


def pair_prompt(
    task: PairTask | str,
    *,
    shots: int,
    query_class: int,
    rng: np.random.Generator,
    labels: Sequence[int] | None = None,
    unseen_query: bool = True,
    shuffled: bool = False,
) -> Prompt:
    """One prompt: `shots` labelled lines and a query line that ends with its colon.

    Every class is demonstrated at least once as soon as shots >= classes. Demonstrations come from the training side of the
    split, the query from the held-out side unless `unseen_query` is False, and never stands among them. `labels[c]` is the
    digit of class c (drawn if None). `shuffled` permutes the labels of the demonstrations: the length-matched control.
    Roles: demonstration, demonstration_label, query_left, query_right, query, last. Labels: task, shots, class, condition.
    """
    task = TASKS[choose("pair task", task, tuple(TASKS))] if isinstance(task, str) else task
    n_classes = len(task.classes)
    if shots < 0 or not 0 <= query_class < n_classes:
        raise PromptError(
            f"no prompt of task {task.name!r}",
            found=f"shots={shots}, query_class={query_class}",
            allowed=f"shots >= 0, class in 0..{n_classes - 1}",
        )
    digits = [int(d) for d in rng.permutation(10)[:n_classes]] if labels is None else [int(d) for d in labels]
    shown = demonstrations(task, shots, rng)
    side = candidates(task, unseen=unseen_query)[query_class]
    free = [pair for pair in side if pair not in {pair for _, pair in shown}]
    query = free[rng.integers(len(free))]
    named = [digits[c] for c, _ in shown]
    if shuffled:
        named = words.shuffled(named, rng)
    condition = "shuffled" if shuffled else "true"
    return written(task, shown, (query_class, query), digits=digits, named=named, condition=condition)


def written(
    task: PairTask,
    shown: Sequence[tuple[int, tuple[str, str]]],
    query: tuple[int, tuple[str, str]],
    *,
    digits: Sequence[int],
    named: Sequence[int] | None = None,
    condition: str = "true",
) -> Prompt:
    """The prompt of given (class, pair) lines and query; `named`: digits of the lines, if not the true ones."""
    query_class, (left, right) = query
    said = [digits[c] for c, _ in shown] if named is None else named
    pieces: list[str | tuple[str, str]] = []
    for (_, (a, b)), digit in zip(shown, said, strict=True):
        pieces += [("demonstration", f"{a}, {b}:"), " ", ("demonstration_label", str(digit)), "\n"]
    pieces += [("query_left", left), ",", " ", ("query_right", right), ("last", ":")]
    return joined(
        pieces,
        answer=f" {digits[query_class]}",
        foils=tuple(f" {d}" for c, d in enumerate(digits) if c != query_class),
        labels={
            "task": task.name,
            "shots": len(shown),
            "class": query_class,
            "item": f"{left}>{right}",
            "condition": condition,
        },
    )


def demonstrations(task: PairTask, shots: int, rng: np.random.Generator) -> list[tuple[int, tuple[str, str]]]:
    """(class, pair) per line, pairs unique, classes as even as `shots` allows and in random order."""
    sides = candidates(task, unseen=False)
    n_classes = len(sides)
    classes = [int(c) for _ in range(shots // n_classes) for c in range(n_classes)]
    classes += words.shuffled(range(n_classes), rng, shots % n_classes)
    order = words.shuffled(classes, rng)
    seen: set[tuple[str, str]] = set()
    lines: list[tuple[int, tuple[str, str]]] = []
    for c in order:
        while (pair := sides[c][rng.integers(len(sides[c]))]) in seen:
            pass
        seen.add(pair)
        lines.append((c, pair))
    return lines
