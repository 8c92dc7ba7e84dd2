"""Kind "semantic": semantic induction heads for R relations, and every decoy of methods.md B8.

A relation pairs `pairs` head words with tail words; every pair has a cue word, and a modifier that stands before the head
word. On a cue the semantic head attends to the cue's head word and promotes its tail. At the head word itself it attends
there (stratum j = s). Without anything to attend to, heads rest on position 0. Relation by relation there are, spread over
layers 1 to 3 of four:

    semantic            attends s, OV: head word -> tail
    cue_keyed           attends s, OV: cue -> tail, so that it writes nothing
    contextual          attends s, OV: modifier carried to s by a previous-token head in layer 0 -> tail
    erased              as semantic, and leaves a mark by which the MLP of the last layer takes its write away
    type_promoter       attends s, OV: head word -> every entity alike, half as strong
    tail_copier         attends o, OV: tail -> tail and head word (so that the reverse direction sees it)
    alphabet_successor  attends s, OV: head word -> the next entity of a random alphabet
    never_attends       OV as semantic, rests on position 0

and one each of previous_token (layer 0), sink. Measures are named ri_lit, ri_lit_at_source (stratum j = s), ri_src,
ri_ctx_src, ri_out, ri_reverse, cause, ov_gate_free, over_visible (beats the visible-token null), over_same_type.

Facts: `words` word -> {type, relation, pair}; types are entity, cue, modifier, filler. `pairs` relation -> list of
[head, tail, cue, modifier]. Corpus: documents with all words as mentions; see `corpus.py`.
"""

from dataclasses import dataclass, replace

import numpy as np

from mnemoscope.reference.planting.asked import hostable
from mnemoscope.reference.planting.corpus import Pairing, documents, questions
from mnemoscope.reference.planting.decoys import PREVIOUS, Pool, distractors, roles_of_decoys
from mnemoscope.reference.planting.parts import MATCH, RESTING, Circuit, Head, Mlp, block
from mnemoscope.reference.planting.plan import Dice, Plan, Role
from mnemoscope.reference.planting.truth import Signature
from mnemoscope.reference.planting.words import made_up

SCORES = ("ri_lit", "ri_src", "ri_ctx_src", "ri_out", "cause")
EVERY = (*SCORES, "ri_lit_at_source", "ri_reverse", "ov_gate_free", "over_visible", "over_same_type")
N_LAYERS = 4
ZOO_LAYERS = (1, 2, 3)
TYPE_PUSH = 0.5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """relations, pairs per relation; triples: per relation in a document; fillers: words without a role."""

    relations: int = 2
    pairs: int = 12
    triples: int = 4
    fillers: int = 10
    documents: int = 30
    distractors: int = 6


def plan(sizes: Sizes, dice: Dice) -> Plan:
    """Work the circuit out."""
    least = {
        "relations": 1,
        "pairs": max(3, sizes.triples),
        "triples": 2,
        "fillers": 2,
        "documents": 1,
        "distractors": 0,
    }
    hostable("semantic", sizes, least)
    pairings, fillers = _vocabulary(sizes, dice.words)
    entities = tuple(word for pairing in pairings for word in (*pairing.heads, *pairing.tails))
    heads = (*_heads(pairings, entities, dice.circuit), *_distractors(sizes, pairings, entities, dice.distractors))
    corpus = documents(pairings, fillers, triples=sizes.triples, count=sizes.documents, rng=dice.texts)
    words = {word: kind for pairing in pairings for word, kind in pairing.types().items()}
    words |= {word: {"type": "filler", "relation": "", "pair": -1} for word in fillers}
    return Plan(
        circuit=Circuit(
            n_layers=N_LAYERS, words={w: {} for w in words}, heads=heads, mlps=tuple(_eraser(p) for p in pairings)
        ),
        roles={**_roles(), **roles_of_decoys((*SCORES, "over_same_type"))},
        facts={"words": words, "pairs": {p.relation: [list(row) for row in p.rows()] for p in pairings}},
        prompts=questions(corpus, pairings),
        corpus=corpus,
    )


def _vocabulary(sizes: Sizes, rng: np.random.Generator) -> tuple[tuple[Pairing, ...], tuple[str, ...]]:
    words = iter(made_up(4 * sizes.relations * sizes.pairs + sizes.fillers, rng=rng))
    take = lambda count: tuple(next(words) for _ in range(count))  # noqa: E731
    pairings = tuple(
        Pairing(
            relation=f"relation{r}",
            heads=take(sizes.pairs),
            tails=take(sizes.pairs),
            cues=take(sizes.pairs),
            modifiers=take(sizes.pairs),
        )
        for r in range(sizes.relations)
    )
    return pairings, take(sizes.fillers)


def _heads(pairings: tuple[Pairing, ...], entities: tuple[str, ...], rng: np.random.Generator) -> tuple[Head, ...]:
    following = _alphabet(pairings, entities, rng)
    carry = {(f"id/{m}", f"carried/{m}"): 1.0 for pairing in pairings for m in pairing.modifiers}
    drain = {("tag/bos", f"out/{word}"): float(rng.standard_normal()) / 3 for word in entities}
    heads = [
        Head(kind="previous_token", layer=0, clock=PREVIOUS, offset=1, write=block(carry)),
        Head(kind="sink", layer=0, match=block(RESTING), write=block(drain)),
    ]
    zoo = [head for pairing in pairings for head in _attending(pairing, entities, following)]
    places = rng.permutation([ZOO_LAYERS[i % len(ZOO_LAYERS)] for i in range(len(zoo))])
    return (*heads, *(replace(head, layer=int(layer)) for head, layer in zip(zoo, places, strict=True)))


def _alphabet(pairings: tuple[Pairing, ...], entities: tuple[str, ...], rng: np.random.Generator) -> dict[str, str]:
    """The next entity of every entity, in a random cycle where no tail follows its own head."""
    pairs = {(head, tail) for pairing in pairings for head, tail, _, _ in pairing.rows()}
    while True:
        cycle = [str(word) for word in rng.permutation(list(entities))]
        following = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        if not pairs & set(following.items()):
            return following


def _attending(pairing: Pairing, entities: tuple[str, ...], following: dict[str, str]) -> list[Head]:
    source = {(f"id/{c}", f"id/{h}"): MATCH for h, _, c, _ in pairing.rows()}
    source |= {(f"id/{h}", f"id/{h}"): MATCH for h in pairing.heads}
    target = {(f"id/{c}", f"id/{t}"): MATCH for _, t, c, _ in pairing.rows()}
    rows = pairing.rows()
    writes = {
        "semantic": {(f"id/{h}", f"out/{t}"): 1.0 for h, t, _, _ in rows},
        "cue_keyed": {(f"id/{c}", f"out/{t}"): 1.0 for _, t, c, _ in rows},
        "contextual": {(f"carried/{m}", f"out/{t}"): 1.0 for _, t, _, m in rows},
        "erased": {(f"id/{h}", f"{block_}/{t}"): 1.0 for h, t, _, _ in rows for block_ in ("out", "mark")},
        "type_promoter": {(f"id/{h}", f"out/{e}"): TYPE_PUSH for h in pairing.heads for e in entities},
        "tail_copier": {(f"id/{t}", f"out/{word}"): 1.0 for h, t, _, _ in rows for word in (t, h)},
        "alphabet_successor": {(f"id/{h}", f"out/{following[h]}"): 1.0 for h in pairing.heads},
        "never_attends": {(f"id/{h}", f"out/{t}"): 1.0 for h, t, _, _ in rows},
    }
    matches = {"tail_copier": target, "never_attends": {}}
    return [
        Head(
            kind=kind,
            layer=ZOO_LAYERS[0],
            relation=pairing.relation,
            match=block({**RESTING, **matches.get(kind, source)}),
            write=block(write),
        )
        for kind, write in writes.items()
    ]


def _eraser(pairing: Pairing) -> Mlp:
    away = {(f"mark/{t}", f"{block_}/{t}"): -1.0 for t in pairing.tails for block_ in ("out", "mark")}
    return Mlp(kind="eraser", layer=N_LAYERS - 1, relation=pairing.relation, linear=block(away))


def _distractors(
    sizes: Sizes, pairings: tuple[Pairing, ...], entities: tuple[str, ...], rng: np.random.Generator
) -> tuple[Head, ...]:
    names = [f"id/{word}" for word in entities]
    cues = [f"id/{word}" for pairing in pairings for word in (*pairing.cues, *pairing.heads)]
    pool = Pool(queries=cues, keys=names, reads=names, writes=[f"out/{word}" for word in entities], size=sizes.pairs)
    return distractors(sizes.distractors, pool, range(N_LAYERS), rng)


def _but(measure: str) -> tuple[str, ...]:
    return tuple(name for name in EVERY if name != measure)


def _roles() -> dict[str, Role]:
    ri, at_s = ("ri_src", "ri_ctx_src", "ri_out"), "the head word of the cue's pair"
    table: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
        "semantic": (at_s, "its tail", (*ri, "cause", "ri_lit_at_source", "over_same_type"), ("ri_lit",)),
        "cue_keyed": (at_s, "nothing; would write the tail of a cue", ("ri_lit",), _but("ri_lit")),
        "contextual": (
            at_s,
            "the tail of the modifier before it",
            ("ri_ctx_src", "ri_out", "cause"),
            ("ri_lit", "ri_src"),
        ),
        "erased": (at_s, "its tail, erased in the last layer", ("ri_out",), ("cause",)),
        "type_promoter": (at_s, "every entity alike", ("over_visible",), ("over_same_type", *SCORES)),
        "tail_copier": ("the tail of the cue's pair", "that tail and its head word", ("ri_reverse",), ("ri_lit", *ri)),
        "alphabet_successor": (at_s, "the next entity of an alphabet", (), EVERY),
        "never_attends": (
            "position 0",
            "nothing; would write the tail of a head word",
            ("ov_gate_free",),
            _but("ov_gate_free"),
        ),
        "previous_token": ("the previous token", "a modifier, as carried", (), EVERY),
        "sink": ("position 0", "fixed random entities", (), EVERY),
    }
    named = {
        kind: Role(attends=attends, writes=writes, signature=Signature(seen=seen, unseen=unseen))
        for kind, (attends, writes, seen, unseen) in table.items()
    }
    return {**named, "eraser": Role(writes="takes away what the erased heads wrote")}
