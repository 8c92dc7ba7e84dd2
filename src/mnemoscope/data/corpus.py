"""The built-in corpus: our own sentences with gold trees and triples as documents, the default where no data are given.

Three kinds, all drawn by a seed. `letters` and `things`: statements of the seven AGENDA relations between entities that are
capital letters (drawn anew for every document, methods.md B1.1) or common words. A third entity, a bystander, stands behind
the head or behind the tail ("The X near the T is part of the O") or is absent, so that the tail is not always the next entity
to be mentioned and neighbourhood alone does not give it away. `trees`: narratives with subj, obj and mod
from trees that are right by construction (`grammar.py`), joined, cut and deleted as a treebank is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnemoscope.data import agenda, grammar, trees, words
from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word
from mnemoscope.data.function_words import deletable
from mnemoscope.data.prompt import Span
from mnemoscope.data.repeats import narrative
from mnemoscope.errors import DataError, choose

KINDS = ("letters", "things", "trees")
PAIRS = 6  # statements per document: with as many bystanders, eighteen of the twenty letters
NOUNS = ("nsubj", "obj", "obl", "nmod", "conj")
UPOS = {
    **dict.fromkeys(NOUNS, "NOUN"),
    "det": "DET",
    "case": "ADP",
    "aux": "AUX",
    "cop": "AUX",
    "cc": "CCONJ",
    "punct": "PUNCT",
    "amod": "ADJ",
    "advmod": "ADV",
}


def built_in(
    kind: str,
    *,
    documents: int = 200,
    seed: int = 0,
    mentions: int = 1,
    entities: Sequence[str] = (),
    delete_function_words: bool = False,
) -> Corpus:
    """Draw `documents` documents of one kind (`trees`: as many narratives, each cut into documents of about 120 words).

    Document k does not depend on how many are drawn; it is a unit of independence (`trees`: the narrative is). `letters`
    and `things`: six statements between twelve different entities, the relations in turn, and four bystanders. With
    `mentions` > 1 every pair is stated again, in either of two wordings and another order; its triple stays the one of
    the first statement, and entities then occur more than once. `entities` replaces our own letters or things, for a
    tokenizer that splits some of them; at least eighteen, and not words of the statements.
    """
    choose("kind of built-in corpus", kind, KINDS)
    if documents < 1 or mentions < 1:
        raise DataError("no built-in corpus", found=f"documents={documents}, mentions={mentions}", allowed="at least 1")
    if kind == "trees":
        return trees.documents(
            _narratives(documents, seed), source="built-in", delete_function_words=delete_function_words
        )
    members = tuple(dict.fromkeys(entities)) or (agenda.LETTERS if kind == "letters" else words.THINGS)
    if len(members) < 3 * PAIRS:
        raise DataError(f"too few entities for {kind}", found=f"{len(members)}", allowed=f"at least {3 * PAIRS}")
    made: list[Document] = []
    for number in range(documents):
        rng = np.random.default_rng([seed, KINDS.index(kind), number])
        told = _statements(members, number * PAIRS, mentions, rng)
        made.append(_document(kind, number, told, delete_function_words))
    return Corpus(documents=tuple(made))


@dataclass(frozen=True, kw_only=True)
class _Stated:
    """A statement and the words of it that are entities, in order; the triple is the sentence's own."""

    sentence: grammar.Sentence
    entities: tuple[int, ...]


def _statements(members: Sequence[str], turn: int, mentions: int, rng: np.random.Generator) -> tuple[_Stated, ...]:
    drawn = [members[int(i)] for i in rng.permutation(len(members))[: 3 * PAIRS]]
    names = [agenda.RELATIONS[(turn + i) % len(agenda.RELATIONS)] for i in range(PAIRS)]
    # where the bystander stands: nowhere, behind the first entity, behind the second
    places = [int(i) % 3 for i in rng.permutation(PAIRS)]
    told: list[_Stated] = []
    for again in range(mentions):
        for i in (int(i) for i in rng.permutation(PAIRS)):
            stated = grammar.statement(names[i], drawn[i], drawn[PAIRS + i], rng)
            told.append(_with_bystander(stated, drawn[2 * PAIRS + i], 0 if again else places[i]))
    return tuple(told)


def _with_bystander(stated: grammar.Sentence, bystander: str, place: int) -> _Stated:
    """The statement with "near the <bystander>" behind its first (1) or second (2) entity, or as it is (0)."""
    ends = sorted((stated.triples[0].head, stated.triples[0].tail))
    if not place:
        return _Stated(sentence=stated, entities=tuple(ends))
    at = ends[place - 1] + 1
    where = stated.words[at - 1].stop
    new: list[grammar.Word] = []
    for word in ("near", "the", bystander):
        start = (new[-1].stop if new else where) + 1
        new.append(grammar.Word(text=word, start=start, stop=start + len(word)))
    longer = new[-1].stop - where
    old = [word if i < at else _moved(word, longer) for i, word in enumerate(stated.words)]
    heads = [head + 3 if head >= at else head for head in stated.heads]
    (triple,) = stated.triples
    sentence = grammar.Sentence(
        text=stated.text[:where] + f" near the {bystander}" + stated.text[where:],
        words=(*old[:at], *new, *old[at:]),
        heads=(*heads[:at], at + 2, at + 2, at - 1, *heads[at:]),
        deprels=(*stated.deprels[:at], "case", "det", "nmod", *stated.deprels[at:]),
        triples=(replace(triple, head=_later(triple.head, at), tail=_later(triple.tail, at)),),
    )
    return _Stated(sentence=sentence, entities=tuple(sorted((*(_later(end, at) for end in ends), at + 2))))


def _moved(word: grammar.Word, by: int) -> grammar.Word:
    return replace(word, start=word.start + by, stop=word.stop + by)


def _later(index: int, at: int) -> int:
    return index + 3 if index >= at else index


def _document(kind: str, number: int, told: Sequence[_Stated], delete: bool) -> Document:
    text = ""
    mentions: list[Mention] = []
    triples: list[Triple] = []
    spans: list[Word] = []
    for place, stated in enumerate(told):
        sentence = stated.sentence
        text += " " if text else ""
        said, at = _kept(sentence, delete, len(text))
        text += said
        spans += [Word(span=span, upos=_upos(sentence, i)) for i, span in at.items()]
        index = {word: len(mentions) + i for i, word in enumerate(stated.entities)}
        mentions += [Mention(span=at[i], entity=sentence.words[i].text, type=kind[:-1]) for i in stated.entities]
        if place < PAIRS:
            (triple,) = sentence.triples
            triples.append(Triple(head=index[triple.head], relation=triple.relation, tail=index[triple.tail]))
    return Document(
        id=f"built-in-{kind}:{number}",
        text=text,
        mentions=tuple(mentions),
        triples=tuple(triples),
        words=tuple(spans),
        labels={"source": "built-in", "kind": kind, "function_words": not delete},
    )


def _kept(sentence: grammar.Sentence, delete: bool, start: int) -> tuple[str, dict[int, Span]]:
    """The sentence without its deleted words, and where each kept word stands if the sentence begins at `start`."""
    text, before = "", -1
    at: dict[int, Span] = {}
    for i, word in enumerate(sentence.words):
        if delete and deletable(word.text, _upos(sentence, i)):
            continue
        glued = i == before + 1 and i > 0 and sentence.words[i - 1].stop == word.start
        text += " " if text and not glued else ""
        at[i] = (start + len(text), start + len(text) + len(word.text))
        text += word.text
        before = i
    return text, at


def _upos(sentence: grammar.Sentence, index: int) -> str:
    """The part of speech that a word has in our closed grammar."""
    word, label = sentence.words[index].text, sentence.deprels[index]
    if word == "We":
        return "PRON"
    if word in words.FIRST_NAMES:
        return "PROPN"
    if label == "root":
        copula = any(d == "cop" and h == index for h, d in zip(sentence.heads, sentence.deprels, strict=True))
        return "ADJ" if copula else "VERB"
    return UPOS[label]


def _narratives(count: int, seed: int) -> Iterator[trees.Sentence]:
    for number in range(count):
        story = narrative(np.random.default_rng([seed, KINDS.index("trees"), number]), sentences=40)
        for place, sentence in enumerate(story.sentences):
            nodes = tuple(
                trees.Node(span=(word.start, word.stop), upos=_upos(sentence, i), head=head + 1, deprel=label)
                for i, (word, head, label) in enumerate(
                    zip(sentence.words, sentence.heads, sentence.deprels, strict=True)
                )
            )
            name = f"built-in-trees:{number}"
            yield trees.Sentence(id=f"{name}.{place}", text=sentence.text, nodes=nodes, document=name)
