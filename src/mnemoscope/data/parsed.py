"""Free text through a user's own spaCy pipeline, as dependency trees (extra `spacy`).

spaCy's English models use labels of their own (ClearNLP); those that Universal Dependencies calls otherwise are renamed, so that
`trees.py` sees one language: dobj = obj, dative = iobj, nsubjpass = nsubj:pass, csubjpass = csubj:pass, poss = nmod:poss. There
a preposition governs its noun (prep, pobj), so nmod is rarer than in a treebank; counts of mod do not compare across sources.
The parse is a guess of that pipeline: its name goes into the documents' source label.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from mnemoscope.data.document import Corpus, Document
from mnemoscope.data.trees import Node, Sentence, documents
from mnemoscope.errors import LoadError, UnsupportedError

RENAMED = {"dobj": "obj", "dative": "iobj", "nsubjpass": "nsubj:pass", "csubjpass": "csubj:pass", "poss": "nmod:poss"}
DEFAULT = "en_core_web_sm"
NO_SPACY = 'pip install "mnemoscope[spacy]" and a pipeline, or give a CoNLL-U file, or JSON lines with triples'


@runtime_checkable
class Token(Protocol):
    """What is used of a spaCy token."""

    i: int
    idx: int
    text: str
    pos_: str
    dep_: str
    is_space: bool

    @property
    def head(self) -> "Token":
        """The governing token; the root governs itself."""
        ...


@runtime_checkable
class Parse(Protocol):
    """What is used of a spaCy document."""

    @property
    def sents(self) -> Iterable[Iterable[Token]]:
        """The sentences, as runs of tokens."""
        ...


Pipeline = Callable[[str], Parse]


def load(name: str = DEFAULT, *, importer: Callable[[str], Any] = import_module) -> Pipeline:
    """Load a spaCy pipeline by name or folder.

    Raises UnsupportedError if spaCy is not installed, LoadError if it has no such pipeline.
    """
    try:
        spacy = importer("spacy")
    except ImportError as reason:
        raise UnsupportedError(
            "free text needs a dependency parser", found="spaCy is not installed", hint=NO_SPACY
        ) from reason
    try:
        return spacy.load(name)
    except OSError as reason:
        raise LoadError(
            f"spaCy has no pipeline {name!r}", found=str(reason), hint=f"python -m spacy download {name}"
        ) from reason


def corpus(
    texts: Corpus, pipeline: Pipeline, *, name: str = DEFAULT, words: int = 120, delete_function_words: bool = False
) -> Corpus:
    """Parse plain texts and join their sentences into documents with subj, obj and mod triples; see `trees.documents`.

    Each text's unit of independence is kept. Raises UnsupportedError if the pipeline does not parse.
    """
    sentences = [sentence for text in texts.documents for sentence in parsed(text, pipeline)]
    if sentences and not any(node.deprel for sentence in sentences for node in sentence.nodes):
        raise UnsupportedError(
            f"spaCy pipeline {name!r} has no dependency parser", hint=f"use {DEFAULT} or another full one"
        )
    made = documents(sentences, source=f"spacy:{name}", words=words, delete_function_words=delete_function_words)
    return Corpus(documents=made.documents, left_out=(*texts.left_out, *made.left_out))


def parsed(document: Document, pipeline: Pipeline) -> Iterator[Sentence]:
    """The sentences of one text, with runs of white space written as one space."""
    text = " ".join(document.text.split())
    try:
        runs = list(pipeline(text).sents)
    except ValueError as reason:  # spaCy's word for "nobody has set sentence boundaries"
        raise UnsupportedError(
            "the spaCy pipeline does not find sentences", found=str(reason), hint=f"use {DEFAULT}"
        ) from reason
    for number, sentence in enumerate(runs):
        tokens = [token for token in sentence if not token.is_space]
        if tokens:
            yield _sentence(f"{document.id}/{number}", document.unit, text, tokens)


def _sentence(name: str, unit: str, text: str, tokens: list[Token]) -> Sentence:
    start, stop = tokens[0].idx, tokens[-1].idx + len(tokens[-1].text)
    numbers = {token.i: number for number, token in enumerate(tokens, start=1)}
    lost = [token.text for token in tokens if token.head.i not in numbers]
    nodes = tuple(
        Node(
            span=(token.idx - start, token.idx - start + len(token.text)),
            upos=token.pos_,
            head=0 if token.head.i == token.i else numbers.get(token.head.i, 0),
            deprel=RENAMED.get(token.dep_, token.dep_),
        )
        for token in tokens
    )
    fault = "governor outside the sentence" if lost else ""
    return Sentence(id=name, text=text[start:stop], nodes=nodes, document=unit, fault=fault)
