"""Sets of heads to compare a chosen set with: as many heads of the same layers (B5).

A chosen set lies in certain layers, and layers matter by themselves; so chance is every other set with as many heads in each of
those layers. Where there are few of them all are taken, and the smallest p that they allow is said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod

import numpy as np

from mnemoscope.errors import InputError

Head = tuple[int, int]  # layer, head


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Other sets of the same make; `complete`: all there are. smallest_p = 1 / (1 + number of sets)."""

    sets: tuple[tuple[Head, ...], ...]
    complete: bool

    @property
    def smallest_p(self) -> float:
        """What a chosen set that beats all others attains."""
        return 1 / (1 + len(self.sets))


def layer_matched(chosen: Sequence[Head], every: Sequence[Head], *, rng: np.random.Generator, most: int = 100) -> Sets:
    """Sets other than `chosen` with as many heads per layer, from `every`: all if they are fewer than `most`, else `most` of them.

    Drawn ones are distinct. Raises InputError if a chosen head is not among `every` or is named twice.
    """
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(every):
        raise InputError("the chosen heads are not distinct heads of the model", found=str(list(chosen)))
    count = Counter(layer for layer, _ in chosen)
    pools = {layer: sorted(h for at, h in every if at == layer) for layer in sorted(count)}
    total = prod(comb(len(pools[layer]), n) for layer, n in count.items()) - 1
    own = tuple(sorted(chosen))
    if total <= most:
        picks = product(*(combinations(pools[layer], count[layer]) for layer in pools))
        found = [_named(tuple(pools), pick) for pick in picks]
        return Sets(sets=tuple(one for one in found if one != own), complete=True)
    drawn: dict[tuple[Head, ...], None] = {}
    while len(drawn) < most:
        pick = tuple(tuple(sorted(rng.permutation(pools[layer])[: count[layer]].tolist())) for layer in pools)
        one = _named(tuple(pools), pick)
        if one != own:
            drawn[one] = None
    return Sets(sets=tuple(drawn), complete=False)


def _named(layers: tuple[int, ...], pick: Sequence[Sequence[int]]) -> tuple[Head, ...]:
    return tuple((layer, int(head)) for layer, heads in zip(layers, pick, strict=True) for head in heads)
