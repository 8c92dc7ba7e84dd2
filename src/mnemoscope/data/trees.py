"""Dependency trees as documents with triples: subj, obj and mod, after Ren et al. 2024 (methods.md P1.1).

    subj = nsubj, csubj                    so nsubj, nsubj:pass, nsubj:outer, csubj, csubj:pass, csubj:outer
    obj  = obj, iobj
    mod  = amod, advmod, nmod, nummod      so nmod:poss and the like too

Names are those of Universal Dependencies, version 2; what stands behind a colon is kept as the triple's subtype. The
governor is the head of the triple (attended), the dependent its tail (promoted). Every kept word but punctuation is a
mention: its type is the universal part of speech, its entity the word in small letters, so that same-type words are
there to compare with.
Where the trees come from is another matter: `conllu.py` reads gold ones, `parsed.py` asks a parser.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word
from mnemoscope.data.function_words import deletable
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Span

RELATIONS: Mapping[str, tuple[str, ...]] = {
    "subj": ("nsubj", "csubj"),
    "obj": ("obj", "iobj"),
    "mod": ("amod", "advmod", "nmod", "nummod"),
}
RELATION_OF = {deprel: relation for relation, deprels in RELATIONS.items() for deprel in deprels}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One syntactic word.

    span   its characters in the sentence's text
    own    False if the characters belong to a contraction that cannot be divided (French "du" = "de" + "le")
    head   number of the governing word, counted from 1; 0 for the root
    """

    span: Span
    upos: str
    head: int
    deprel: str
    own: bool = True


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One tree. `nodes[i]` is word number i + 1.

    document   the source document that it belongs to; "" if the source does not say
    fault      why it cannot be used; "" if it can
    """

    id: str
    text: str
    nodes: tuple[Node, ...]
    document: str = ""
    fault: str = ""


def documents(
    sentences: Iterable[Sentence], *, source: str, words: int = 120, delete_function_words: bool = False
) -> Corpus:
    """Join consecutive sentences of one source document until `words` words are reached.

    The unit of independence is the source document, or the joined document where the source does not say. With
    function words deleted, words on either side of a deletion are set apart by one space.
    Left out, and listed: sentences with a fault; triples of which an end is punctuation, a deleted function word, or a
    word without characters of its own.
    """
    made: list[Document] = []
    left: list[LeftOut] = []
    for group in _groups(sentences, words, left):
        pieces = [_written(sentence, delete_function_words, left) for sentence in group]
        pieces = [piece for piece in pieces if piece.text]
        if pieces:
            made.append(
                replace(
                    _joined(pieces),
                    id=group[0].id,
                    unit=group[0].document or group[0].id,
                    labels={"source": source, "function_words": not delete_function_words},
                )
            )
    return Corpus(documents=tuple(made), left_out=tuple(left))


def _groups(sentences: Iterable[Sentence], words: int, left: list[LeftOut]) -> Iterator[list[Sentence]]:
    group: list[Sentence] = []
    for sentence in sentences:
        if sentence.fault:
            left.append(LeftOut(id=sentence.id, reason=sentence.fault, detail=sentence.text))
            continue
        length = sum(len(one.nodes) for one in group) + len(sentence.nodes)
        if group and (sentence.document != group[0].document or length > words):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One sentence as it will stand in a document; empty if every word of it is deleted."""

    text: str
    mentions: tuple[Mention, ...] = ()
    triples: tuple[Triple, ...] = ()
    words: tuple[Word, ...] = ()


def _written(sentence: Sentence, delete: bool, left: list[LeftOut]) -> _Piece:
    text, moved = _kept_text(sentence, delete)
    mentions: list[Mention] = []
    words: list[Word] = []
    at: dict[int, int] = {}  # word number -> mention
    for number, node in enumerate(sentence.nodes, start=1):
        if not node.own or node.span not in moved:
            continue
        start, stop = moved[node.span]
        words.append(Word(span=(start, stop), upos=node.upos))
        if node.upos != "PUNCT":
            at[number] = len(mentions)
            mentions.append(Mention(span=(start, stop), entity=text[start:stop].lower(), type=node.upos))
    triples: list[Triple] = []
    for number, node in enumerate(sentence.nodes, start=1):
        relation = RELATION_OF.get(node.deprel.partition(":")[0])
        if relation and node.head in at and number in at:
            triples.append(Triple(head=at[node.head], relation=relation, tail=at[number], subtype=node.deprel))
        elif relation:
            left.append(_unused(sentence, number, relation, moved))
    return _Piece(text=text, mentions=tuple(mentions), triples=tuple(triples), words=tuple(words))


def _kept_text(sentence: Sentence, delete: bool) -> tuple[str, dict[Span, Span]]:
    """The sentence without its deleted words, and where each kept range of characters now stands."""
    ranges: dict[Span, bool] = {}
    for node in sentence.nodes:
        form = sentence.text[slice(*node.span)]
        ranges[node.span] = ranges.get(node.span, False) or not (delete and deletable(form, node.upos))
    text, before = "", 0
    moved: dict[Span, Span] = {}
    gap = False
    for (start, stop), keep in ranges.items():
        gap = gap or start > before or not keep
        before = stop
        if keep:
            text += " " if text and gap else ""
            moved[start, stop] = (len(text), len(text) + stop - start)
            text += sentence.text[start:stop]
            gap = False
    return text, moved


def _unused(sentence: Sentence, number: int, relation: str, moved: Mapping[Span, Span]) -> LeftOut:
    tail = sentence.nodes[number - 1]
    ends = [tail, sentence.nodes[tail.head - 1]] if tail.head else [tail]
    faults = {
        "relation without a governor": not tail.head,
        "end has no characters of its own": not all(end.own for end in ends),
        "end is a deleted function word": any(end.span not in moved for end in ends),
    }
    reason = next((fault for fault, holds in faults.items() if holds), "end is punctuation")
    words = " / ".join(sentence.text[slice(*end.span)] for end in reversed(ends))
    return LeftOut(id=f"{sentence.id} {relation}", reason=reason, detail=words)


def _joined(pieces: Sequence[_Piece]) -> Document:
    text = ""
    mentions: list[Mention] = []
    words: list[Word] = []
    triples: list[Triple] = []
    for piece in pieces:
        text += " " if text else ""
        triples += [replace(t, head=t.head + len(mentions), tail=t.tail + len(mentions)) for t in piece.triples]
        mentions += [replace(mention, span=_shifted(mention.span, len(text))) for mention in piece.mentions]
        words += [replace(word, span=_shifted(word.span, len(text))) for word in piece.words]
        text += piece.text
    return Document(id="", text=text, mentions=tuple(mentions), words=tuple(words), triples=tuple(triples))


def _shifted(span: Span, by: int) -> Span:
    return span[0] + by, span[1] + by
