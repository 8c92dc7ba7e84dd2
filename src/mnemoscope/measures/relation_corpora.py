"""Corpora of relational text as one model reads them: the built-in ones, or a user's file.

    letters   statements of seven relations between entities that are capital letters, drawn anew several times for every document;
              letters that the tokenizer splits are not used
    things    the same between common nouns
    trees     narratives with subj, obj and mod
    a path    any file with triples that `data.formats` reads

Redraws of one document share its unit of independence. Tails compare within a class: letters with letters, things with things,
words of a tree with words of their part of speech and frequency tercile (methods.md B1.1, B1.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mnemoscope.data import agenda, corpus, formats
from mnemoscope.data.document import Document
from mnemoscope.data.leftout import LeftOut, counted
from mnemoscope.errors import DataError
from mnemoscope.measures.relation_texts import RelationText, relation_text, token_counts
from mnemoscope.model.align import token_range
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

KINDS = corpus.KINDS
RELATIONAL = ("JSON lines", "AGENDA", "CoNLL-U")  # formats of triples
FEWEST_LETTERS = 18  # what a built-in document needs
REDRAWS = 5


@dataclass(frozen=True, kw_only=True)
class RelationCorpus:
    """Documents to be read: `units` in order, all texts of a unit beside each other.

    frequency  token counts that refine the classes of tails; None where the class alone compares
    left_out   what the source holds and could not be used, the model's tokenizer included
    reason     why there is nothing to measure; "" if there is
    """

    name: str
    documents: tuple[Document, ...]
    left_out: tuple[LeftOut, ...] = ()
    frequency: dict[int, int] | None = None
    reason: str = ""

    @property
    def units(self) -> tuple[str, ...]:
        """Units of independence, in order."""
        return tuple(dict.fromkeys(document.unit for document in self.documents))

    def texts(self, lm: LM, first: int = 0, last: int | None = None) -> tuple[RelationText, ...]:
        """The texts of units first .. last - 1."""
        wanted = set(self.units[first:last])
        return tuple(relation_text(lm, one, self.frequency) for one in self.documents if one.unit in wanted)


def built_in(lm: LM, kind: str, *, documents: int, redraws: int = REDRAWS, seed: int = 0) -> RelationCorpus:
    """One of KINDS. A tokenizer that leaves fewer than 18 letters whole cannot have letters: `reason` says so."""
    if kind == "letters":
        return _letters(lm, documents, redraws, seed)
    found = corpus.built_in(kind, documents=documents, seed=seed)
    kept = found.documents
    if kind == "trees":
        first = {one.unit: one for one in reversed(kept)}  # one text of about 120 words per narrative: 45 triples
        kept = tuple(one for one in kept if first[one.unit] is one)[:documents]
    counts = token_counts(lm, kept) if kind == "trees" else None
    return RelationCorpus(name=kind, documents=kept, left_out=found.left_out, frequency=counts)


def whole_letters(lm: LM, letters: Sequence[str] = agenda.LETTERS) -> tuple[str, ...]:
    """Letters that are one token of their own behind a space, and a token that no other letter has."""
    kept: dict[str, int] = {}
    for letter in letters:
        text = f"the {letter} is"
        encoding = encode(lm.tokenizer, text, lm.bos)
        place = token_range(text, encoding.offsets or (), (4, 5))
        if not isinstance(place, str) and place[1] - place[0] == 1:
            kept[letter] = encoding.ids[place[0]]
    ids = list(kept.values())
    return tuple(letter for letter, token in kept.items() if ids.count(token) == 1)


def _letters(lm: LM, documents: int, redraws: int, seed: int) -> RelationCorpus:
    whole = whole_letters(lm)
    split = [letter for letter in agenda.LETTERS if letter not in whole]
    left = tuple(LeftOut(id=f"letter {x}", reason="letter is not one token of its own") for x in split)
    if len(whole) < FEWEST_LETTERS:
        reason = (
            f"the tokenizer leaves {len(whole)} of {len(agenda.LETTERS)} letters whole, {FEWEST_LETTERS} are needed"
        )
        return RelationCorpus(name="letters", documents=(), left_out=left, reason=reason)
    drawn: dict[tuple[int, int], Document] = {}
    for redraw in range(redraws):
        order = np.random.default_rng([seed, 7, redraw]).permutation(len(whole))
        made = corpus.built_in("letters", documents=documents, seed=seed, entities=[whole[int(i)] for i in order])
        for number, one in enumerate(made.documents):
            drawn[number, redraw] = replace(
                one, id=f"{one.id}/{redraw}", unit=one.id, labels={**one.labels, "letters": "drawn"}
            )
    return RelationCorpus(name="letters", documents=tuple(drawn[key] for key in sorted(drawn)), left_out=left)


def of_file(lm: LM, path: str | Path, *, documents: int | None = None, redraws: int = REDRAWS) -> RelationCorpus:
    """A user's file; AGENDA abstracts become letter documents with redraws, the letters being those the tokenizer knows.

    documents: at most so many units with triples. Raises DataError for a file without triples.
    """
    name = Path(path).stem
    if str(path).endswith(".tsv"):
        whole = whole_letters(lm)
        read, usable = _abstracts(str(path), changed(path), whole)
        last = usable[:documents][-1] + 1 if usable else 0
        made = agenda.lettered(read[:last], letters=whole, redraws=redraws)
        found, left = made.documents, made.left_out
        left += tuple(
            LeftOut(id=f"letter {x}", reason="letter is not one token of its own")
            for x in agenda.LETTERS
            if x not in whole
        )
    else:
        file = read_file(path)
        found, left = file.documents, file.left_out
    kept = [one for one in found if one.triples]
    if not kept:
        raise _no_triple(path, len(found), left)
    names = list(dict.fromkeys(one.unit for one in kept))[:documents]
    chosen = set(names)
    kept = [one for one in kept if one.unit in chosen]
    lettered = all(one.labels.get("letters") in ("drawn", "mention") for one in kept)
    counts = None if lettered else token_counts(lm, kept)
    return RelationCorpus(name=name, documents=tuple(kept), left_out=left, frequency=counts)


def has_triples(path: str | Path) -> bool:
    """Whether a file holds usable triples. Raises DataError where it holds triples and none of them is usable."""
    file = read_file(path)
    if any(one.triples for one in file.documents):
        return True
    if file.left_out and file.format in RELATIONAL and not file.relations:
        raise _no_triple(path, len(file.documents), file.left_out)
    return False


def _no_triple(path: str | Path, documents: int, left: Sequence[LeftOut]) -> DataError:
    first = {one.reason: one for one in reversed(left)}
    reasons = "".join(f"; {n} left out: {reason}, first {first[reason].id}" for reason, n in counted(left).items())
    return DataError(
        f"{path} holds no usable triple",
        found=f"{documents} documents{reasons}",
        allowed="documents with triples: AGENDA, CoNLL-U, or our JSON lines",
        hint="`mnemoscope data show` lists what a file holds",
    )


def read_file(path: str | Path) -> formats.DataFile:
    """What `data.formats` reads, kept while the file does not change: jobs of one run read the same file many times."""
    return _read(str(path), changed(path))


def changed(path: str | Path) -> int:
    """When a file was last changed; 0 where there is none."""
    return Path(path).stat().st_mtime_ns if Path(path).exists() else 0


@lru_cache(maxsize=2)
def _read(path: str, changed: int) -> formats.DataFile:
    return formats.read(path)


@lru_cache(maxsize=2)
def _abstracts(
    path: str, changed: int, letters: tuple[str, ...]
) -> tuple[tuple[agenda.Abstract, ...], tuple[int, ...]]:
    """The abstracts of a file, and which of them give a document with a triple."""
    read = agenda.read(Path(path))
    whole = {one.unit for one in agenda.lettered(read, letters=letters, redraws=1).documents if one.triples}
    return read, tuple(i for i, one in enumerate(read) if one.unit in whole)
