"""Documents refuse what does not fit together, and become prompts without losing a mention."""

import pytest

from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word
from mnemoscope.errors import DataError

TEXT = "The ink of a pen dries."
INK, PEN = Mention(span=(4, 7), entity="ink"), Mention(span=(13, 16), entity="pen")


def test_a_document_becomes_a_prompt_with_its_mentions_in_order() -> None:
    words = (Word(span=(0, 3), upos="DET"), Word(span=(4, 7), upos="NOUN"))
    made = Document(
        id="d", text=TEXT, mentions=(INK, PEN), words=words, triples=(Triple(head=1, relation="r", tail=0),)
    )
    assert made.prompt().part("mention") == ("ink", "pen")
    assert made.prompt().part("word") == ("The", "ink")
    assert made.prompt().labels == {"document": "d", "unit": "d"}
    assert (made.surface(0), made.unit) == ("ink", "d")


def test_everything_wrong_is_listed_at_once() -> None:
    with pytest.raises(DataError) as caught:
        Document(
            id="d",
            text=TEXT,
            mentions=(INK, Mention(span=(5, 9), entity="x"), Mention(span=(20, 40), entity="y")),
            triples=(Triple(head=0, relation="r", tail=7),),
            target_anchor="middle",
        )
    for offender in ("begins before (4, 7) ends", "mention 2 at (20, 40)", "tail=7", "'middle'"):
        assert offender in str(caught.value)


def test_an_empty_document_is_refused() -> None:
    with pytest.raises(DataError, match="it has no text"):
        Document(id="d", text="")


def test_a_corpus_counts_units_and_relations() -> None:
    told = tuple(
        Document(
            id=f"{i}", unit="one", text=TEXT, mentions=(INK, PEN), triples=(Triple(head=1, relation="r", tail=0),) * i
        )
        for i in range(3)
    )
    assert (Corpus(documents=told).units(), Corpus(documents=told).triples()) == (1, {"r": 3})
