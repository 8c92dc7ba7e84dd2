"""Labels that a probe should not read: on a recurring word, shuffled among items, redrawn among candidates (B7.3).

Hewitt and Liang 2019 (EMNLP, "Designing and interpreting probes with control tasks") for the control task.
"""

import numpy as np
from jaxtyping import Bool, Int, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes, matched


def control_labels(
    types: Shaped[np.ndarray, " prompt"], labels: Shaped[np.ndarray, " prompt"], *, rng: np.random.Generator
) -> Shaped[np.ndarray, " prompt"]:
    """Labels of the control task: every type (query word, first name) gets one label at random, in the labels' proportions.

    Read them on folds that balance them and in which the types recur (`recurring`).
    """
    matched("control labels", types=len(types), labels=len(labels))
    code, n = codes(types)
    pool = np.sort(labels)[np.linspace(0, len(labels) - 1, n).round().astype(int)]
    return rng.permutation(pool)[code]


def recurring(types: Shaped[np.ndarray, " prompt"], folds: Int[np.ndarray, "repeat prompt"]) -> None:
    """Raise InputError where a type occurs in one fold only: the control could not be learnt, and any probe look selective."""
    matched("control labels", types=len(types), folds=folds.shape[1])
    code, n = codes(types)
    lonely = [t for t in range(n) if any(len(np.unique(row[code == t])) < 2 for row in folds)]
    if lonely:
        names = np.unique(types)[lonely][:6].tolist()
        raise InputError(
            f"{len(lonely)} types occur in one fold only", found=str(names), hint="attach to a word that recurs"
        )


def shuffled_among_items(
    labels: Shaped[np.ndarray, " prompt"], items: Shaped[np.ndarray, " prompt"], *, rng: np.random.Generator
) -> Shaped[np.ndarray, " prompt"]:
    """The permutation null of a probe: labels exchanged among items, constant within an item; refuses labels that are not."""
    code, n = codes(items)
    first = np.array([int(np.flatnonzero(code == i)[0]) for i in range(n)])
    if (labels[first][code] != labels).any():
        raise InputError("labels vary within an item", hint="items are what the label is assigned to")
    return labels[first][rng.permutation(n)][code]


def redrawn_among_candidates(
    candidates: Bool[np.ndarray, "prompt option"],
    options: Shaped[np.ndarray, " option"],
    items: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
) -> Shaped[np.ndarray, " prompt"]:
    """The null where candidates bound the label: each item asks for a random one of those present."""
    code, n = codes(items)
    liking = rng.random((n, len(options)))[code]
    return options[np.where(candidates, liking, -1.0).argmax(axis=1)]
