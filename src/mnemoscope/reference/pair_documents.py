"""Labelled word pairs as the world writes them: which lines stand in one training document.

All documents together ask for both words. From documents of all classes alone, models of this size learn to answer from the
right word, which stands beside the colon, and stop there (docs/log.md). So many documents hold only the classes that share a
right category, where the left word alone decides, and their labels weigh more; and many repeat a few lines, where finding the
same line again is enough. Both are easier than the task and lead to it. Every share is the same at every step of training.
"""

from functools import cache
from typing import Final

import numpy as np

from mnemoscope.data import episodes, pairs, words

FAMILIES: Final = (0.15, 0.12, 0.33, 0.40)  # shares of the four families, in the order of TASKS
BALANCED: Final = 0.2  # share of documents in which every class comes once before any comes again; else independent
SAME_RIGHT: Final = 0.55  # of the independent ones: only the classes that share a right category
SAME_LEFT: Final = 0.15  # of the independent ones: only the classes that share a left category
REPEATED: Final = 0.5  # of the independent ones: 2 to 8 different lines, again and again
URGENT: Final = 3.0  # weight of the labels where one right category says nothing, relative to other labels
Pair = tuple[str, str]


def lines(count: int, rng: np.random.Generator) -> tuple[list[tuple[Pair, int]], float]:
    """`count` lines of one document and the weight of their labels.

    A line is a training pair and the digit that stands for its class in this document. The weight is 1, or URGENT where all
    classes share their right category.
    """
    task = episodes.TASKS[tuple(episodes.TASKS)[rng.choice(len(FAMILIES), p=FAMILIES)]]
    every = _training_pairs(task.name)
    balanced = bool(rng.random() < BALANCED)
    shown = list(range(len(every))) if balanced else _shown(task, rng)
    known = _known(task, shown, rng)
    sides = {c: [p for p in every[c] if p[0] in known and p[1] in known] or list(every[c]) for c in shown}
    if not balanced and rng.random() < REPEATED:
        sides = _few(sides, rng)
    digits = rng.permutation(10)[: len(every)].tolist()
    order = _balanced(shown, count, rng) if balanced else [shown[i] for i in rng.integers(len(shown), size=count)]
    weight = URGENT if len({task.classes[c][1] for c in shown}) == 1 else 1.0
    return [(sides[c][rng.integers(len(sides[c]))], digits[c]) for c in order], weight


def _shown(task: pairs.PairTask, rng: np.random.Generator) -> list[int]:
    """All classes, or those that share one category on one side (of two classes always both)."""
    every = list(range(len(task.classes)))
    kind = rng.random()
    if len(every) == 2 or kind >= SAME_RIGHT + SAME_LEFT:
        return every
    side = 1 if kind < SAME_RIGHT else 0
    names = sorted({pair[side] for pair in task.classes})
    name = names[rng.integers(len(names))]
    return [c for c in every if task.classes[c][side] == name]


def _known(task: pairs.PairTask, shown: list[int], rng: np.random.Generator) -> set[str]:
    """The words of a document: 2 to all of each category, few more often (uniform in the logarithm).

    Where they are few, words come again, and the label of an earlier line with the same word helps, which is what copying can
    do; with all words only their category helps.
    """
    few = int(np.exp(rng.uniform(np.log(2), np.log(17))))
    known: set[str] = set()
    for name in sorted({name for c in shown for name in task.classes[c]}):
        known.update(words.shuffled(words.CATEGORIES[name], rng, min(few, len(words.CATEGORIES[name]))))
    return known


def _few(sides: dict[int, list[Pair]], rng: np.random.Generator) -> dict[int, list[Pair]]:
    """2 to 8 of the pairs, at least one of each class, few more often."""
    size = max(len(sides), int(np.exp(rng.uniform(np.log(2), np.log(9)))))
    kept: dict[int, list[Pair]] = {c: [] for c in sides}
    for c in [*sides, *words.shuffled(list(sides) * size, rng)][:size]:
        kept[c].append(sides[c][rng.integers(len(sides[c]))])
    return kept


def _balanced(shown: list[int], count: int, rng: np.random.Generator) -> list[int]:
    return [c for _ in range(count // len(shown) + 1) for c in words.shuffled(shown, rng)][:count]


@cache
def _training_pairs(task: str) -> tuple[tuple[Pair, ...], ...]:
    return pairs.candidates(episodes.TASKS[task], unseen=False)
