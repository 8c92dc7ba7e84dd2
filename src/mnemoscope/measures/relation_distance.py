"""How often a head would attend to the head word by distance alone: the chance level of the pass rate.

A head that prefers recent positions, or rests on a sink, attends to head words more or less often than one position in j + 1
whatever they mean. So its own habits are its chance: how often it attends as far back to positions that are no head words. The
definition is ours (docs/method.md); arXiv 2402.13055 reports pass rates without a chance level.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.measures.relation_cells import RATES
from mnemoscope.measures.relation_events import Events
from mnemoscope.measures.relation_gate import Gate
from mnemoscope.measures.relation_pass import Measured
from mnemoscope.measures.relation_sums import TAU, strata

GATES: Mapping[str, float] = {"argmax": 1.0, "tau": TAU}  # whose pass rate has a chance level


def pass_null(gate: Gate, event: Events, tau: float) -> Float[Tensor, "head event"]:
    """Rate at which each head passes its gate at positions as far back as the head word that are no head words.

        null(s, j) = sum over j' of [j' - d passes at j'] / (number of j'),    d = j - s

    over the attending positions j' of the text at which j' - d is visible, no sink, and head word of no triple. "Passes at j'" is
    what the gate asks of s: the largest weight there, and more than tau times the runner-up. Where the text has no such j' the
    nearest distances that have one take its place, both sides together. In [0, 1]; pass rate - null has mean 0 for a head whose
    attention follows distance alone, with whatever preference for sinks. Distances are not binned: the nearest are rare among
    opportunities (the tail has to be visible), so a head that always looks two tokens back would not have the rate of its bin.

    A head word that is a sink is attended to as one: null is the gate itself, and the opportunity says nothing. nan where
    the text has no position to compare with.
    """
    passing = gate.passes(tau).float()
    if not len(event.query):
        return passing
    hits, count = _profile(gate, event, tau)
    distance, at = (event.query - event.source).unique(return_inverse=True)
    near = _nearest(distance, count)
    rate = (hits @ near) / (count @ near)
    return torch.where(gate.sinks[event.source], passing, rate[:, at])


def _profile(
    gate: Gate, event: Events, tau: float
) -> tuple[Float[Tensor, "head distance"], Float[Tensor, " distance"]]:
    """How often every distance is attended to, and how often it could be, at positions that may be compared."""
    positions, _ = event.queries()
    free = ~gate.sinks
    free[event.source] = False
    distance = torch.arange(len(free), device=free.device)
    place = positions[:, None] - distance
    count = (free[place.clamp(min=0)] & (place >= 0)).sum(0)
    counted = free[gate.attended] & (gate.dominance > max(tau, 1.0))
    hits = torch.zeros(len(gate.attended), len(free), device=free.device)
    return hits.scatter_add(1, positions - gate.attended, counted.float()), count.float()


def _nearest(distance: Int[Tensor, " wanted"], count: Float[Tensor, " distance"]) -> Float[Tensor, "distance wanted"]:
    """1 at the distances that stand for each wanted one: itself where it occurs, else the nearest that do; 0 elsewhere."""
    every = torch.arange(len(count), device=count.device)
    away = (every[:, None] - distance).abs().float().masked_fill((count == 0)[:, None], torch.inf)
    chosen: Bool[Tensor, "distance wanted"] = (away == away.amin(0)) & away.isfinite()
    return chosen.float()


def rates(one: Measured) -> pl.DataFrame:
    """Pass rate of every head on one text and the rate that its distances alone give, triples averaged within relation."""
    layers, event = list(one.layers.values()), one.events
    names, triples, over = _weights(event, one.text.relations)
    frames: list[pl.DataFrame] = []
    for name, tau in GATES.items() if layers and len(names) else ():
        passes = torch.stack([layer.gate.passes(tau).double() for layer in layers]).cpu().numpy() @ over
        null = torch.stack([pass_null(layer.gate, event, tau).double() for layer in layers]).cpu().numpy() @ over
        layer, head, relation = (axis.ravel() for axis in np.indices(passes.shape))
        frames.append(
            pl.DataFrame(
                {
                    "document": [one.text.document.unit] * passes.size,
                    "relation": names[relation],
                    "slice": [name] * passes.size,
                    "layer": np.array(list(one.layers))[layer],
                    "head": head,
                    "triples": triples[relation],
                    "pass_rate": passes.ravel(),
                    "null_pass_rate": null.ravel(),
                },
                schema=dict(RATES),
            )
        )
    return pl.concat([pl.DataFrame(schema=dict(RATES)), *frames])


def _weights(
    event: Events, relations: tuple[str, ...]
) -> tuple[np.ndarray, Int[np.ndarray, " relation"], Float[np.ndarray, "event relation"]]:
    """Relations, their triples with a headline opportunity, and the weight of every opportunity in a relation's mean."""
    triple = event.triple.cpu().numpy()
    member = np.zeros((len(triple), len(relations)))
    member[np.arange(len(triple)), triple] = strata(event)["other"]
    kept = member.sum(0) > 0
    names, code = np.unique(np.array(relations, dtype=object)[kept].astype(str), return_inverse=True)
    triples = np.bincount(code, minlength=len(names))
    each = member[:, kept] / member[:, kept].sum(0)
    return names, triples, each @ np.eye(len(names))[code] / triples
