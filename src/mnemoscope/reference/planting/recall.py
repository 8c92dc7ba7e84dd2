"""Kinds "recall" and "attribute": how a fact is answered, and the decoy that answers it another way (Lv et al. 2024).

Prompts: "<bystander> <filler> the <relation word> of <topic> <filler> is"; the answer is a word that belongs to relation
and topic. Four layers. Kind "recall" carries the topic and applies the relation afterwards:

    mover           layers 1, 2: last position -> topic; writes the topic, as code "moved" and visibly
    relation_mover  layer 1: last position -> relation word; writes which relation is asked
    wrong_neighbour layer 1: last position -> topic; writes another topic    } erased by the MLP of layer 2,
    wrong_bystander layer 2: last position -> bystander; writes the bystander } regression weight and e_h = -1
    answerer        MLP of layer 2: relation and moved topic -> answer; movers amplified (e_h = AMPLIFY); wrong topics erased
    suppressor      MLP (or a head) of layer 3: takes a known amount of logits from the answer: B6.7's write term

Kind "attribute" looks alike from outside and fails B6.6's control: an MLP of layer 0 writes all attributes at the topic, and
one attribute_mover per relation, awake only when its relation is asked, carries the finished answer to the last position.

In plain text both kinds expect habitual words (`habits`), which the suppressor spares or not.
With demonstrations in front, heads prefer the last topic (slow clocks), so few-shot prompts are answered too.
Measures are named move, relate, erase, apply, suppress; each head or MLP that is not meant is a decoy.
Facts: `relations` relation -> {noun, templates, facts: [[topic, answer]]}; `topics`, `bystanders`; `amplify`;
`suppression` {layer, component "mlp" or "head", logits, centred_logits, alike}: the amount without noise that this component
takes; distractors of the last layer write beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnemoscope.errors import InputError, choose
from mnemoscope.reference.planting import habits
from mnemoscope.reference.planting.asked import hostable
from mnemoscope.reference.planting.decoys import Pool, distractors, roles_of_decoys
from mnemoscope.reference.planting.parts import BOTH, MATCH, RESTING, Circuit, Head, Mlp, block
from mnemoscope.reference.planting.plan import Dice, Plan, Role
from mnemoscope.reference.planting.recall_world import World, prompts_of, relations_of, tagged, told, world_of
from mnemoscope.reference.planting.space import LOGIT_GAIN
from mnemoscope.reference.planting.truth import Json, Signature
from mnemoscope.reference.planting.words import SPECIAL

MEASURES = ("move", "relate", "erase", "apply", "suppress")
N_LAYERS = 4
ANSWER = 2.0  # what answering adds to the answer: 12 logits
MOST_TAKEN = 8  # logits that the suppressor may take; the topic itself has 3.6, which the answer must exceed
VISIBLE = 0.4  # how much of a topic the movers together show to the unembedding
AMPLIFY = 0.5
LATEST = (0.0, 15.0, 15.0)  # clocks that prefer the last topic: about 8 units of score per 10 tokens of distance
SUPPRESSORS = ("mlp", "head")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """topics per relation, relations, templates per relation; amount: logits taken by the suppressor, and by what.

    alike: it takes the same amount from what is expected in plain text (`habits`), so that facts are nothing special.
    """

    topics: int = 12
    relations: int = 3
    templates: int = 5
    movers: int = 2
    amount: float = 3.0
    suppressor: str = "mlp"
    alike: bool = False
    distractors: int = 6


def plan_recall(sizes: Sizes, dice: Dice) -> Plan:
    """Work out the circuit that carries the topic and applies the relation."""
    world = _world("recall", sizes, dice.words)
    heads = (*_movers(world, sizes.movers), *_wrong(world))
    return _plan(sizes, dice, world, heads, (_answerer(world), *_suppressor_mlp(world, sizes)))


def plan_attribute(sizes: Sizes, dice: Dice) -> Plan:
    """Work out the decoy, whose heads carry the finished answer."""
    world = _world("attribute", sizes, dice.words)
    knows = {(f"id/{t}", f"known/{a}"): 1.0 for _, t, a in world.asked()}
    knowing = Mlp(kind="attributes", layer=0, linear=block(knows))
    return _plan(sizes, dice, world, _attribute_movers(world), (knowing, *_suppressor_mlp(world, sizes)))


def _world(kind: str, sizes: Sizes, rng: np.random.Generator) -> World:
    least = {"topics": 3, "relations": 2, "templates": 2, "movers": 1, "distractors": 0, "amount": 0}
    most = {"movers": 3, "amount": MOST_TAKEN} | ({"relations": 3} if kind == "attribute" else {})
    hostable(kind, sizes, least, most)
    if kind == "attribute" and sizes.movers != Sizes().movers:
        raise InputError(
            f"{sizes.movers} movers in a planted 'attribute' circuit",
            allowed="no choice: one head per relation carries the answer",
            hint="leave movers out, or ask for kind 'recall'",
        )
    choose("suppressor of planted fact circuits", sizes.suppressor, SUPPRESSORS)
    if sizes.alike and sizes.suppressor != "mlp":
        raise InputError("a suppressor of all that is expected", found=sizes.suppressor, allowed="mlp")
    return world_of(sizes.topics, sizes.relations, sizes.templates, rng)


def _plan(sizes: Sizes, dice: Dice, world: World, heads: tuple[Head, ...], mlps: tuple[Mlp, ...]) -> Plan:
    carry = {(f"id/{w}", f"asked/{w}"): 1.0 for w in world.words}
    relate = Head(
        kind="relation_mover", layer=1, match=_ending("tag/relation"), clock=LATEST, offset=5, write=block(carry)
    )
    answers = [answer for row in world.answers for answer in row]
    names = [f"id/{w}" for w in (*world.topics, *world.bystanders, *world.words, *world.fillers)]
    pool = Pool(
        queries=["tag/end", *names], keys=names, reads=names, writes=[f"out/{a}" for a in answers], size=sizes.topics
    )
    heads = (
        relate,
        *heads,
        *_suppressor_head(world, sizes),
        *distractors(sizes.distractors, pool, range(N_LAYERS), dice.distractors),
    )
    relations = relations_of(world, dice.texts)
    words = _vocabulary(world)
    return Plan(
        circuit=Circuit(n_layers=N_LAYERS, words=words, heads=heads, mlps=(habits.expecting(), *mlps)),
        roles={**_roles(), **roles_of_decoys(MEASURES)},
        facts={**told(world, relations), **_facts(sizes, len(words) + len(SPECIAL))},
        prompts=prompts_of(relations),
        relations=relations,
    )


def _vocabulary(world: World) -> dict[str, dict[str, float]]:
    words = tagged(world)
    return {w: {} for w in habits.HABITUAL if w not in words} | words


def _ending(key: str, query: Mapping[str, float] | None = None):
    return block({**RESTING, **{(name, key): score for name, score in (query or {"tag/end": MATCH}).items()}})


def _movers(world: World, count: int) -> tuple[Head, ...]:
    write = {(f"id/{t}", f"moved/{t}"): 1 / count for t in world.topics}
    write |= {(f"id/{t}", f"out/{t}"): VISIBLE / count for t in world.topics}
    return tuple(
        Head(kind="mover", layer=1 + i % 2, match=_ending("tag/topic"), clock=LATEST, offset=3, write=block(write))
        for i in range(count)
    )


def _wrong(world: World) -> tuple[Head, ...]:
    following = dict(zip(world.topics, (*world.topics[1:], world.topics[0]), strict=True))
    neighbour = {
        (f"id/{t}", f"{b}/{following[t]}"): v for t in world.topics for b, v in (("wrong", 1.0), ("out", VISIBLE))
    }
    passer = {(f"id/{w}", f"{b}/{w}"): v for w in world.bystanders for b, v in (("wrong", 1.0), ("out", VISIBLE))}
    return (
        Head(
            kind="wrong_neighbour", layer=1, match=_ending("tag/topic"), clock=LATEST, offset=3, write=block(neighbour)
        ),
        Head(
            kind="wrong_bystander", layer=2, match=_ending("tag/bystander"), clock=LATEST, offset=7, write=block(passer)
        ),
    )


def _answerer(world: World) -> Mlp:
    gated = {
        (f"asked/{w}{BOTH}moved/{t}", f"{b}/{a}"): v
        for w, t, a in world.asked()
        for b, v in (("out", ANSWER), ("answered", 1.0))
    }
    linear = {
        (f"moved/{t}", f"{b}/{t}"): AMPLIFY * v for t in world.topics for b, v in (("moved", 1.0), ("out", VISIBLE))
    }
    linear |= {
        (f"wrong/{w}", f"{b}/{w}"): -v
        for w in (*world.topics, *world.bystanders)
        for b, v in (("wrong", 1.0), ("out", VISIBLE))
    }
    return Mlp(kind="answerer", layer=2, linear=block(linear), gated=block(gated))


def _attribute_movers(world: World) -> tuple[Head, ...]:
    return tuple(
        Head(
            kind="attribute_mover",
            relation=word,
            layer=2,
            match=_ending("tag/topic", {f"asked/{word}": MATCH}),
            clock=LATEST,
            offset=3,
            write=block({(f"known/{a}", f"{b}/{a}"): v for a in row for b, v in (("out", ANSWER), ("answered", 1.0))}),
        )
        for word, row in zip(world.words, world.answers, strict=True)
    )


def _taken(world: World, amount: float) -> dict[tuple[str, str], float]:
    return {(f"answered/{a}", f"out/{a}"): -amount / LOGIT_GAIN for _, _, a in world.asked()}


def _suppressor_mlp(world: World, sizes: Sizes) -> tuple[Mlp, ...]:
    taken = _taken(world, sizes.amount) | (habits.taken(sizes.amount) if sizes.alike else {})
    return (Mlp(kind="suppressor", layer=N_LAYERS - 1, linear=block(taken)),) if sizes.suppressor == "mlp" else ()


def _suppressor_head(world: World, sizes: Sizes) -> tuple[Head, ...]:
    if sizes.suppressor == "mlp":
        return ()
    here = block({**RESTING, ("tag/end", "tag/end"): MATCH})
    taken = block(_taken(world, sizes.amount))
    return (Head(kind="suppressor", layer=N_LAYERS - 1, match=here, clock=LATEST, offset=0, write=taken),)


def _facts(sizes: Sizes, d_vocab: int) -> dict[str, Json]:
    return {
        "amplify": AMPLIFY,
        "suppression": {
            "layer": N_LAYERS - 1,
            "component": sizes.suppressor,
            "logits": sizes.amount,
            "centred_logits": sizes.amount * (1 - 1 / d_vocab),
            "alike": sizes.alike,
        },
    }


def _roles() -> dict[str, Role]:
    table = {
        "mover": ("the topic", "the topic", ("move",)),
        "relation_mover": ("the relation word", "which relation is asked", ("relate",)),
        "wrong_neighbour": ("the topic", "another topic, which the answerer erases", ("erase",)),
        "wrong_bystander": ("the bystander", "the bystander, which the answerer erases", ("erase",)),
        "answerer": ("", "the answer; amplifies the movers, erases wrong topics", ("apply",)),
        "attribute_mover": ("the topic, when its relation is asked", "the finished answer", ("carry_attribute",)),
        "attributes": ("", "all attributes of the topic, at the topic", ()),
        "habits": ("", "the word that habit expects in plain text", ()),
        "suppressor": ("itself", "minus a known amount of the answer", ("suppress",)),
        "": ("", "", ()),
    }
    return {
        kind: Role(
            attends=attends,
            writes=writes,
            signature=Signature(seen=seen, unseen=tuple(name for name in MEASURES if name not in seen)),
        )
        for kind, (attends, writes, seen) in table.items()
    }
