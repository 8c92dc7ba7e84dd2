"""Plain text as documents, for loss and induction on a user's own texts.

Known layouts: a .txt file with `<|endoftext|>` between documents (TinyStories), with `= Title =` between blank lines
(WikiText; titles of lower level do not divide), or with neither (one document, a book for instance); a JSON list of strings
or of objects with a "text" or "story". `words` cuts long documents into pieces of about that length at line ends; the pieces
of one document share its unit of independence. Pieces of a source that is one single document are units of their own, since
there is nothing else to draw from: intervals then speak about this text alone, and the label `one_text` says so.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnemoscope.data.document import Corpus, Document
from mnemoscope.data.files import JSON, objects, read_json, read_text
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Label
from mnemoscope.errors import DataError

SEPARATOR = "<|endoftext|>"
TITLE = re.compile(r"(?:(?<=\n\n)|(?<=\n \n)|(?<=\A \n)|(?<=\A\n)|\A) ?= [^=\n].* = ?(?=\n ?\n)")
FIELDS = ("text", "story")


def are_texts(value: JSON) -> bool:
    """Whether a JSON value is a list of strings, or of objects with a "text" or a "story"."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, str) for item in value) or all(_field(record) for record in objects(value) or [{}])


def _field(record: dict[str, JSON]) -> str:
    return next((name for name in FIELDS if isinstance(record.get(name), str)), "")


def read(path: Path, *, words: int | None = None) -> Corpus:
    """Read one text file, or every .txt file of a folder, as documents without mentions.

    Empty documents are left out and listed. Raises DataError if there is no text.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    texts = [(f"{file.stem}:{i}", text.strip()) for file in files for i, text in enumerate(_documents(file))]
    whole = [(name, text) for name, text in texts if text]
    if not whole:
        raise DataError(
            f"{path} holds no text", found=f"{len(files)} files", allowed=".txt files, or a JSON list of texts"
        )
    documents: list[Document] = []
    for name, text in whole:
        for number, piece in enumerate(cut(text, words)):
            own = f"{name}.{number}" if words else name
            unit = own if len(whole) == 1 else name
            labels: dict[str, Label] = {"source": path.stem, "one_text": len(whole) == 1}
            documents.append(Document(id=own, unit=unit, text=piece, labels=labels))
    left = tuple(LeftOut(id=name, reason="empty document") for name, text in texts if not text)
    return Corpus(documents=tuple(documents), left_out=left)


def _documents(file: Path) -> Sequence[str]:
    if file.suffix == ".json":
        value = read_json(file)
        if not isinstance(value, list) or not are_texts(value):
            raise DataError(f"{file} is not a list of texts", allowed='strings, or objects with a "text" or a "story"')
        return [
            item if isinstance(item, str) else str(item[_field(item)]) for item in value if isinstance(item, str | dict)
        ]
    text = read_text(file)
    if SEPARATOR in text:
        return text.removesuffix(SEPARATOR).rstrip("\n").removesuffix(SEPARATOR).split(SEPARATOR)
    starts = [found.start() for found in TITLE.finditer(text)]
    if not starts:
        return [text]
    begins = [0, *starts] if text[: starts[0]].strip() else starts
    return [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]


def cut(text: str, words: int | None) -> Iterator[str]:
    """Cut a text into pieces of at least `words` words, the last one excepted, at blank lines, else at line ends.

    The pieces, with the space between them, are the text. A text without line ends is not cut.
    """
    if words is None:
        yield text
        return
    parts = re.split(r"(?<=\n)(?=\n*[^\n])", text)
    piece = ""
    for part in parts:
        piece += part
        if len(piece.split()) >= words and part.endswith("\n"):
            yield piece.strip()
            piece = ""
    if piece.strip():
        yield piece.strip()
