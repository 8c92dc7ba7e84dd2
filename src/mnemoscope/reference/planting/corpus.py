"""The corpus of kind "semantic": documents that define cue, head, tail and query positions.

A document draws `triples` pairs of every relation. First every pair is introduced, heads and tails in one random order
("<modifier> <head> <filler>", "<tail> <filler>"), so that tails stand on both sides of their heads and other tails are
always about; then every pair's cue comes once, in random order, each followed by a filler. Heads and tails occur once in a
document, tails are never said after their cue: what a model knows about the answer it has from earlier text.
All words are mentions: type entity, cue, modifier or filler; entity "relation0/3/head". Triples: (head, relation, tail).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word
from mnemoscope.data.prompt import Prompt

UPOS = {"entity": "NOUN", "cue": "VERB", "modifier": "ADJ", "filler": "ADV"}
TYPES = {"head": "entity", "tail": "entity", "cue": "cue", "modifier": "modifier", "filler": "filler"}


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The words of one relation; the i-th of each list belong together."""

    relation: str
    heads: tuple[str, ...]
    tails: tuple[str, ...]
    cues: tuple[str, ...]
    modifiers: tuple[str, ...]

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """(head, tail, cue, modifier) of every pair."""
        return tuple(zip(self.heads, self.tails, self.cues, self.modifiers, strict=True))

    def types(self) -> dict[str, dict[str, str | int]]:
        """What every word is."""
        lists = {"head": self.heads, "tail": self.tails, "cue": self.cues, "modifier": self.modifiers}
        return {
            word: {"type": TYPES[role], "role": role, "relation": self.relation, "pair": i}
            for role, words in lists.items()
            for i, word in enumerate(words)
        }


Said = tuple[str, str, int, str]  # role, relation, pair, word


def documents(
    pairings: Sequence[Pairing], fillers: Sequence[str], *, triples: int, count: int, rng: np.random.Generator
) -> Corpus:
    """Write `count` documents."""
    return Corpus(documents=tuple(_document(f"doc{i}", pairings, fillers, triples, rng) for i in range(count)))


def questions(corpus: Corpus, pairings: Sequence[Pairing]) -> tuple[Prompt, ...]:
    """One prompt per document and triple: the text up to the triple's cue, the tail as answer.

    Roles: head, tail, cue (the last word, the query position). Foils: the other entities of the document but the head.
    Labels: document, unit, relation, pair.
    """
    cue_of = {(p.relation, head): cue for p in pairings for head, _, cue, _ in p.rows()}
    return tuple(_question(doc, triple, cue_of) for doc in corpus.documents for triple in doc.triples)


def _question(document: Document, triple: Triple, cue_of: dict[tuple[str, str], str]) -> Prompt:
    head, tail = document.surface(triple.head), document.surface(triple.tail)
    cue = next(
        mention for i, mention in enumerate(document.mentions) if document.surface(i) == cue_of[triple.relation, head]
    )
    entities = [document.surface(i) for i, mention in enumerate(document.mentions) if mention.type == "entity"]
    spans = {role: (document.mentions[i].span,) for role, i in (("head", triple.head), ("tail", triple.tail))}
    return Prompt(
        text=document.text[: cue.span[1]],
        spans={**spans, "cue": (cue.span,)},
        answer=f" {tail}",
        foils=tuple(f" {word}" for word in entities if word not in (head, tail)),
        labels={"document": document.id, "unit": document.unit, "relation": triple.relation, "pair": cue.entity},
    )


def _document(
    name: str, pairings: Sequence[Pairing], fillers: Sequence[str], triples: int, rng: np.random.Generator
) -> Document:
    chosen = [
        (pairing.relation, int(i), *pairing.rows()[int(i)])
        for pairing in pairings
        for i in rng.choice(len(pairing.heads), size=triples, replace=False)
    ]
    filler = lambda: ("filler", "", -1, str(rng.choice(list(fillers))))  # noqa: E731
    intros: list[list[Said]] = []
    for relation, i, head, tail, _, modifier in chosen:
        intros.append([("modifier", relation, i, modifier), ("head", relation, i, head), filler()])
        intros.append([("tail", relation, i, tail), filler()])
    asked: list[list[Said]] = [[("cue", relation, i, cue), filler()] for relation, i, _, _, cue, _ in chosen]
    said = [filler()]
    for phrases in (intros, asked):
        said += [word for at in rng.permutation(len(phrases)) for word in phrases[int(at)]]
    return _assembled(name, said, chosen)


def _assembled(name: str, said: list[Said], chosen: list[tuple[str, int, str, str, str, str]]) -> Document:
    starts = np.cumsum([0, *(len(word) + 1 for *_, word in said)])
    spans = [(int(start), int(start) + len(word)) for start, (*_, word) in zip(starts, said, strict=False)]
    mentions = tuple(
        Mention(span=span, entity=f"{relation}/{pair}/{role}" if relation else f"filler/{word}", type=TYPES[role])
        for span, (role, relation, pair, word) in zip(spans, said, strict=True)
    )
    place = {(role, relation, pair): i for i, (role, relation, pair, _) in enumerate(said) if relation}
    return Document(
        id=name,
        text=" ".join(word for *_, word in said),
        mentions=mentions,
        triples=tuple(
            Triple(head=place["head", relation, i], relation=relation, tail=place["tail", relation, i])
            for relation, i, *_ in chosen
        ),
        words=tuple(Word(span=m.span, upos=UPOS[m.type]) for m in mentions),
        labels={"kind": "semantic"},
    )
