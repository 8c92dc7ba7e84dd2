"""Kinds "geometry" and "geometry_twin": prescribed attention ratios, and a prescribed geometry of hidden states.

Prompts (P3.6): "<name> <activity> ." for the person asked and for others, then "ask <name> ?"; the answer is the activity.
With an example, a solved passage about other people stands in front: "... ask <name> ? <activity> ;". Four layers:

    0  spread_near, spread_far bring a name to the next tokens of its sentence; marker looks from "?" for a ";", and says
       whether an example was shown; the MLP marks the asked name, a second time if there was one ("keen")
    1  ratio: every head of the layer. The score of a token of the asked sentence exceeds that of any other sentence by
       exactly log_ratio[0] without an example, log_ratio[1] with one: so does the logarithm of the attention ratio of P3.4
       (t: asked sentence, s: other sentences, a: "?"), of every head and of their mean. They write nothing
    2  mover brings the asked activity to "?"; the MLP puts in place of all of it the code of the item (name, activity):
       strength[0] or strength[1] times (the code of the item's cluster + the item's own deviation)
    3  MLP: answers the activity whose number is the cluster's; a standing push for another word, stronger than
       strength[0], weaker than strength[1]: without an example the format is wrong, with one it is right

In "geometry" the cluster of (name i, activity j) is j, or i with hypothesis="names". In "geometry_twin" clusters are as many,
as large and as strong, but two items share one as often when they share the name, or the activity, as when they do not (to
the nearest pair): after layers 2 and 3 the states at "?" are uncorrelated with either hypothesis over pairs of different items.
(A Latin square would not do: items of one activity would never share a cluster, an alignment below zero.) Layers 0 and 1 hold
the asked name at "?" in both kinds.
Deviations are normal, `spread` per coordinate, without noise too: exact ties would let rounding decide the ranks of
similarities. Noise is in the cluster block alone, so that all else is as prescribed; it is drawn once for the rows that act
without an example, strength[0] long, and once for those that add the rest: with an example clusters stand out more.
Facts: names, activities; hypothesis; items [name, activity, cluster]; strength; log_ratio; geometry_layers;
item_codes: {without, with} example, the realised code of every item in orthonormal cluster coordinates, deviation included.
Prompt roles: relevant, distractor (one range per sentence), query (the last token), example. Labels: name, activity,
cluster, example (bool), distractors, place (of the asked sentence).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from mnemoscope.errors import InputError, choose
from mnemoscope.reference.planting.asked import hostable
from mnemoscope.reference.planting.decoys import PREVIOUS, Pool, distractors, roles_of_decoys
from mnemoscope.reference.planting.geometry_world import World, prompts_of, world_of
from mnemoscope.reference.planting.parts import BOTH, MATCH, RESTING, Circuit, Head, Mlp, block
from mnemoscope.reference.planting.plan import Dice, Plan, Role
from mnemoscope.reference.planting.truth import Json, Signature

MEASURES = ("ratio", "move")
HYPOTHESES = ("activities", "names")
N_LAYERS = 4
TRIES = 300
LARGEST_RATIO = 8.0  # a planted match is worth 24; beyond, the smaller attention is lost beside the other tokens
STRONGEST, MOST_SPREAD = 4.0, 1  # larger codes would move the norm, and with it everything that is prescribed
ANSWER, STANDING = 2.0, 1.2  # of cluster 1 on its answer, and on the word that breaks the format


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """people: names, and as many activities; sentences per passage; heads per layer; see the module for the rest.

    distractors: random heads in layers 0, 2 and 3 that are awake at names and activities and rest at "?", so that what is
    prescribed there stays as it is.
    """

    people: int = 5
    sentences: int = 3
    heads: int = 4
    log_ratio: tuple[float, float] = (0.3, 1.5)
    strength: tuple[float, float] = (0.4, 1.0)
    spread: float = 0.1
    hypothesis: str = "activities"
    draws: int = 2
    distractors: int = 0


def plan(sizes: Sizes, dice: Dice, *, twin: bool) -> Plan:
    """Work the circuit out."""
    kind = "geometry_twin" if twin else "geometry"
    least = {"people": max(3, sizes.sentences), "sentences": 2, "heads": 3, "draws": 1, "spread": 0, "distractors": 0}
    hostable(kind, sizes, least, most={"spread": MOST_SPREAD})
    choose("hypothesis of a planted geometry", sizes.hypothesis, HYPOTHESES)
    low, high = sizes.strength
    if not 0 <= low < STANDING / ANSWER < high <= STRONGEST:
        raise InputError(
            f"strengths {sizes.strength} of a planted geometry",
            allowed=f"0 <= without example < {STANDING / ANSWER} < with example <= {STRONGEST}",
        )
    if max(map(abs, sizes.log_ratio)) > LARGEST_RATIO:
        raise InputError(
            f"log ratios {sizes.log_ratio} of a planted geometry", allowed=f"-{LARGEST_RATIO} to {LARGEST_RATIO}"
        )
    n, world = sizes.people, world_of(sizes.people, dice.words)
    own = {"activities": np.tile(np.arange(n), n), "names": np.repeat(np.arange(n), n)}
    clusters = _orthogonal(own, dice.circuit) if twin else own[sizes.hypothesis]
    items = [(i // n, i % n, int(c)) for i, c in enumerate(clusters)]
    return Plan(
        circuit=_circuit(world, sizes, items, dice.distractors),
        roles={**_roles(), **roles_of_decoys(MEASURES)},
        facts={
            "names": list(world.names),
            "activities": list(world.activities),
            "hypothesis": sizes.hypothesis,
            "items": [[world.names[i], world.activities[j], c] for i, j, c in items],
            "strength": list(sizes.strength),
            "log_ratio": list(sizes.log_ratio),
            "geometry_layers": [2, 3],
        },
        prompts=prompts_of(world, sizes.sentences, sizes.draws, items, rng=dice.texts),
        n_heads=sizes.heads,
        realised=partial(_realised, items=items),
    )


def _orthogonal(
    hypotheses: Mapping[str, Int[np.ndarray, " item"]], rng: np.random.Generator
) -> Int[np.ndarray, " item"]:
    """A random partition into clusters of equal size, improved by swaps until pairs of items that share a cluster are as
    frequent among pairs that share a name, or an activity, as among all pairs (to the nearest whole pair)."""
    labels = rng.permutation(hypotheses["activities"])
    least = _worst(labels, hypotheses)
    for _ in range(TRIES):
        i, j = rng.choice(len(labels), size=2, replace=False)
        labels[[i, j]] = labels[[j, i]]
        worst = _worst(labels, hypotheses)
        if worst > least:
            labels[[i, j]] = labels[[j, i]]
        least = min(worst, least)
    return labels


def _worst(labels: Int[np.ndarray, " item"], hypotheses: Mapping[str, Int[np.ndarray, " item"]]) -> float:
    """Largest excess, in pairs of items, of shared clusters among pairs that share a name or an activity."""
    pairs = np.triu_indices(len(labels), 1)
    same = labels[pairs[0]] == labels[pairs[1]]
    shared = [h[pairs[0]] == h[pairs[1]] for h in hypotheses.values()]
    return max(abs(float((same & design).sum() - same.mean() * design.sum())) for design in shared)


def _circuit(world: World, sizes: Sizes, items: list[tuple[int, int, int]], rng: np.random.Generator) -> Circuit:
    words: dict[str, dict[str, float]] = {w: {} for w in (*world.names, *world.strangers)}
    words |= {w: {"tag/activity": 1.0} for w in (*world.activities, *world.pastimes)}
    words |= {".": {}, "ask": {}, "?": {"tag/end": 1.0}, ";": {"tag/marker": 1.0}, "hm": {}}
    codes = np.eye(len(world.names))[[c for _, _, c in items]]
    codes = codes + sizes.spread * rng.standard_normal(codes.shape)
    mlps = _mlps(world, sizes, items, codes)
    heads = (*_heads(world, sizes), *_distractors(world, sizes, rng))
    return Circuit(n_layers=N_LAYERS, words=words, heads=heads, mlps=mlps)


def _distractors(world: World, sizes: Sizes, rng: np.random.Generator) -> tuple[Head, ...]:
    names = [f"id/{word}" for word in (*world.names, *world.activities)]
    writes = [f"out/{word}" for word in (*world.names, *world.activities)]
    pool = Pool(queries=names, keys=names, reads=names, writes=writes, size=sizes.people)
    made = distractors(sizes.distractors, pool, (2, 3, 0), rng)
    return tuple(replace(head, exact=True) for head in made)  # noise would wake them at "?"


def _heads(world: World, sizes: Sizes) -> tuple[Head, ...]:
    spread = block({(f"id/{n}", f"about/{n}"): 1.0 for n in world.names})
    marker = block({**RESTING, ("tag/end", "tag/marker"): MATCH})
    low, high = sizes.log_ratio
    ratio = {
        (f"{b}/{n}", f"{k}/{n}"): v
        for n in world.names
        for b, v in (("asked", low), ("keen", high - low))
        for k in ("id", "about")
    }
    find = {(f"asked/{n}", f"about/{n}"): MATCH for n in world.names} | {("tag/end", "tag/activity"): MATCH}
    bring = block({(f"id/{a}", f"found/{a}"): 1.0 for a in world.activities})
    return (
        Head(kind="spread_near", layer=0, clock=PREVIOUS, offset=1, write=spread, exact=True),
        Head(kind="spread_far", layer=0, clock=PREVIOUS, offset=2, write=spread, exact=True),
        Head(kind="marker", layer=0, match=marker, write=block({("tag/marker", "shown/any"): 1.0}), exact=True),
        *(Head(kind="ratio", layer=1, match=block(ratio), exact=True) for _ in range(sizes.heads)),
        Head(kind="mover", layer=2, match=block({**RESTING, **find}), write=bring, exact=True),
    )


def _mlps(
    world: World, sizes: Sizes, items: list[tuple[int, int, int]], codes: Float[np.ndarray, "item cluster"]
) -> tuple[Mlp, ...]:
    ask = {(f"tag/end{BOTH}about/{n}", f"asked/{n}"): 1.0 for n in world.names}
    ask |= {(f"shown/any{BOTH}about/{n}", f"keen/{n}"): 1.0 for n in world.names}
    low, high = sizes.strength
    coded = {
        (f"{b}/{world.names[i]}{BOTH}found/{world.activities[j]}", f"cluster/{k}"): v * float(code[k])
        for b, v in (("asked", low), ("keen", high - low))
        for (i, j, _), code in zip(items, codes, strict=True)
        for k in range(len(world.names))
    }
    used = [f"{b}/{n}" for n in world.names for b in ("asked", "keen", "about")] + [
        f"found/{a}" for a in world.activities
    ]
    answer = {(f"cluster/{c}", f"out/{world.activities[c]}"): ANSWER for c in range(len(world.names))}
    return (
        Mlp(kind="asker", layer=0, gated=block(ask), exact=True),
        Mlp(kind="eraser", layer=2, linear=block({(name, name): -1.0 for name in used}), exact=True),
        Mlp(kind="clusters", layer=2, gated=block(coded)),
        Mlp(kind="answerer", layer=3, linear=block({**answer, ("tag/end", "out/hm"): STANDING}), exact=True),
    )


def _realised(circuit: Circuit, *, items: list[tuple[int, int, int]]) -> Mapping[str, Json]:
    """Codes of the items as the noise has left them, at strength 1: rows of the low and the high block, added."""
    planted = next(mlp.gated for mlp in circuit.mlps if mlp.kind == "clusters")
    n = len(items)
    order = [planted.cols.index(f"cluster/{c}") for c in range(len(planted.cols))]
    low, high = planted.values[:n, order], planted.values[n:, order]
    return {"item_codes": {"without": low.tolist(), "with": (low + high).tolist()}}


def _roles() -> dict[str, Role]:
    table = {
        "spread_near": ("the previous token", "the name found there", ()),
        "spread_far": ("the token before the previous one", "the name found there", ()),
        "marker": ("the mark at the end of an example", "that an example was shown", ()),
        "ratio": ("the asked sentence, by the prescribed ratio", "nothing", ("ratio",)),
        "mover": ("the asked activity", "the activity, as code", ("move",)),
        "asker": ("", "which name is asked, and whether an example was shown", ()),
        "eraser": ("", "takes name and activity away", ()),
        "clusters": ("", "the item's code", ()),
        "answerer": ("", "the activity that has the number of the cluster", ()),
    }
    free = {"mover": (), "spread_near": ("move",), "spread_far": ("move",), "marker": ("move",)}
    return {
        kind: Role(
            attends=attends,
            writes=writes,
            signature=Signature(seen=seen, unseen=free.get(kind, tuple(name for name in MEASURES if name not in seen))),
        )
        for kind, (attends, writes, seen) in table.items()
    }
