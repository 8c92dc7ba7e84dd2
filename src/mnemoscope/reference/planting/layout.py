"""Which head sits in which slot, and how wide everything must be to host the circuit.

Query heads of one key/value group share keys and values. A group therefore holds the union of what its heads read, each
feature in a slot of its own; a query head reaches only its own slots. The smallest d_head that hosts the largest union is
taken, or, where that is wider, the one that gives the residual stream room for every feature (d_model = heads x d_head).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnemoscope.errors import InputError
from mnemoscope.reference.planting.clock import LONGEST, Clock, learned, rotary
from mnemoscope.reference.planting.parts import RESTING, Circuit, Head, block

FAMILIES = ("gpt2", "llama")
WIDTH_STEP = 4
WIDEST = 4096  # of the residual stream: the model then has a gigabyte, and every product takes minutes


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the caller may choose; None means the smallest that hosts the circuit.

    kv_group   query heads that share one key/value head (1 = none shared)
    """

    n_heads: int | None = None
    d_head: int | None = None
    kv_group: int = 1
    n_ctx: int = 256


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Heads in their slots, `slots[layer][head]`, and the widths that follow."""

    slots: tuple[tuple[Head, ...], ...]
    kv_group: int
    clock: Clock
    n_ctx: int

    @property
    def n_heads(self) -> int:
        """Query heads per layer."""
        return len(self.slots[0])

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.n_heads * self.clock.d_head

    def groups(self, layer: int) -> tuple[tuple[Head, ...], ...]:
        """The heads of one layer by key/value group."""
        return _groups(self.slots[layer], self.kv_group)


def laid_out(circuit: Circuit, size: Size, *, family: str, rng: np.random.Generator) -> Layout:
    """Shuffle the heads of every layer over its slots; free slots get idle heads, which rest on position 0.

    Raises InputError if the sizes asked for cannot host the circuit.
    """
    if size.kv_group < 1 or (family == "gpt2" and size.kv_group > 1):
        raise InputError(
            f"{size.kv_group} query heads per key/value head in family {family!r}",
            allowed="gpt2: 1; llama: any number >= 1",
            hint='family="llama" has grouped heads',
        )
    if size.n_ctx > LONGEST:
        raise InputError(
            f"a context of {size.n_ctx} tokens",
            allowed=f"n_ctx <= {LONGEST}",
            hint="farther back the clocks that tell positions apart repeat",
        )
    n_heads = _n_heads(circuit, size)
    slots = tuple(_filled(circuit, layer, n_heads, rng) for layer in range(circuit.n_layers))
    clock = _clock(circuit, size, slots, family)
    return Layout(slots=slots, kv_group=size.kv_group, clock=clock, n_ctx=size.n_ctx)


def key_features(group: Sequence[Head]) -> tuple[str, ...]:
    """What the keys of a group hold."""
    return tuple(dict.fromkeys(name for head in group for name in head.match.cols))


def value_features(group: Sequence[Head]) -> tuple[str, ...]:
    """What the values of a group hold."""
    return tuple(dict.fromkeys(name for head in group for name in head.write.rows))


def _n_heads(circuit: Circuit, size: Size) -> int:
    fullest = max(sum(head.layer == layer for head in circuit.heads) for layer in range(circuit.n_layers))
    if size.n_heads is None:
        return -(-max(2, fullest) // size.kv_group) * size.kv_group
    if size.n_heads < fullest or size.n_heads % size.kv_group:
        raise InputError(
            f"{size.n_heads} heads per layer in groups of {size.kv_group}",
            allowed=f"at least {fullest}, which the fullest layer holds, and a multiple of {size.kv_group}",
            hint="leave n_heads out, or ask for fewer distractors",
        )
    return size.n_heads


def _filled(circuit: Circuit, layer: int, n_heads: int, rng: np.random.Generator) -> tuple[Head, ...]:
    heads = [head for head in circuit.heads if head.layer == layer]
    idle = Head(kind="idle", layer=layer, match=block(RESTING), exact=True)
    heads += [idle] * (n_heads - len(heads))
    return tuple(heads[i] for i in rng.permutation(n_heads))


def _groups(heads: tuple[Head, ...], size: int) -> tuple[tuple[Head, ...], ...]:
    return tuple(heads[i : i + size] for i in range(0, len(heads), size))


def _clock(circuit: Circuit, size: Size, slots: tuple[tuple[Head, ...], ...], family: str) -> Clock:
    groups = [group for heads in slots for group in _groups(heads, size.kv_group)]
    keys = max(len(key_features(group)) for group in groups)
    values = max(len(value_features(group)) for group in groups)
    room = -(-(len(circuit.features()) + 1) // len(slots[0]))
    make = learned if family == "gpt2" else rotary
    d_head = WIDTH_STEP * -(-max(8, values) // WIDTH_STEP)
    while len(make(d_head).content) < keys:
        d_head += WIDTH_STEP
    needed = max(d_head, WIDTH_STEP * -(-room // WIDTH_STEP))
    if size.d_head is not None and size.d_head < needed:
        raise InputError(
            f"d_head {size.d_head} for this circuit",
            found=f"{keys} key and {values} value features in one group, {len(circuit.features())} features in the stream",
            allowed=f"d_head >= {needed} with {len(slots[0])} heads in family {family!r}",
            hint="leave d_head out, or make the vocabulary smaller",
        )
    d_head = needed if size.d_head is None else size.d_head
    if d_head * len(slots[0]) > WIDEST:
        raise InputError(
            f"a planted model with {len(slots[0])} heads of {d_head}",
            found=f"a stream of width {d_head * len(slots[0])} for {len(circuit.features())} features",
            allowed=f"a width of at most {WIDEST}",
            hint="ask for fewer or smaller heads, or for a smaller vocabulary",
        )
    return make(d_head)
