"""Circuit and layout -> matrices, in the field's names, before any architecture.

Scores are q.k / sqrt(d_head); a planted score is split so that keys and queries have the same size. Every norm is the
identity on the stream (its gain undoes the scale, see `space.py`), so a matrix reads features as they stand.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

from mnemoscope.reference.planting.clock import POSITIONS, Clock, positions
from mnemoscope.reference.planting.layout import Layout, key_features, value_features
from mnemoscope.reference.planting.parts import MATCH, Circuit, Head, Mlp
from mnemoscope.reference.planting.space import BOS, LOGIT_GAIN, ONE, Space
from mnemoscope.reference.planting.words import SPECIAL


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The attention matrices of one layer."""

    W_Q: Float[np.ndarray, "head d_model d_head"]
    W_K: Float[np.ndarray, "kv_head d_model d_head"]
    W_V: Float[np.ndarray, "kv_head d_model d_head"]
    W_O: Float[np.ndarray, "head d_head d_model"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Everything a host needs. MLP parts stay in features: what a neuron is depends on the architecture."""

    space: Space
    layout: Layout
    W_E: Float[np.ndarray, "d_vocab d_model"]
    W_pos: Float[np.ndarray, "pos d_model"]
    W_U: Float[np.ndarray, "d_model d_vocab"]
    attention: tuple[Attention, ...]
    mlps: tuple[tuple[Mlp, ...], ...]


def compiled(circuit: Circuit, layout: Layout, space: Space) -> Weights:
    """Write the circuit's matrices. Rows of W_E and columns of W_U: special tokens, then the words in their order."""
    embed = [space.point({ONE: 1.0} | ({BOS: 1.0} if token == SPECIAL[1] else {})) for token in SPECIAL]
    embed += [space.point({ONE: 1.0, f"id/{word}": 1.0, **extra}) for word, extra in circuit.words.items()]
    outs = LOGIT_GAIN * space.read([f"out/{word}" for word in circuit.words])
    return Weights(
        space=space,
        layout=layout,
        W_E=np.stack(embed),
        W_pos=positions(layout.n_ctx) @ space.write(POSITIONS),
        W_U=np.concatenate([np.zeros((len(SPECIAL), space.d_model)), outs]).T,
        attention=tuple(_attention(layout, layer, space) for layer in range(circuit.n_layers)),
        mlps=tuple(tuple(mlp for mlp in circuit.mlps if mlp.layer == layer) for layer in range(circuit.n_layers)),
    )


def _attention(layout: Layout, layer: int, space: Space) -> Attention:
    groups, clock = layout.groups(layer), layout.clock
    return Attention(
        W_Q=np.stack([_query(head, key_features(group), clock, space) for group in groups for head in group]),
        W_K=np.stack([_key(group, clock, space) for group in groups]),
        W_V=np.stack([_value(value_features(group), clock.d_head, space) for group in groups]),
        W_O=np.stack([_out(head, value_features(group), clock.d_head, space) for group in groups for head in group]),
    )


def _strength(clock: Clock) -> float:
    return sqrt(MATCH * sqrt(clock.d_head))


def _key(group: tuple[Head, ...], clock: Clock, space: Space) -> Float[np.ndarray, "d_model d_head"]:
    features = key_features(group)
    W = np.zeros((space.d_model, clock.d_head))
    W[:, list(clock.content[: len(features)])] = _strength(clock) * space.read(features).T
    if any(any(head.clock) for head in group):
        reads, wires = clock.key(_strength(clock))
        W += space.read(reads).T @ wires
    return W


def _query(head: Head, features: tuple[str, ...], clock: Clock, space: Space) -> Float[np.ndarray, "d_model d_head"]:
    scale = sqrt(clock.d_head) / _strength(clock)
    W = np.zeros((space.d_model, clock.d_head))
    slots = [clock.content[features.index(name)] for name in head.match.cols]
    W[:, slots] = scale * space.read(head.match.rows).T @ head.match.values
    if any(head.clock):
        reads, wires = clock.query(scale * (clock.phasors(head.clock, head.offset) + np.array(head.drift)))
        W += space.read(reads).T @ wires
    return W


def _value(features: tuple[str, ...], d_head: int, space: Space) -> Float[np.ndarray, "d_model d_head"]:
    W = np.zeros((space.d_model, d_head))
    W[:, : len(features)] = space.read(features).T
    return W


def _out(head: Head, features: tuple[str, ...], d_head: int, space: Space) -> Float[np.ndarray, "d_head d_model"]:
    W = np.zeros((d_head, space.d_model))
    W[[features.index(name) for name in head.write.rows]] = head.write.values @ space.write(head.write.cols)
    return W
