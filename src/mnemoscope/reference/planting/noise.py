"""The one definition of noise in planted models (methods.md B8).

    sigma = |noise|_F / |planted block|_F

A planted block is the small matrix between the features that a part reads and those it writes (for a head one block of
query and key features, one of value and output features; for an MLP likewise). The noise fills the block, zeros
included, and nothing outside it; this is the harshest reading: the same energy spread over a whole weight matrix would
fall mostly on features that are never present. The draw does not depend on sigma, so a curve over sigma moves along one
direction. Clocks are noised in amplitude and phase, which keeps them translation invariant and alike in both families.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mnemoscope.errors import InputError
from mnemoscope.reference.planting.parts import Block, Circuit, Head, Mlp

DEFAULT = 0.5
CURVE = (0.0, 0.25, 0.5, 1.0, 2.0)


def noisy(
    values: Float[np.ndarray, "row col"], *, sigma: float, rng: np.random.Generator
) -> Float[np.ndarray, "row col"]:
    """`values` plus Gaussian noise whose Frobenius norm is exactly sigma times that of `values`."""
    draw = rng.standard_normal(values.shape)
    size = np.linalg.norm(draw)
    return values if size == 0 else values + sigma * np.linalg.norm(values) / size * draw


def spoiled(circuit: Circuit, *, sigma: float, rng: np.random.Generator) -> Circuit:
    """The circuit with noise on every block of every part that is not marked exact.

    Raises InputError if sigma is negative or not finite.
    """
    if not 0 <= sigma < np.inf:
        raise InputError(f"noise {sigma}", allowed="a finite number >= 0, relative to the planted block")
    heads = tuple(_head(head, sigma, rng) for head in circuit.heads)
    return replace(circuit, heads=heads, mlps=tuple(_mlp(mlp, sigma, rng) for mlp in circuit.mlps))


def _head(head: Head, sigma: float, rng: np.random.Generator) -> Head:
    sigma = 0.0 if head.exact else sigma
    match, write = _block(head.match, sigma, rng), _block(head.write, sigma, rng)
    draw = rng.standard_normal((len(head.clock), 2))
    drift = sigma * np.linalg.norm(head.clock) / np.linalg.norm(draw) * draw
    return replace(head, match=match, write=write, drift=tuple((float(re), float(im)) for re, im in drift))


def _mlp(mlp: Mlp, sigma: float, rng: np.random.Generator) -> Mlp:
    sigma = 0.0 if mlp.exact else sigma
    return replace(mlp, linear=_block(mlp.linear, sigma, rng), gated=_block(mlp.gated, sigma, rng))


def _block(planted: Block, sigma: float, rng: np.random.Generator) -> Block:
    return replace(planted, values=noisy(planted.values, sigma=sigma, rng=rng))
