"""The promises of the built-in facts: sizes, one slot, distance to the topic, one word, distinct answers, honest demonstrations."""

import numpy as np
import pytest

from mnemoscope.data import facts
from mnemoscope.errors import DataError, OptionError, PromptError

CLASSIC = {
    *("capital", "language", "currency", "continent", "opposite", "past_tense"),
    *("plural", "young", "symbol", "product", "work", "player"),
}
NATIONS = (
    *(["China", "USA", "Russia", "England", "France", "Japan", "Italy", "Canada", "Australia"]),
    *(["Spain", "Egypt", "Portugal", "Austria", "Greece", "Thailand"]),
)


def test_sizes_that_are_promised() -> None:
    distinct = [r for r in facts.facts() if r.distinct]
    assert len(distinct) >= 20
    assert sum(len(r.facts) for r in distinct) >= 1000
    assert {r.name for r in facts.facts()} >= CLASSIC
    assert all(len(r.facts) >= 15 for r in facts.facts())
    assert len(facts.OPENERS) == 15


def test_the_fifteen_nations() -> None:
    assert [f.topic for f in facts.relation("capital").facts[:15]] == list(NATIONS)


@pytest.mark.parametrize("relation", facts.facts(), ids=lambda r: r.name)
def test_a_relation_is_well_formed(relation: facts.Relation) -> None:
    topics = [f.topic for f in relation.facts]
    assert len(set(topics)) == len(topics)
    assert all(" " not in f.topic + f.answer for f in relation.facts)
    assert len(relation.templates) >= 6
    assert len(relation.held_out_templates) == 2
    assert not set(relation.templates) & set(relation.held_out_templates)
    for template in (*relation.templates, *relation.held_out_templates):
        assert template.count("{topic}") == 1
        assert len(template.partition("{topic}")[2].split()) >= 3
        assert relation.noun in template
    if relation.name == "continent":
        assert facts.answers_repeat(relation) == ("Africa", "America", "Asia", "Europe")
    else:
        assert facts.answers_repeat(relation) == ()


def test_roles_and_labels_of_a_prompt_with_demonstrations() -> None:
    relation = facts.relation("past_tense")
    fact = relation.facts[3]
    template = relation.templates[0]
    prompt = facts.prompt(relation, fact, template, shots=4, rng=np.random.default_rng(1))
    assert prompt.part("topic") == (fact.topic,)
    assert prompt.part("relation_word") == ("tense",)
    assert prompt.text.endswith(prompt.part("last")[0])
    assert len(prompt.part("shot_topic")) == 4
    assert fact.topic not in prompt.part("shot_topic")
    assert fact.answer not in prompt.part("shot_answer")
    assert prompt.answer == f" {fact.answer}"
    assert prompt.answer not in prompt.foils
    assert len(prompt.foils) == len(relation.facts) - 1
    assert prompt.labels["relation"] == "past_tense"
    assert prompt.labels["shots"] == 4


def test_demonstrations_never_give_the_answer_away_where_answers_repeat() -> None:
    relation = facts.relation("continent")
    rng = np.random.default_rng(0)
    for fact in relation.facts:
        prompt = facts.prompt(relation, fact, relation.plain, shots=5, rng=rng)
        assert fact.answer not in prompt.part("shot_answer")


def test_an_opener_stands_in_front_and_the_sentence_goes_on_in_lower_case() -> None:
    relation = facts.relation("capital")
    prompt = facts.prompt(relation, relation.facts[4], relation.plain, opener=facts.OPENERS[0])
    assert prompt.text == "It is worth knowing that the capital of France is"


@pytest.mark.parametrize(
    "template", ["The capital is", "{topic} and {topic} are", "The capital of {topic}", "Of {topic} it is "]
)
def test_a_template_that_cannot_be_used_is_refused(template: str) -> None:
    relation = facts.relation("capital")
    with pytest.raises(DataError, match="exactly one"):
        facts.prompt(relation, relation.facts[0], template)


def test_more_demonstrations_than_facts_and_demonstrations_without_a_generator_are_refused() -> None:
    relation = facts.relation("ordinal")
    with pytest.raises(PromptError, match="15 other facts"):
        facts.prompt(relation, relation.facts[0], relation.plain, shots=16, rng=np.random.default_rng(0))
    with pytest.raises(PromptError, match="rng=None"):
        facts.prompt(relation, relation.facts[0], relation.plain, shots=1)


def test_an_unknown_relation_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'capital'"):
        facts.relation("capitals")
