"""Kind "induction": a previous-token head and an induction head (Olsson et al. 2022; methods.md P1.3), with decoys.

Layer 0: the previous-token head writes the identity of the token before into "carried". Layer 1: the induction head looks
for the token that carries the current token's identity, that is for what followed it last time, and copies it. Decoys:
a head that attends to earlier copies of the current token, one that copies but never matches, one that matches but does
not copy, random heads.

Facts: `words` (the vocabulary), `period` and `repeats` of the prompts. Prompts: `period` distinct words, repeated; the
last copy breaks off in the middle, the answer is the word that comes next. Roles: "first" (first copy), "repeat".
"""

from dataclasses import dataclass

import numpy as np

from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.reference.planting.asked import hostable
from mnemoscope.reference.planting.decoys import PREVIOUS, Pool, distractors, roles_of_decoys
from mnemoscope.reference.planting.parts import MATCH, RESTING, Circuit, Head, block
from mnemoscope.reference.planting.plan import Dice, Plan, Role
from mnemoscope.reference.planting.truth import Signature
from mnemoscope.reference.planting.words import made_up

MEASURES = ("prefix_matching", "copying", "previous_token", "duplicate_token", "ablation_loss")
WRONG = 0.3  # how much the matcher that does not copy pushes a wrong word


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """vocabulary: words known; period, repeats, documents: of the prompts; distractors: random heads."""

    vocabulary: int = 40
    period: int = 25
    repeats: int = 4
    documents: int = 8
    distractors: int = 2


def plan(sizes: Sizes, dice: Dice) -> Plan:
    """Work the circuit out."""
    hostable(
        "induction", sizes, {"vocabulary": sizes.period, "period": 3, "repeats": 2, "documents": 1, "distractors": 0}
    )
    words = made_up(sizes.vocabulary, rng=dice.words)
    tokens = [f"id/{word}" for word in words]
    pool = Pool(queries=tokens, keys=tokens, reads=tokens, writes=[f"out/{word}" for word in words], size=8)
    heads = (*_heads(words, dice.circuit), *distractors(sizes.distractors, pool, (0, 1), dice.distractors))
    return Plan(
        circuit=Circuit(n_layers=2, words={word: {} for word in words}, heads=heads),
        roles=_roles(),
        facts={"words": list(words), "period": sizes.period, "repeats": sizes.repeats},
        prompts=tuple(_prompt(words, sizes, i, dice.texts) for i in range(sizes.documents)),
    )


def _heads(words: tuple[str, ...], rng: np.random.Generator) -> tuple[Head, ...]:
    carry = block({(f"id/{w}", f"carried/{w}"): 1.0 for w in words})
    find = block({**RESTING, **{(f"id/{w}", f"carried/{w}"): MATCH for w in words}})
    same = block({**RESTING, **{(f"id/{w}", f"id/{w}"): MATCH for w in words}})
    copy = block({(f"id/{w}", f"out/{w}"): 1.0 for w in words})
    shift = int(rng.integers(1, len(words)))
    wrong = block({(f"id/{w}", f"out/{words[(i + shift) % len(words)]}"): WRONG for i, w in enumerate(words)})
    return (
        Head(kind="previous_token", layer=0, clock=PREVIOUS, offset=1, write=carry),
        Head(kind="duplicate_token", layer=0, match=same, write=block({(f"id/{w}", "again/any"): 1.0 for w in words})),
        Head(kind="induction", layer=1, match=find, write=copy),
        Head(kind="copies_never_matches", layer=1, match=block(RESTING), write=copy),
        Head(kind="matches_never_copies", layer=1, match=find, write=wrong),
    )


def _roles() -> dict[str, Role]:
    after = "the token after an earlier copy of the current token"
    seen = {
        "previous_token": (("previous_token", "ablation_loss"), ("prefix_matching", "copying", "duplicate_token")),
        "duplicate_token": (("duplicate_token",), ("prefix_matching", "copying", "previous_token", "ablation_loss")),
        "induction": (("prefix_matching", "copying", "ablation_loss"), ("previous_token", "duplicate_token")),
        "copies_never_matches": (
            ("copying",),
            ("prefix_matching", "previous_token", "duplicate_token", "ablation_loss"),
        ),
        "matches_never_copies": (
            ("prefix_matching",),
            ("copying", "previous_token", "duplicate_token", "ablation_loss"),
        ),
    }
    does = {
        "previous_token": ("the previous token", "its identity, as carried"),
        "duplicate_token": ("the current token and its earlier copies", "that there are any"),
        "induction": (after, "a copy of it"),
        "copies_never_matches": ("position 0", "nothing; would copy any word"),
        "matches_never_copies": (after, "another word, weakly"),
    }
    named = {
        kind: Role(attends=does[kind][0], writes=does[kind][1], signature=Signature(seen=yes, unseen=no))
        for kind, (yes, no) in seen.items()
    }
    return {**named, **roles_of_decoys(MEASURES)}


def _prompt(words: tuple[str, ...], sizes: Sizes, number: int, rng: np.random.Generator) -> Prompt:
    span = [str(word) for word in rng.choice(list(words), size=sizes.period, replace=False)]
    stop = int(rng.integers(1, sizes.period))
    texts = [span] * (sizes.repeats - 1) + [span[:stop]]
    pieces: list[str | tuple[str, str]] = [("first", " ".join(texts[0]))]
    for copy in texts[1:]:
        pieces += [" ", ("repeat", " ".join(copy))]
    foils = tuple(f" {word}" for word in span if word != span[stop])
    return joined(pieces, answer=f" {span[stop]}", foils=foils, labels={"document": number, "period": sizes.period})
