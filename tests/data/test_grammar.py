"""Gold trees are trees, spans are the words they say, and triples point at the entities that were asked for."""

import numpy as np
import pytest

from mnemoscope.data import grammar
from mnemoscope.errors import OptionError


def _sentences(seed: int) -> list[grammar.Sentence]:
    rng = np.random.default_rng(seed)
    told = [grammar.clause(h, rng) for h in grammar.habits(8, rng) for _ in range(8)]
    return told + [grammar.statement(*drawn, rng) for drawn in grammar.entity_pairs(20, rng)]


@pytest.mark.parametrize("seed", range(3))
def test_every_sentence_has_one_root_and_no_cycle(seed: int) -> None:
    for sentence in _sentences(seed):
        assert sentence.heads.count(-1) == 1
        assert sentence.deprels[sentence.heads.index(-1)] == "root"
        for i in range(len(sentence.words)):
            steps, at = 0, i
            while at != -1:
                at, steps = sentence.heads[at], steps + 1
                assert steps <= len(sentence.words)


@pytest.mark.parametrize("seed", range(3))
def test_spans_are_the_words(seed: int) -> None:
    for sentence in _sentences(seed):
        assert all(sentence.text[w.start : w.stop] == w.text for w in sentence.words)


def test_edges_of_a_plain_clause() -> None:
    habit = grammar.Habit(subject="Tom", deed="lifts", quality="old", thing="lamp", place="garden", material="heavy")
    rng = np.random.default_rng(0)
    while True:
        sentence = grammar.clause(habit, rng)
        if sentence.text == "Tom lifts the old lamp.":
            break
    word = [w.text for w in sentence.words]
    assert {(e.relation, word[e.head], word[e.tail]) for e in sentence.edges} == {
        ("subj", "lifts", "Tom"),
        ("obj", "lifts", "lamp"),
        ("mod", "lamp", "old"),
    }


@pytest.mark.parametrize("relation", grammar.RELATIONS)
def test_a_statement_marks_its_triple(relation: str) -> None:
    rng = np.random.default_rng(0)
    texts = set()
    for _ in range(20):
        sentence = grammar.statement(relation, "lamp", "rope", rng)
        (triple,) = sentence.triples
        assert (triple.relation, sentence.words[triple.head].text, sentence.words[triple.tail].text) == (
            relation,
            "lamp",
            "rope",
        )
        texts.add(sentence.text)
    assert len(texts) == 2


def test_no_entity_twice_and_letters_are_no_words() -> None:
    drawn = grammar.entity_pairs(11, np.random.default_rng(0), letters=True)
    entities = [e for _, h, t in drawn for e in (h, t)]
    assert len(set(entities)) == 22
    assert not {"A", "I"} & set(entities)


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(OptionError, match="PART-OF"):
        grammar.statement("PARTOF", "lamp", "rope", np.random.default_rng(0))
