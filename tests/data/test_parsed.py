"""Free text through a parser, with a fake one: spaCy itself is not needed, only what we use of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from mnemoscope.data import parsed
from mnemoscope.data.document import Corpus, Document
from mnemoscope.data.leftout import counted
from mnemoscope.errors import LoadError, UnsupportedError


@dataclass
class FakeToken:
    i: int
    idx: int
    text: str
    pos_: str
    dep_: str
    is_space: bool = False
    governor: "FakeToken | None" = field(default=None, repr=False)

    @property
    def head(self) -> "FakeToken":
        return self.governor or self


@dataclass
class FakeParse:
    sents: Iterable[Iterable[FakeToken]]


def parser(*sentences: str, across: bool = False) -> parsed.Pipeline:
    """A parser that knows only the given sentences, each word/upos/head/label with heads counted from 1 in its sentence."""

    def parse(text: str) -> FakeParse:
        made: list[list[FakeToken]] = []
        at = count = 0
        for sentence in sentences:
            tokens: list[FakeToken] = []
            heads = [int(item.split("/")[2]) for item in sentence.split()]
            for item in sentence.split():
                word, upos, _, label = item.split("/")
                at = text.index(word, at)
                tokens.append(FakeToken(i=count, idx=at, text=word, pos_=upos, dep_=label))
                at, count = at + len(word), count + 1
            for token, head in zip(tokens, heads, strict=True):
                token.governor = tokens[head - 1] if head else None
            made.append(tokens)
        if across:
            made[1][0].governor = made[0][0]
        return FakeParse(sents=made)

    return parse


TEXT = Corpus(documents=(Document(id="t", unit="u", text="Dogs chase\n big cats.   Ann was given bones."),))
CHASE = "Dogs/NOUN/2/nsubj chase/VERB/0/ROOT big/ADJ/4/amod cats/NOUN/2/dobj ./PUNCT/2/punct"
GIVEN = "Ann/PROPN/3/nsubjpass was/AUX/3/auxpass given/VERB/0/ROOT bones/NOUN/3/dative ./PUNCT/3/punct"


def test_labels_of_spacy_become_those_of_universal_dependencies() -> None:
    made = parsed.corpus(TEXT, parser(CHASE, GIVEN), name="fake")
    (document,) = made.documents
    assert document.text == "Dogs chase big cats. Ann was given bones."
    assert (document.unit, document.labels["source"]) == ("u", "spacy:fake")
    ends = [(document.surface(t.head), t.relation, document.surface(t.tail), t.subtype) for t in document.triples]
    assert ends == [
        ("chase", "subj", "Dogs", "nsubj"),
        ("cats", "mod", "big", "amod"),
        ("chase", "obj", "cats", "obj"),
        ("given", "subj", "Ann", "nsubj:pass"),
        ("given", "obj", "bones", "iobj"),
    ]


def test_a_governor_in_another_sentence_is_a_fault() -> None:
    made = parsed.corpus(TEXT, parser(CHASE, GIVEN, across=True))
    assert counted(made.left_out) == {"governor outside the sentence": 1}
    assert made.triples() == {"subj": 1, "mod": 1, "obj": 1}


def test_a_pipeline_without_parser_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no dependency parser"):
        parsed.corpus(TEXT, parser("Dogs/NOUN/0/ chase/VERB/0/"))


def test_a_pipeline_without_sentences_is_refused() -> None:
    class NoSentences:
        @property
        def sents(self) -> Iterable[Iterable[FakeToken]]:
            yield from ()
            raise ValueError("[E030] Sentence boundaries unset")

    with pytest.raises(UnsupportedError, match="E030"):
        parsed.corpus(TEXT, lambda text: NoSentences())


def test_without_spacy_the_error_says_what_to_install() -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name)

    with pytest.raises(UnsupportedError, match=r'spaCy is not installed \| try: pip install "mnemoscope\[spacy\]"'):
        parsed.load(importer=absent)


def test_without_the_pipeline_the_error_says_how_to_get_it() -> None:
    def no_model(name: str) -> object:
        raise OSError(f"[E050] Can't find model {name!r}")

    with pytest.raises(LoadError, match="python -m spacy download xx_small"):
        parsed.load("xx_small", importer=lambda _: SimpleNamespace(load=no_model))


def test_a_pipeline_is_loaded_by_name() -> None:
    chosen = parser(CHASE)
    assert parsed.load("x", importer=lambda module: SimpleNamespace(load={"x": chosen}.__getitem__)) is chosen
