"""AGENDA: paper abstracts with entities, entity types and triples of seven relations (methods.md P1.1).

One abstract is one line of six tab-separated columns: title; entities ("a ; b"); entity types ("<method> <task>");
triples of indices ("head relation tail ; ..."), the relation being a line number of relations.vocab, from 0; the
abstract with `<type_index>` where an entity stands; an order line, which is not used.

Two ways to write an abstract down. *Letters*: every entity becomes one capital letter, drawn by a seeded permutation
per abstract and redraw (methods.md B1.1). *Natural*: entities are written out; of the head's phrase the last token
counts, of the tail's the first. Either can be done for whole abstracts or sentence by sentence (`sentences`).
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word, tally
from mnemoscope.data.function_words import deletable
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Label
from mnemoscope.errors import DataError, choose, listed

RELATIONS = ("USED-FOR", "CONJUNCTION", "FEATURE-OF", "PART-OF", "COMPARE", "EVALUATE-FOR", "HYPONYM-OF")
LETTERS = tuple(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in "AINSWE")  # these six mean something
BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
COLUMNS = 6
PLACEHOLDER = re.compile(r"<([a-z]+)_(\d+)>")


@dataclass(frozen=True, kw_only=True)
class Abstract:
    """One line of the file, or one sentence of it.

    unit      the line it comes from
    pieces    the abstract's words: a string, or an index into `entities`
    triples   (head, relation, tail), head and tail indices into `entities`
    """

    id: str
    unit: str
    title: str
    entities: tuple[str, ...]
    types: tuple[str, ...]
    triples: tuple[tuple[int, str, int], ...]
    pieces: tuple[str | int, ...]


def read(path: Path) -> tuple[Abstract, ...]:
    """Read an AGENDA file. Raises DataError listing every malformed line with its number."""
    abstracts: list[Abstract] = []
    bad: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            abstracts.append(_abstract(f"{path.stem}:{number}", line.rstrip("\r").split("\t")))
        except ValueError as reason:
            bad.append(f"line {number}: {reason}")
    if bad or not abstracts:
        raise DataError(
            f"{path} is not an AGENDA file" if bad else f"{path} holds no abstract",
            found=listed(bad),
            allowed=f"{COLUMNS} tab-separated columns: title, entities, types, triples, abstract, order",
            hint="mend these lines or take them out" if bad else "",
        )
    return tuple(abstracts)


def sentences(abstracts: Sequence[Abstract]) -> tuple[tuple[Abstract, ...], tuple[LeftOut, ...]]:
    """Abstracts cut into sentences at ".", "?" and "!"; a triple goes to every sentence that mentions both of its ends.

    Sentences without a triple are not returned. Left out, and listed: triples whose ends never share a sentence.
    """
    cut: list[Abstract] = []
    left: list[LeftOut] = []
    for abstract in abstracts:
        ends = [i + 1 for i, piece in enumerate(abstract.pieces) if piece in {".", "?", "!"}]
        ranges = pairwise(dict.fromkeys([0, *ends, len(abstract.pieces)]))
        parts = [abstract.pieces[start:stop] for start, stop in ranges]
        for number, pieces in enumerate(parts):
            triples = tuple(t for t in abstract.triples if {t[0], t[2]} <= set(pieces))
            if triples:
                cut.append(replace(abstract, id=f"{abstract.id}.{number}", pieces=pieces, triples=triples))
        for triple in abstract.triples:
            if not any({triple[0], triple[2]} <= set(pieces) for pieces in parts):
                left.append(_out(abstract, triple, "ends do not share a sentence"))
    return tuple(cut), tuple(left)


def _out(abstract: Abstract, triple: tuple[int, str, int], reason: str) -> LeftOut:
    head, relation, tail = triple
    names = f"{abstract.entities[head]} / {abstract.entities[tail]}"
    return LeftOut(id=f"{abstract.id} {relation}", reason=reason, detail=names)


def _abstract(name: str, columns: list[str]) -> Abstract:
    if len(columns) != COLUMNS:
        raise ValueError(f"{len(columns)} columns")
    title, entities, types = columns[0].strip(), columns[1].split(" ; "), re.findall(r"<([a-z]+)>", columns[2])
    if len(entities) != len(types):
        raise ValueError(f"{len(entities)} entities but {len(types)} types")
    pieces = [_piece(word, types) for word in columns[4].split()]
    triples = [_triple(text.split(), len(entities)) for text in columns[3].split(" ; ") if text.strip()]
    names = tuple(" ".join(entity.split()) for entity in entities)
    if not pieces or not all(names):
        raise ValueError("an empty abstract or entity")
    return Abstract(
        id=name,
        unit=name,
        title=title,
        entities=names,
        types=tuple(types),
        triples=tuple(triples),
        pieces=tuple(pieces),
    )


def _piece(word: str, types: list[str]) -> str | int:
    found = PLACEHOLDER.fullmatch(word)
    if not found:
        return BRACKETS.get(word, word)
    kind, index = found.group(1), int(found.group(2))
    if index >= len(types) or types[index] != kind:
        raise ValueError(f"placeholder {word} has no entity of its type")
    return index


def _triple(words: list[str], entities: int) -> tuple[int, str, int]:
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise ValueError(f"triple {' '.join(words)!r} is not three indices")
    head, relation, tail = (int(word) for word in words)
    if relation >= len(RELATIONS) or max(head, tail) >= entities:
        raise ValueError(f"triple {' '.join(words)!r} points outside {entities} entities or 7 relations")
    return head, RELATIONS[relation], tail


def lettered(
    abstracts: Sequence[Abstract],
    *,
    seed: int = 0,
    redraws: int = 5,
    order: str = "drawn",
    letters: Sequence[str] = LETTERS,
    delete_function_words: bool = True,
) -> Corpus:
    """Abstracts with one capital letter for each entity.

    order    "drawn": letters are a random permutation, seeded by (seed, line, redraw); `redraws` documents each, one
             unit. "mention": letters in alphabetical order of first mention, one document each; a sensitivity row
             only, since an alphabet-successor head scores .59 on it (methods.md B1.1)
    letters  the capital letters to use, fewer for a tokenizer that splits some of them: a split letter would make the
             same piece the target of every triple
    Left out, and listed: abstracts with more entities than letters; triples as in `_triples`.
    """
    choose("order of letters", order, ("drawn", "mention"))
    if bad := sorted({letter for letter in letters if letter not in LETTERS}):
        raise DataError("letters that cannot stand for entities", found=listed(bad), allowed=" ".join(LETTERS))
    documents: list[Document] = []
    left: list[LeftOut] = []
    for abstract in abstracts:
        if len(abstract.entities) > len(letters):
            detail = f"{len(abstract.entities)} entities, {len(letters)} letters"
            left.append(LeftOut(id=abstract.id, reason="more entities than letters", detail=detail))
            continue
        first = list(dict.fromkeys([*_mentioned(abstract), *range(len(abstract.entities))]))
        triples, missing = _triples(abstract)
        left += missing
        for redraw in range(redraws if order == "drawn" else 1):
            rng = np.random.default_rng([seed, zlib.crc32(abstract.unit.encode()), redraw])
            drawn = [letters[int(i)] for i in rng.permutation(len(letters))] if order == "drawn" else letters
            letter = dict(zip(first, drawn, strict=False))
            name = f"{abstract.id}/{redraw}" if order == "drawn" else abstract.id
            documents.append(
                _written(
                    abstract,
                    triples,
                    letter.__getitem__,
                    document=name,
                    delete=delete_function_words,
                    labels={"letters": order, "redraw": redraw},
                )
            )
    return Corpus(documents=tuple(documents), left_out=tuple(left))


def natural(abstracts: Sequence[Abstract], *, delete_function_words: bool = False) -> Corpus:
    """Abstracts with their entities written out; of the head's phrase the last token counts, of the tail's the first.

    Left out, and listed: triples as in `_triples`, and triples of which a phrase also stands elsewhere in the text.
    """
    documents: list[Document] = []
    left: list[LeftOut] = []
    for abstract in abstracts:
        triples, missing = _triples(abstract)
        document = _written(
            abstract,
            triples,
            abstract.entities.__getitem__,
            document=abstract.id,
            delete=delete_function_words,
            labels={"letters": "none"},
        )
        single = [_stands_once(document, i) for i in range(len(document.mentions))]
        kept = tuple(triple for triple in document.triples if single[triple.head] and single[triple.tail])
        left += missing
        left += [
            LeftOut(id=f"{abstract.id} {t.relation}", reason="phrase stands elsewhere too", detail=_ends(document, t))
            for t in document.triples
            if t not in kept
        ]
        documents.append(replace(document, triples=kept))
    return Corpus(documents=tuple(documents), left_out=tuple(left))


def _stands_once(document: Document, mention: int) -> bool:
    phrase = re.escape(document.surface(mention))
    return len(re.findall(rf"(?<!\w){phrase}(?!\w)", document.text)) == 1


def _ends(document: Document, triple: Triple) -> str:
    return f"{document.surface(triple.head)} / {document.surface(triple.tail)}"


def _mentioned(abstract: Abstract) -> list[int]:
    return [piece for piece in abstract.pieces if isinstance(piece, int)]


def _triples(abstract: Abstract) -> tuple[list[tuple[int, str, int]], list[LeftOut]]:
    """Triples between two different entities that are mentioned exactly once each, and the list of the others."""
    times = tally(str(entity) for entity in _mentioned(abstract))
    kept: list[tuple[int, str, int]] = []
    left: list[LeftOut] = []
    for triple in abstract.triples:
        head, _, tail = triple
        count = [times.get(str(entity), 0) for entity in (head, tail)]
        faults = {
            "self relation": head == tail,
            "entity does not occur": 0 in count,
            "entity occurs more than once": max(count) > 1,
            "repeated triple": triple in kept,
        }
        reason = next((fault for fault, holds in faults.items() if holds), "")
        if reason:
            left.append(_out(abstract, triple, reason))
        else:
            kept.append(triple)
    return kept, left


def _written(
    abstract: Abstract,
    triples: Sequence[tuple[int, str, int]],
    name: Callable[[int], str],
    *,
    document: str,
    delete: bool,
    labels: Mapping[str, Label],
) -> Document:
    text = ""
    where: dict[int, int] = {}  # entity -> its (last) mention; the triples' entities have one
    mentions: list[Mention] = []
    words: list[Word] = []
    for piece in abstract.pieces:
        if isinstance(piece, str) and delete and deletable(piece):
            continue
        text += " " if text else ""
        phrase = piece if isinstance(piece, str) else name(piece)
        span = (len(text), len(text) + len(phrase))
        if isinstance(piece, int):
            where[piece] = len(mentions)
            kind = abstract.types[piece] if labels["letters"] == "none" else "letter"
            mentions.append(Mention(span=span, entity=phrase, type=kind))
        words.append(Word(span=span))
        text += phrase
    return Document(
        id=document,
        unit=abstract.unit,
        text=text,
        mentions=tuple(mentions),
        words=tuple(words),
        triples=tuple(Triple(head=where[h], relation=r, tail=where[t]) for h, r, t in triples),
        labels={"source": "agenda", "function_words": not delete, **labels},
    )
