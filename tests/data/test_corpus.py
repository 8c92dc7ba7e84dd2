"""The built-in corpus: triples that say what the sentence says, letters that mean nothing, documents that stand alone."""

import re
from collections import Counter

import pytest

from mnemoscope.data import agenda, corpus
from mnemoscope.errors import DataError, OptionError

SAID = {
    "USED-FOR": ("The {h} is used for the {t}.", "We use the {h} for the {t}."),
    "PART-OF": ("The {h} is part of the {t}.", "The {h} belongs to the {t}."),
    "FEATURE-OF": ("The {h} is typical of the {t}.", "The {h} marks the {t}."),
    "HYPONYM-OF": ("The {h} is a kind of {t}.", "The {h} counts as a {t}."),
    "COMPARE": ("The {h} is compared with the {t}.", "The {h} resembles the {t}."),
    "EVALUATE-FOR": ("The {h} is judged by the {t}.", "The {h} measures the {t}."),
    "CONJUNCTION": ("The {h} and the {t} are together.", "The {h} goes with the {t}."),
}


@pytest.mark.parametrize("kind", ["letters", "things"])
def test_each_triple_is_what_its_sentence_says(kind: str) -> None:
    """Planted: with the bystanders taken out, every triple stands there in one of its two wordings, and nothing else."""
    made = corpus.built_in(kind, documents=7)
    for document in made.documents:
        said = re.sub(r" near the \w+", "", document.text)
        for triple in document.triples:
            ends = {"h": document.surface(triple.head), "t": document.surface(triple.tail)}
            (wording,) = [form.format(**ends) for form in SAID[triple.relation] if form.format(**ends) in said]
            said = said.replace(wording, "")
        assert said.strip() == ""
    assert made.triples() == dict.fromkeys(agenda.RELATIONS, 6)
    assert made.left_out == ()


def test_deletion_leaves_the_triples_as_they_are() -> None:
    full, short = (corpus.built_in("letters", documents=7, delete_function_words=d).documents for d in (False, True))
    for a, b in zip(full, short, strict=True):
        assert a.triples == b.triples
        assert [m.entity for m in a.mentions] == [m.entity for m in b.mentions]
        assert set(b.text.split()) <= set(a.text.replace(".", "").split())


@pytest.mark.parametrize("delete", [False, True])
def test_entities_occur_once_and_their_spans_are_exact(delete: bool) -> None:
    for document in corpus.built_in("letters", documents=20, delete_function_words=delete).documents:
        surfaces = [document.surface(i) for i in range(len(document.mentions))]
        assert surfaces == [mention.entity for mention in document.mentions]
        assert len(surfaces) == len(set(surfaces)) == 16
        assert set(surfaces) <= set(agenda.LETTERS)
        words = [document.text[slice(*word.span)] for word in document.words]
        assert " ".join(words).split() == document.text.replace(".", " .").split()
        assert delete != ("the" in words)


def test_the_tail_is_not_always_the_next_mention() -> None:
    made = corpus.built_in("letters", documents=30)
    distances = Counter(triple.tail - triple.head for document in made.documents for triple in document.triples)
    assert distances == {1: 120, 2: 60}


def test_a_document_does_not_depend_on_the_number_drawn() -> None:
    for kind in corpus.KINDS:
        few, many = (corpus.built_in(kind, documents=n, seed=3).documents for n in (2, 4))
        assert many[: len(few)] == few
        assert corpus.built_in(kind, documents=2, seed=4).documents != few


def test_restated_pairs_keep_their_first_triple() -> None:
    document = corpus.built_in("letters", documents=1, mentions=3).documents[0]
    assert len(document.triples) == 6
    assert len(document.mentions) == 3 * 12 + 4
    assert all(max(triple.head, triple.tail) < 16 for triple in document.triples)
    times = Counter(mention.entity for mention in document.mentions)
    assert sorted(times.values()) == [1] * 4 + [3] * 12


def test_trees_have_the_three_relations_and_narratives_as_units() -> None:
    made = corpus.built_in("trees", documents=3)
    assert set(made.triples()) == {"subj", "obj", "mod"}
    assert made.units() == 3
    for document in made.documents:
        types = {mention.type for mention in document.mentions}
        assert types <= {"DET", "ADP", "AUX", "ADJ", "ADV", "NOUN", "PROPN", "VERB"}
        for triple in document.triples:
            head, tail = document.mentions[triple.head], document.mentions[triple.tail]
            if triple.relation == "obj":
                assert (head.type, tail.type) == ("VERB", "NOUN")
            if triple.relation == "mod":
                assert tail.type in {"ADJ", "ADV"}


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'letters'"):
        corpus.built_in("letter")
    with pytest.raises(DataError, match="documents=0"):
        corpus.built_in("letters", documents=0)
    with pytest.raises(DataError, match=r"too few entities for letters \| found: 3"):
        corpus.built_in("letters", entities=("B", "C", "D", "B"))


def test_a_tokenizer_may_choose_the_entities() -> None:
    mine = agenda.LETTERS[:18]
    for document in corpus.built_in("letters", documents=5, entities=mine).documents:
        assert {mention.entity for mention in document.mentions} <= set(mine)
