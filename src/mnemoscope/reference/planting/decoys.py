"""Heads that are there to be told apart from the real ones: of the same shape and size, with random contents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from mnemoscope.reference.planting.parts import MATCH, RESTING, Head, block
from mnemoscope.reference.planting.plan import Role
from mnemoscope.reference.planting.truth import Signature

PREVIOUS = (50.0, 50.0, 50.0)  # clock amplitudes: any other token up to LONGEST pays at most e^-10 of the previous one


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What distractors of a kind may read and write, and how many features each takes (the size of the planted blocks)."""

    queries: Sequence[str]
    keys: Sequence[str]
    reads: Sequence[str]
    writes: Sequence[str]
    size: int


def distractors(count: int, pool: Pool, layers: Sequence[int], rng: np.random.Generator) -> tuple[Head, ...]:
    """Random heads whose blocks have the Frobenius norm of the planted ones: `size` matches, `size` writes of 1."""
    places = [layers[i % len(layers)] for i in range(count)]
    return tuple(_distractor(pool, int(layer), rng) for layer in rng.permutation(places))


def roles_of_decoys(unseen: tuple[str, ...]) -> dict[str, Role]:
    """Distractors and idle heads: to be seen by nothing."""
    signature = Signature(unseen=unseen)
    return {
        "distractor": Role(attends="at random", writes="random tokens", signature=signature),
        "idle": Role(attends="position 0", writes="nothing", signature=signature),
    }


def _distractor(pool: Pool, layer: int, rng: np.random.Generator) -> Head:
    match = _random(pool.queries, pool.keys, pool.size, MATCH, rng)
    write = _random(pool.reads, pool.writes, pool.size, 1.0, rng)
    return Head(kind="distractor", layer=layer, match=block({**RESTING, **match}), write=block(write))


def _random(
    rows: Sequence[str], cols: Sequence[str], size: int, strength: float, rng: np.random.Generator
) -> Mapping[tuple[str, str], float]:
    chosen = [
        [str(x) for x in rng.choice(list(side), size=min(size, len(side)), replace=False)] for side in (rows, cols)
    ]
    each = strength * sqrt(size) / sqrt(len(chosen[0]) * len(chosen[1]))
    return {(row, col): each * float(rng.standard_normal()) for row in chosen[0] for col in chosen[1]}
