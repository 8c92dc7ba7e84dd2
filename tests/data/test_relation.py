"""Facts and relations: prompts whose spans say what they claim, and complaints that list every offender."""

import numpy as np
import pytest

from mnemoscope.data.leftout import counted
from mnemoscope.data.relation import (
    Fact,
    Relation,
    answer_gap,
    complaints,
    draw_shots,
    prompt,
    template_fault,
    usable,
)
from mnemoscope.errors import DataError, PromptError

FACTS = tuple(Fact(topic=t, answer=a) for t, a in (("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid")))
CAPITAL = Relation(name="capital", noun="big capital", templates=("The capital of {topic} is",), facts=FACTS)


def test_every_role_names_its_own_words() -> None:
    """Planted: each span, cut out of the text, is the word it stands for, wherever demonstrations and opener push it."""
    made = prompt(CAPITAL, FACTS[0], CAPITAL.template(0), shots=FACTS[1:], opener="As we know,")
    assert (
        made.text
        == "The capital of Italy is Rome. The capital of Spain is Madrid. As we know, the capital of France is"
    )
    parts = {role: made.part(role) for role in made.spans}
    assert parts == {
        "shot_topic": ("Italy", "Spain"),
        "shot_answer": ("Rome", "Madrid"),
        "opener": ("As we know,",),
        "relation_word": ("capital",),
        "topic": ("France",),
        "last": ("is",),
    }
    assert made.spans["relation_word"][0][0] > made.spans["opener"][0][1]  # of the question, not of a demonstration
    assert (made.answer, made.foils) == (" Paris", (" Rome", " Madrid"))
    assert made.labels == {
        "relation": "capital",
        "topic": "France",
        "template": "The capital of {topic} is",
        "opener": "As we know,",
        "shots": 2,
        "answer_in_shots": False,
    }


def test_a_topic_that_is_also_a_word_of_the_template_keeps_its_own_place() -> None:
    relation = Relation(
        name="r", noun="is", templates=("If it is is, {topic} is",), facts=(Fact(topic="is", answer="x"),)
    )
    made = prompt(relation, relation.facts[0], relation.template(0))
    assert made.spans == {"topic": ((13, 15),), "relation_word": ((16, 18),), "last": ((16, 18),)}


def test_the_relation_word_may_stand_behind_the_topic_or_be_absent() -> None:
    relation = Relation(name="r", noun="capital", templates=("{topic}'s capital is", "{topic} has"), facts=FACTS)
    assert prompt(relation, FACTS[0], "{topic}'s capital is").part("relation_word") == ("capital",)
    assert "relation_word" not in prompt(relation, FACTS[0], "{topic} has").spans
    assert "last" not in prompt(relation, FACTS[0], "Speaking of {topic}").spans


def test_demonstrations_never_show_the_topic() -> None:
    with pytest.raises(PromptError, match="topic of the question, 'France'"):
        prompt(CAPITAL, FACTS[0], CAPITAL.template(0), shots=FACTS)


def test_drawn_demonstrations_are_other_topics_and_prefer_other_answers() -> None:
    twice = (
        Fact(topic="a", answer="x"),
        Fact(topic="a", answer="y"),
        Fact(topic="b", answer="x"),
        Fact(topic="c", answer="z"),
    )
    relation = Relation(name="r", templates=("{topic} is",), facts=twice)
    for seed in range(20):
        shown = draw_shots(relation, twice[0], 2, np.random.default_rng(seed))
        assert [fact.topic for fact in shown] == ["c", "b"]
        assert draw_shots(relation, twice[3], 2, np.random.default_rng(seed))[0].topic in {"a", "b"}
    assert prompt(relation, twice[0], "{topic} is", shots=[twice[2]]).labels["answer_in_shots"] is True
    with pytest.raises(DataError, match="found: 2 other topics"):
        draw_shots(relation, twice[0], 3, np.random.default_rng(0))


def test_foils_never_hold_a_right_answer() -> None:
    facts = (
        Fact(topic="a", answer="x", aliases=("z",)),
        Fact(topic="a", answer="y"),
        Fact(topic="b", answer="z"),
        Fact(topic="c", answer="v"),
    )
    relation = Relation(name="r", templates=("{topic} is",), facts=facts)
    assert prompt(relation, facts[0], "{topic} is").foils == (" v",)
    given = Fact(topic="a", answer="x", foils=("q",))
    assert prompt(relation, given, "{topic} is").foils == (" q",)


def test_bad_templates_and_facts_are_listed_together() -> None:
    with pytest.raises(DataError) as caught:
        Relation(
            name="r",
            templates=("no slot", "{topic} and {topic}", "{topic} {x}", "{topic} is "),
            facts=(Fact(topic="", answer="a"), Fact(topic="b", answer=" a", templates=("own",))),
        )
    for offender in (
        "no slot",
        "{topic} and {topic}",
        "{topic} {x}",
        "'{topic} is '",
        "topic ''",
        "answer ' a'",
        "'own'",
    ):
        assert offender in str(caught.value)


def test_faults_and_gaps() -> None:
    assert template_fault("{topic} is") == ""
    assert template_fault("is") == "has 0 slots {topic}"
    assert [answer_gap(t) for t in ("{topic} is", "{topic} (", '{topic} is called "', 'of "{topic}"')] == [
        " ",
        "",
        "",
        " ",
    ]


@pytest.mark.parametrize(
    ("template", "opener", "text"),
    [
        ("The {topic}", "Now,", "Now, the X"),
        ("The {topic}", "Now.", "Now. The X"),
        ("I like {topic}", "Now,", "Now, I like X"),
        ("{topic} is", "Now,", "Now, X is"),
        ("USA and {topic}", "Now,", "Now, USA and X"),
    ],
)
def test_an_opener_makes_the_first_letter_small_only_where_it_should(template: str, opener: str, text: str) -> None:
    assert prompt(CAPITAL, Fact(topic="X", answer="y"), template, opener=opener).text == text


def test_complaints_name_each_kind_of_trouble() -> None:
    facts = [("a", "x"), ("a", "x"), ("b", "New York"), ("c", "new Delhi"), ("d", "p"), ("d", "q")]
    relation = Relation(name="r", templates=("{topic}",), facts=tuple(Fact(topic=t, answer=a) for t, a in facts))
    assert counted(complaints(relation)) == {
        "repeated fact": 1,
        "topic with several answers": 1,
        "answers begin with the same word": 1,
    }
    assert not relation.distinct
    assert CAPITAL.distinct
    assert complaints(CAPITAL) == ()


def test_a_relation_with_one_topic_or_no_template_is_listed_and_the_others_go_on() -> None:
    lonely = Relation(name="lonely", templates=("{topic}",), facts=FACTS[:1])
    mute = Relation(name="mute", templates=(), facts=FACTS)
    kept, left = usable([lonely, CAPITAL, mute])
    assert kept == (CAPITAL,)
    assert {case.id: case.reason for case in left} == {"lonely": "too few topics", "mute": "no template"}
    assert counted(complaints(lonely)) == {"fewer than two topics": 1}
