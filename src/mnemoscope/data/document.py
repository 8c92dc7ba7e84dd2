"""The noun for relational text: a document with mentions, and triples that say which mention relates to which.

The head of a triple is what is attended to, the tail what is to be promoted (Ren et al. 2024, section 3; methods.md
P1.1). Everything is a half-open *character* range of the document's text; tokens come later, in `model/batch.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Label, Prompt, Span
from mnemoscope.errors import DataError, listed

ANCHORS = ("first", "last", "all")  # which token of a phrase stands for it


@dataclass(frozen=True, kw_only=True)
class Mention:
    """One occurrence of a thing.

    span     where it stands
    entity   what is mentioned: two mentions of one thing carry the same entity
    type     the class within which tails are compared: an entity type, or a part of speech; "" if unknown
    """

    span: Span
    entity: str
    type: str = ""


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word of the text, with its universal part of speech where the source gives one."""

    span: Span
    upos: str = ""


@dataclass(frozen=True, kw_only=True)
class Triple:
    """(head mention, relation, tail mention); head and tail are indices into the document's mentions.

    subtype   the source's finer name of the relation ("nsubj:pass"); "" if there is none
    """

    head: int
    relation: str
    tail: int
    subtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text to measure relations on.

    id             unique within its corpus
    unit           the unit of independence: redraws of one document share it (default: the id)
    mentions       in text order; they may not overlap
    words          in text order; empty where the source has none
    source_anchor  which token of the head's phrase is attended: "last" (methods.md, detail 14)
    target_anchor  which token of the tail's phrase is promoted: "first"

    Raises DataError listing every span outside the text, overlap, and triple that points nowhere.
    """

    id: str
    text: str
    unit: str = ""
    mentions: tuple[Mention, ...] = ()
    triples: tuple[Triple, ...] = ()
    words: tuple[Word, ...] = ()
    source_anchor: str = "last"
    target_anchor: str = "first"
    labels: Mapping[str, Label] = field(default_factory=dict[str, Label])

    def __post_init__(self) -> None:
        if not self.unit:
            object.__setattr__(self, "unit", self.id)
        bad = [] if self.text else ["it has no text"]
        bad += _faults("mention", [m.span for m in self.mentions], len(self.text))
        bad += _faults("word", [w.span for w in self.words], len(self.text))
        bad += [str(t) for t in self.triples if not all(0 <= end < len(self.mentions) for end in (t.head, t.tail))]
        bad += [f"anchor {name!r}" for name in (self.source_anchor, self.target_anchor) if name not in ANCHORS]
        if bad:
            raise DataError(
                f"document {self.id!r} does not fit together",
                found=listed(bad),
                allowed=f"spans inside the {len(self.text)} characters, in order, without overlap; triples between "
                f"{len(self.mentions)} mentions; anchors " + ", ".join(ANCHORS),
            )

    def surface(self, mention: int) -> str:
        """The characters of one mention."""
        start, stop = self.mentions[mention].span
        return self.text[start:stop]

    def prompt(self) -> Prompt:
        """The document as a prompt: roles `mention` and `word`, with one range for each of them, in their order."""
        roles = {"mention": tuple(m.span for m in self.mentions), "word": tuple(w.span for w in self.words)}
        return Prompt(
            text=self.text,
            spans={role: spans for role, spans in roles.items() if spans},
            labels={**self.labels, "document": self.id, "unit": self.unit},
        )


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents, and what the source holds beside them that could not be used."""

    documents: tuple[Document, ...]
    left_out: tuple[LeftOut, ...] = ()

    def triples(self) -> dict[str, int]:
        """Number of usable triples of each relation, over all documents (redraws counted)."""
        return tally(triple.relation for document in self.documents for triple in document.triples)

    def units(self) -> int:
        """Number of units of independence."""
        return len({document.unit for document in self.documents})


def tally(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, in order of first occurrence."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _faults(kind: str, spans: list[Span], length: int) -> list[str]:
    outside = [f"{kind} {i} at {span}" for i, span in enumerate(spans) if not 0 <= span[0] < span[1] <= length]
    return outside + [
        f"{kind} {i + 1} at {b} begins before {a} ends" for i, (a, b) in enumerate(pairwise(spans)) if b[0] < a[1]
    ]
