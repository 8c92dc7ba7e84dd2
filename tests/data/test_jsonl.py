"""Our JSON lines: places by characters or by words, round trips, and every fault of a file at once."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import agenda, jsonl
from mnemoscope.data.document import Document, Mention, Triple, Word
from mnemoscope.data.leftout import counted
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import prompt
from mnemoscope.errors import DataError


def lines(folder: Path, *records: object) -> Path:
    file = folder / "x.jsonl"
    file.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return file


def test_the_lines_to_copy_are_read(tmp_path: Path) -> None:
    file = lines(tmp_path, jsonl.EXAMPLE, jsonl.EXAMPLE_TRIPLE)
    fact, plain = jsonl.read_prompts(file)
    assert (fact.part("topic"), fact.answer, fact.foils) == (("France",), " Paris", (" Rome",))
    assert fact.labels == {"relation": "capital", "id": "x:1"}
    assert plain.text == "The ink of a pen dries."
    _, document = jsonl.read_documents(file).documents
    (triple,) = document.triples
    assert (document.surface(triple.head), triple.relation, document.surface(triple.tail)) == ("pen", "part-of", "ink")


def test_the_documentation_shows_lines_that_work(tmp_path: Path) -> None:
    shown = [line.strip() for line in (jsonl.__doc__ or "").split("\n") if line.strip().startswith('{"text"')]
    assert len(shown) == 2
    assert len(jsonl.read_prompts(lines(tmp_path, *shown))) == 2


def test_places_by_characters_words_and_several(tmp_path: Path) -> None:
    text = "a cat, a caterpillar and C++ are here"
    spans = {"word": "cat", "sign": "C++", "one": [0, 1], "two": [[0, 1], "here"]}
    (made,) = jsonl.read_prompts(lines(tmp_path, {"text": text, "spans": spans}))
    assert {role: made.part(role) for role in made.spans} == {
        "word": ("cat",),
        "sign": ("C++",),
        "one": ("a",),
        "two": ("a", "here"),
    }


def test_prompts_and_documents_come_back_as_written(tmp_path: Path) -> None:
    prompts = (
        Prompt(
            text="é is", spans={"topic": ((0, 1),)}, answer=" x", foils=(" y",), labels={"id": "p", "n": 2, "t": True}
        ),
        Prompt(text="plain", labels={"id": "q"}),
    )
    documents = (
        Document(
            id="d",
            unit="u",
            text="The ink of ink",
            mentions=(Mention(span=(4, 7), entity="ink", type="N"), Mention(span=(11, 14), entity="ink")),
            triples=(Triple(head=1, relation="r", tail=0, subtype="r:s"), Triple(head=0, relation="q", tail=1)),
            words=(Word(span=(0, 3), upos="DET"),),
            source_anchor="all",
            labels={"x": 1.5},
        ),
    )
    jsonl.write(tmp_path / "p.jsonl", prompts)
    jsonl.write(tmp_path / "d.jsonl", documents)
    assert jsonl.read_prompts(tmp_path / "p.jsonl") == prompts
    assert jsonl.read_documents(tmp_path / "d.jsonl").documents == documents


def test_a_lettered_corpus_survives_the_round_trip(shared: Path, tmp_path: Path) -> None:
    raw = (shared / "agenda" / "preprocessed.val.tsv").read_text(encoding="utf-8").split("\n")
    (tmp_path / "few.tsv").write_text("\n".join(raw[:20]), encoding="utf-8")
    made = agenda.lettered(agenda.read(tmp_path / "few.tsv"), redraws=2)
    jsonl.write(tmp_path / "d.jsonl", made.documents)
    assert jsonl.read_documents(tmp_path / "d.jsonl").documents == made.documents


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    bad = [
        {"text": "a b", "spam": 1, "eggs": 2},
        {"text": ""},
        {"text": "a a", "spans": {"x": "a"}},
        {"text": "a b", "triples": [["a", " ", "b"]]},
        {"text": "a b", "triples": [["a", "b"]]},
        {"text": "a", "spans": {"x": [0, 5]}},
        {"text": "a", "answer": 3},
        {"text": "a", "labels": {"x": [1]}},
        {"text": "a b", "mentions": [{"place": "a"}]},
        {"text": "a b", "words": [[0, 1]]},
        {"text": "a", "id": "x:1"},
        {"text": "abc def", "mentions": [{"at": [0, 3]}, {"at": [2, 5]}]},
        "not json",
    ]
    expected = {
        2: "unknown keys spam, eggs",
        3: "no text",
        4: "x 'a' occurs 2 times",
        5: 'triple ["a", " ", "b"] is not [head, relation, tail]',
        6: "is not [head, relation, tail]",
        7: "outside the 1 characters",
        8: '"answer" is not a string',
        9: '"labels" is not an object',
        10: 'mention {"place": "a"} is not',
        11: "word [0, 1] is not",
        12: "id 'x:1' stands on line 1 already",
        13: "mention 1 at (2, 5) begins before",
        14: "not JSON",
    }
    file = lines(tmp_path, {"text": "good"}, *bad)
    with pytest.raises(DataError) as prompts:
        jsonl.read_prompts(file)
    with pytest.raises(DataError) as documents:
        jsonl.read_documents(file)
    said = f"{prompts.value} {documents.value}"
    for number, fault in expected.items():
        assert f"line {number}: " in said
        assert fault in said
    assert "line 1:" not in said


def test_facts_are_found_in_prompts_and_ask_the_same_again(tmp_path: Path) -> None:
    told = [
        {
            "text": "The capital of France is",
            "spans": {"topic": "France"},
            "answer": " Paris",
            "labels": {"relation": "c"},
        },
        {
            "text": "The capital of Italy is",
            "spans": {"topic": "Italy"},
            "answer": " Rome",
            "labels": {"relation": "c"},
        },
        {"text": "France has", "spans": {"topic": "France"}, "answer": " Paris", "labels": {"relation": "c"}},
        {"text": "x", "answer": " y", "labels": {"relation": "c"}},
        {"text": "x", "spans": {"topic": "x"}, "answer": " y"},
        {"text": "x is", "spans": {"topic": "x"}, "labels": {"relation": "c"}},
        {"text": "x is", "spans": {"topic": "x"}, "answer": "y", "labels": {"relation": "c"}},
        {"text": "{x} is", "spans": {"topic": "x"}, "answer": " y", "labels": {"relation": "c"}},
    ]
    file = lines(tmp_path, *told)
    (relation,), left = jsonl.read_relations(file)
    assert relation.templates == ("The capital of {topic} is", "{topic} has")
    assert [(fact.topic, fact.answer) for fact in relation.facts] == [("France", "Paris"), ("Italy", "Rome")]
    again = prompt(relation, relation.facts[0], relation.templates[0])
    assert (again.text, again.answer) == (told[0]["text"], told[0]["answer"])
    assert counted(left) == {
        "not exactly one topic": 1,
        "no label relation": 1,
        "no answer": 1,
        "answer without its leading space": 1,
        "text cannot be a template": 1,
    }


def test_triples_whose_words_are_not_there_once_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    triples = [["Anna", "likes", "Carl"], ["Anna", "likes", "Bob"], ["Bob", "sees", "a"], [[0, 4], "sees", [11, 14]]]
    read = jsonl.read_documents(lines(tmp_path, {"text": "Anna likes Bob, a b a.", "triples": triples}))
    (document,) = read.documents
    assert [one.relation for one in document.triples] == ["likes", "sees"]
    assert [str(one) for one in read.left_out] == [
        'x:1 likes: entity does not occur ("Carl")',
        'x:1 sees: entity occurs more than once ("a")',
    ]
