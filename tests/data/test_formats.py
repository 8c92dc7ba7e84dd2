"""Formats are recognised by their content; what is none of them is refused by what was seen."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import formats, jsonl
from mnemoscope.errors import DataError

TREE = "# text = Dogs bark\n1\tDogs\tdog\tNOUN\t_\t_\t2\tnsubj\t_\t_\n2\tbark\tbark\tVERB\t_\t_\t0\troot\t_\t_\n"
ABSTRACT = "T\tnets ; parsing\t<method> <task>\t0 0 1\tuse <method_0> for <task_1>\t0 1 -1\n"
LRE = {
    "name": "c",
    "prompt_templates": ["{} is"],
    "samples": [{"subject": "a", "object": "b"}, {"subject": "c", "object": "d"}],
}
KNOWN = [{"subject": "a", "attribute": "b", "template": "{} is", "prompt": "a is", "relation_id": "P1"}]
PAIRS = [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]


@pytest.mark.parametrize(
    ("name", "content", "kind", "counts"),
    [
        ("x.jsonl", jsonl.EXAMPLE, "JSON lines", {"prompts": 1, "documents": 1, "relations": 1, "facts": 1}),
        ("x.json", jsonl.EXAMPLE_TRIPLE, "JSON lines", {"prompts": 1, "documents": 1, "triples": 1}),
        ("x.tsv", ABSTRACT, "AGENDA", {"documents": 5, "triples": 5}),
        ("x.conllu", TREE, "CoNLL-U", {"documents": 1, "triples": 1}),
        ("x.json", json.dumps(LRE, indent=1), "LRE", {"relations": 1, "facts": 2}),
        ("x.json", json.dumps(LRE), "LRE", {"relations": 1, "facts": 2}),
        ("x.json", json.dumps(KNOWN), "CounterFact", {"relations": 1, "facts": 1}),
        ("x.json", json.dumps(PAIRS), "input/output pairs", {"tasks": 1, "pairs": 2}),
        ("x.json", json.dumps(["a text", "another"]), "plain text", {"documents": 2}),
        ("x.txt", "a text", "plain text", {"documents": 1}),
    ],
)
def test_content_decides(tmp_path: Path, name: str, content: str, kind: str, counts: dict[str, int]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    read = formats.read(tmp_path / name)
    assert (read.format, read.counts(), read.path) == (kind, counts, tmp_path / name)


def test_facts_that_cannot_be_used_are_listed_even_if_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(jsonl.EXAMPLE.replace('" Paris"', '"Paris"'), encoding="utf-8")
    read = formats.read(tmp_path / "x.jsonl")
    assert read.relations == ()
    assert [case.reason for case in read.left_out] == ["answer without its leading space"]


@pytest.mark.parametrize(("name", "content", "kind"), [("x.json", LRE, "LRE"), ("x.json", PAIRS, "input/output pairs")])
def test_folders_are_known_by_what_is_in_them(tmp_path: Path, name: str, content: object, kind: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).write_text(json.dumps(content), encoding="utf-8")
    assert formats.read(str(tmp_path)).format == kind


def test_a_refusal_says_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        formats.read(tmp_path / "x.csv")
    for part in (".csv: 'a,b'", "AGENDA", "CoNLL-U", "LRE", "CounterFact", "ParaRel", "plain text", jsonl.EXAMPLE):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"a folder of 1 files: x\.csv"):
        formats.read(tmp_path)
    with pytest.raises(DataError, match="there is no file or folder"):
        formats.read(tmp_path / "nothing")


@pytest.mark.parametrize(("name", "content"), [("x.tsv", "a\tb\n"), ("x.conllu", "a\tb\n"), ("x.jsonl", "a\n")])
def test_a_known_suffix_with_bad_content_is_read_as_what_it_claims(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        formats.read(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("lre", "LRE"),
        ("counterfact/known_1000.json", "CounterFact"),
        ("function_vectors", "input/output pairs"),
        ("corpora/wikitext-2", "plain text"),
        ("corpora/tinystories_samples/tinystories_10.json", "plain text"),
    ],
)
def test_real_sets_are_recognised(shared: Path, path: str, kind: str) -> None:
    assert formats.read(shared / path).format == kind


def test_a_model_is_not_data(shared: Path) -> None:
    with pytest.raises(DataError, match="not a text file"):
        formats.read(shared / "models" / "stories260K" / "model.safetensors")
    with pytest.raises(DataError, match="no format that we know"):
        formats.read(shared / "tokenizers" / "gpt2")
