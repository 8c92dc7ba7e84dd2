"""What is promised of the training documents, kind by kind, on documents drawn anew; nothing held out stands in any of them."""

import re
from itertools import pairwise

import numpy as np
import pytest

from mnemoscope.data import episodes, facts, words
from mnemoscope.reference import world

KINDS = [(kind, bucket.length) for bucket in world.BUCKETS for kind, _ in bucket.shares]
CATEGORY = {word: name for name, members in words.CATEGORIES.items() for word in members}


def drawn(kind: str, length: int, count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [world.document(kind, length, rng).text for _ in range(count)]


@pytest.fixture(scope="module")
def coder():
    return world.tokenizer()


@pytest.mark.parametrize(("kind", "length"), KINDS)
def test_no_document_holds_a_held_out_pair(kind: str, length: int) -> None:
    """ "left, right" of words of the tasks, wherever it stands; pairs are what the task documents are made of."""
    found = 0
    for text in drawn(kind, length, 20 if kind == "narrative" else 100):
        for left, right in re.findall(r"(\w+), (?=(\w+))", text):
            if left in CATEGORY and right in CATEGORY:
                found += 1
                assert not episodes.held_out(left, right)
    assert found > 500 or kind != "pairs"


def test_no_document_holds_a_held_out_sentence() -> None:
    """Behind an opener a sentence begins with a small letter."""
    frames = [t.lower().split("{topic}") for r in facts.facts() for t in r.held_out_templates]
    forbidden = re.compile("|".join(rf"{re.escape(before)}\w+{re.escape(behind)}" for before, behind in frames))
    texts = drawn("facts", 80, 1000)
    assert sum("the capital of" in text.lower() for text in texts) > 20
    for text in texts:
        assert not forbidden.search(text.lower())


def test_between_topic_and_answer_there_are_three_tokens_at_least(coder) -> None:
    """In every template; topics are one token each, so every eighth will do. The answer is one further token."""
    for relation in facts.facts():
        for template in (*relation.templates, *relation.held_out_templates):
            asked = [facts.prompt(relation, fact, template) for fact in relation.facts[::8]]
            for prompt, code in zip(asked, coder.backend_tokenizer.encode_batch([p.text for p in asked]), strict=True):
                assert sum(start >= prompt.spans["topic"][0][1] for start, stop in code.offsets if stop > start) >= 3
            assert len(coder.tokenize(asked[0].text + asked[0].answer)) == len(coder.tokenize(asked[0].text)) + 1


def test_digits_stand_for_classes_in_one_document_and_for_others_in_the_next() -> None:
    used: dict[tuple[str, str], set[str]] = {}
    for text in drawn("pairs", 208, 500):
        digit: dict[tuple[str, str], str] = {}
        for line in text.split("\n"):
            left, right, label = re.fullmatch(r"(\w+), (\w+): (\d)", line).groups()  # type: ignore[union-attr]
            assert digit.setdefault((CATEGORY[left], CATEGORY[right]), label) == label
        assert len(set(digit.values())) == len(digit)
        for pair, label in digit.items():
            used.setdefault(pair, set()).add(label)
    assert len(used) == 11  # nine of three categories, two of furniture and professions
    assert all(len(labels) == 10 for labels in used.values())


def test_points_lie_on_a_line_and_no_x_comes_twice() -> None:
    for text in drawn("line", 80, 200):
        points = np.array(re.findall(r"\((\d),(\d+)\);", text), dtype=float)
        assert len(set(points[:, 0])) == len(points) == 10  # nine shown, one asked
        steps = np.diff(points[np.argsort(points[:, 0]), 1])
        assert len(set(steps)) == 1


def test_a_passage_keeps_to_one_of_three_formats_and_to_what_it_says() -> None:
    """Where no persona lies, every answer is what the passage says of the person asked."""
    formats: set[str] = set()
    for text in drawn("passage", 128, 200):
        own: set[str] = set()
        asked = re.findall(r"What is (\w+) doing\? Answer:( .*)\.", text)
        assert len(asked) == text.count("Answer:") >= 1
        for name, answer in asked:
            (form,) = (
                f
                for f, shape in episodes.FORMATS.items()
                for a in words.ACTIVITIES
                if shape.format(name=name, activity=a) == answer
            )
            own.add(form)
        assert len(own) == 1
        if "lie" not in text:
            for passage, question in pairwise(text.split("\n")):
                if name := re.match(r"What is (\w+) doing", question):
                    assert dict(re.findall(r"(\w+) is ([^.]*)\.", passage))[name[1]] in question
        formats |= own
    assert formats == set(episodes.FORMATS)


@pytest.mark.parametrize(("kind", "length"), [pair for pair in KINDS if "span" in pair[0]])
def test_spans_repeat_and_those_of_16_to_100_words_are_among_them(kind: str, length: int) -> None:
    periods = []
    for text in drawn(kind, length, 200):
        said = text.split()
        periods.append(next(p for p in range(1, len(said)) if said[p:] == said[:-p]))
    assert set(periods) <= set(range(3, 101))
    assert sum(p >= 16 for p in periods) > 40


def test_a_narrative_has_600_tokens_and_people_of_its_own(coder) -> None:
    casts = []
    for text in drawn("narrative", 640, 20):
        assert len(coder.tokenize(text)) >= 600
        casts.append({word for word in re.findall(r"\w+", text) if word in words.FIRST_NAMES})
    assert all(6 <= len(cast) <= 10 for cast in casts)
    assert all(one != two for one, two in pairwise(casts))


@pytest.mark.parametrize(("kind", "length"), [pair for pair in KINDS if "invented" in pair[0]])
def test_invented_pairs_are_introduced_once_and_used_later(kind: str, length: int) -> None:
    """Four sentences hold the same two entities, and no entity has two partners."""
    entities = {*words.THINGS, *"BCDEFGHJKLMNOPQRSTUVWXYZ"}
    for text in drawn(kind, length, 50):
        pairs = [tuple(w for w in re.findall(r"\w+", said) if w in entities) for said in text.split(". ")]
        assert all(len(pair) == 2 for pair in pairs)
        assert len(pairs) == 4 * len(set(pairs))
        assert len({w for pair in pairs for w in pair}) == 2 * len(set(pairs))
