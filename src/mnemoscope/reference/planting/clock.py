"""Relative position inside a head: three clocks of frequency 1, 0.1 and 0.01 radians per token.

A head with clock amplitudes a and offset o adds sum_i a_i cos(f_i (m - n - o)) to the score between query m and key n:
largest where the key stands exactly o tokens before the query. The slow clocks remove the repetitions of the fast one
(cos 1 returns every 2 pi tokens), so a previous-token head is exact up to LONGEST tokens.

GPT-2 holds the clocks in its learned positions (features pos/cos0, pos/sin0 ...): keys read them, queries read them
turned back by o f_i. Llama has no positions in the stream: query and key are constant vectors, and the rotary embedding
turns them. Its theta is chosen such that every k-th rotary frequency is a power of ten, with the smallest k at which theta is
finite in single precision (1 up to d_head = 72): three pairs are the clocks, exactly, and pairs slower than 1e-4 radians per
token hold content (over 256 tokens they turn by 0.03); those between stay empty.
"""

from dataclasses import dataclass
from math import ceil, cos, log10, sin

import numpy as np
from jaxtyping import Float

from mnemoscope.errors import InputError
from mnemoscope.reference.planting.space import ONE

FREQUENCIES = (1.0, 0.1, 0.01)
LONGEST = 600  # tokens of context: 2 pi / 0.01 = 628 tokens back all three clocks agree again
STILL = 1.001e-4  # slower than this counts as not turning
LARGEST_EXPONENT = 36.0  # theta must be finite in single precision
POSITIONS = tuple(f"pos/{wave}{i}" for i in range(len(FREQUENCIES)) for wave in ("cos", "sin"))

Wiring = tuple[tuple[str, ...], Float[np.ndarray, "feature slot"]]  # features read, and into which slots


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Where a family keeps relative position in the d_head slots of a head.

    pairs     slots (x, y) of each clock
    content   slots free for features
    theta     rotary base; 0 for learned positions
    """

    pairs: tuple[tuple[int, int], ...]
    frequencies: tuple[float, ...]
    content: tuple[int, ...]
    theta: float
    d_head: int

    def key(self, strength: float) -> Wiring:
        """What a key must hold: the position turned, or a constant that the rotary embedding will turn."""
        wires = np.zeros((len(self._read()), self.d_head))
        for i, (x, y) in enumerate(self.pairs):
            if self.theta:
                wires[0, x] = strength
            else:
                wires[2 * i, x] = wires[2 * i + 1, y] = strength
        return self._read(), wires

    def query(self, phasors: Float[np.ndarray, "clock part"]) -> Wiring:
        """What a query must hold. `phasors` are a (cos o f, -sin o f): amplitude, and the phase of the offset."""
        wires = np.zeros((len(self._read()), self.d_head))
        for i, ((x, y), (re, im)) in enumerate(zip(self.pairs, phasors, strict=True)):
            if self.theta:
                wires[0, x], wires[0, y] = re, im
            else:
                wires[2 * i, x], wires[2 * i, y] = re, im
                wires[2 * i + 1, x], wires[2 * i + 1, y] = -im, re
        return self._read(), wires

    def phasors(self, amplitudes: tuple[float, ...], offset: int) -> Float[np.ndarray, "clock part"]:
        """Amplitude and phase of each clock, as (real, imaginary)."""
        turns = [(a, -offset * f) for a, f in zip(amplitudes, self.frequencies, strict=True)]
        return np.array([(a * cos(phase), a * sin(phase)) for a, phase in turns])

    def _read(self) -> tuple[str, ...]:
        return (ONE,) if self.theta else POSITIONS


def positions(n_ctx: int) -> Float[np.ndarray, "pos feature"]:
    """Values of the position features at every position, in the order of POSITIONS."""
    angle = np.arange(n_ctx)[:, None] * np.array(FREQUENCIES)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(n_ctx, -1)


def learned(d_head: int) -> Clock:
    """Clocks for learned positions: the first six slots."""
    pairs = tuple((2 * i, 2 * i + 1) for i in range(len(FREQUENCIES)))
    return Clock(
        pairs=pairs, frequencies=FREQUENCIES, content=tuple(range(2 * len(pairs), d_head)), theta=0.0, d_head=d_head
    )


def rotary(d_head: int) -> Clock:
    """Clocks for rotary positions: the pairs (i, i + d_head / 2) whose frequency is 1, 0.1, 0.01."""
    if d_head % 2:
        raise InputError(f"rotary embedding with d_head {d_head}", allowed="an even d_head")
    half = d_head // 2
    every = ceil(half / LARGEST_EXPONENT)
    exponent = half / every
    rates = [10 ** (-i / every) for i in range(half)]
    chosen = [min(range(half), key=lambda i: abs(log10(rates[i] / f))) for f in FREQUENCIES]
    still = [i for i in range(half) if rates[i] <= STILL]
    return Clock(
        pairs=tuple((i, i + half) for i in chosen),
        frequencies=tuple(rates[i] for i in chosen),
        content=(*still, *(i + half for i in still)),
        theta=10.0**exponent,
        d_head=d_head,
    )
