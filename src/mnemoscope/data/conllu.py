"""CoNLL-U treebanks: gold dependency trees (file format: CoNLL-U of Universal Dependencies, version 2).

Lines are parsed by the conllu package; added here is what it lacks: line numbers in errors, and the exact characters
of every word. The text is rebuilt from the words and SpaceAfter=No, and must agree with the file's own text line. The
words of a contraction get their own characters where they add up to it ("do" + "n't"), else they share them. Empty
nodes are not words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from conllu.exceptions import ParseException
from conllu.parser import DEFAULT_FIELDS, parse_comment_line, parse_line

from mnemoscope.data.document import Corpus
from mnemoscope.data.prompt import Span
from mnemoscope.data.trees import Node, Sentence, documents
from mnemoscope.errors import DataError, listed

COLUMNS = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the file: the words `first` to `last` (one word, or a contraction), or an empty node."""

    line: int
    first: int
    last: int
    empty: bool
    form: str
    upos: str
    head: int | None
    deprel: str
    spaced: bool

    @property
    def word(self) -> bool:
        """Whether the line is one syntactic word."""
        return not self.empty and self.first == self.last


def corpus(path: Path, *, words: int = 120, delete_function_words: bool = False) -> Corpus:
    """A treebank as documents with subj, obj and mod triples; see `trees.documents`."""
    return documents(read(path), source=path.stem, words=words, delete_function_words=delete_function_words)


def read(path: Path) -> tuple[Sentence, ...]:
    """Read a CoNLL-U file. Raises DataError listing every malformed line with its number."""
    bad: list[str] = []
    sentences: list[Sentence] = []
    document = ""
    for lines in _blocks(path.read_text(encoding="utf-8").split("\n")):
        said, rows, broken = _parsed(lines)
        name = said.get("sent_id") or f"{path.stem}:{lines[0][0]}"
        if "newdoc" in said or "newdoc id" in said:
            document = said.get("newdoc id") or name
        faults = broken + _faults(rows, lost=len(broken))
        bad += faults
        if not faults and rows:
            sentences.append(_sentence(name, document, said.get("text", ""), rows))
    if bad or not sentences:
        raise DataError(
            f"{path} is not CoNLL-U" if bad else f"{path} holds no sentence",
            found=listed(bad),
            allowed="10 tab-separated columns; words numbered 1, 2, 3 ...; heads that are 0 or the number of a word",
            hint="mend these lines or take their sentences out" if bad else "",
        )
    return tuple(sentences)


def _blocks(lines: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            block.append((number, line.rstrip("\r")))
        elif block:
            yield block
            block = []


def _parsed(lines: Iterable[tuple[int, str]]) -> tuple[dict[str, str], list[Row], list[str]]:
    """What comments say, the rows, and the lines that are none."""
    said: dict[str, str] = {}
    rows: list[Row] = []
    bad: list[str] = []
    for number, line in lines:
        if line.startswith("#"):
            said |= {key: value or "" for key, value in parse_comment_line(line)}
        elif line.count("\t") != COLUMNS - 1:
            bad.append(f"line {number}: {line.count(chr(9)) + 1} columns")
        else:
            try:
                rows.append(_row(number, parse_line(line, DEFAULT_FIELDS)))
            except ParseException as reason:
                bad.append(f"line {number}: {reason}")
    return said, rows, bad


def _row(line: int, token: Mapping[str, Any]) -> Row:
    number = token["id"]
    if number is None:
        raise ParseException("a line without a number")
    first, kind, last = cast("tuple[int, str, int]", number if isinstance(number, tuple) else (number, "", number))
    return Row(
        line=line,
        first=first,
        last=last,
        empty=kind == ".",
        form=str(token["form"]),
        upos=_given(token["upos"]),
        head=token["head"],
        deprel=_given(token["deprel"]),
        spaced=cast("Mapping[str, str]", token["misc"] or {}).get("SpaceAfter") != "No",
    )


def _given(value: str | None) -> str:
    return "" if value in (None, "_") else value


def _faults(rows: Sequence[Row], lost: int) -> list[str]:
    """What is wrong with the rows of a sentence; behind a lost line the numbers of words are no fault of theirs."""
    words = [row for row in rows if row.word]
    n = len(words) + lost
    wrong = [(i, row) for i, row in enumerate(words) if row.first != i + 1] if not lost else []
    bad = [f"line {row.line}: word {row.first} after {i} words" for i, row in wrong]
    for row in rows:
        if row.word and (row.head is None or not 0 <= row.head <= n or row.head == row.first):
            bad.append(f"line {row.line}: head {row.head} of word {row.first} of {n}")
        if not row.word and not row.empty and row.last > n:
            bad.append(f"line {row.line}: contraction {row.first}-{row.last} of {n} words")
    return bad


def _sentence(name: str, document: str, given: str, rows: Sequence[Row]) -> Sentence:
    text, spans = _placed(rows)
    nodes: list[Node] = []
    for row in rows:
        if row.word:
            span, own = spans[row.first]
            nodes.append(Node(span=span, own=own, upos=row.upos, head=row.head or 0, deprel=row.deprel))
    agrees = not given or given.split() == text.split()
    fault = "" if agrees else "text line disagrees with the words"
    return Sentence(id=name, text=text, nodes=tuple(nodes), document=document, fault=fault)


def _placed(rows: Sequence[Row]) -> tuple[str, dict[int, tuple[Span, bool]]]:
    """The text, and for each word its characters and whether they are its own."""
    text, spaced = "", True
    spans: dict[int, tuple[Span, bool]] = {}
    forms = {row.first: row.form for row in rows if row.word}
    for row in rows:
        if row.empty or row.first in spans:
            continue
        text += " " if text and spaced else ""
        spans |= _shared(len(text), row.form, [(n, forms[n]) for n in range(row.first, row.last + 1)])
        text += row.form
        spaced = row.spaced
    return text, spans


def _shared(start: int, surface: str, words: Sequence[tuple[int, str]]) -> dict[int, tuple[Span, bool]]:
    if "".join(form for _, form in words) != surface:
        return {number: ((start, start + len(surface)), False) for number, _ in words}
    spans: dict[int, tuple[Span, bool]] = {}
    for number, form in words:
        spans[number] = ((start, start + len(form)), True)
        start += len(form)
    return spans
