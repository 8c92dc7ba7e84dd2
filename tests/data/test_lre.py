"""LRE files: templates, samples, and what is listed when they are not what they should be."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import lre
from mnemoscope.data.leftout import counted
from mnemoscope.errors import DataError

PLANTED = {
    "name": "capital",
    "prompt_templates": ["The capital of {} is", "{} and {}"],
    "prompt_templates_zs": ["What is {}? It is", "no slot"],
    "properties": {"relation_type": "factual"},
    "samples": [{"subject": "France", "object": " Paris"}, {"subject": "", "object": "Rome"}, {"subject": "Spain"}],
}


def test_templates_and_samples_are_read_and_the_rest_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "capital.json").write_text(json.dumps(PLANTED), encoding="utf-8")
    (relation,), left = lre.read(tmp_path)
    assert relation.templates == ("What is {topic}? It is", "The capital of {topic} is")
    assert [(fact.topic, fact.answer) for fact in relation.facts] == [("France", "Paris")]
    assert (relation.name, relation.kind) == ("capital", "factual")
    assert counted(left) == {"sample without subject or object": 2, "template cannot be used": 2}


def test_files_that_are_no_relation_are_all_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text("[]", encoding="utf-8")
    (tmp_path / "good.json").write_text(json.dumps(PLANTED), encoding="utf-8")
    with pytest.raises(DataError, match=r"one\.json; two\.json"):
        lre.read(tmp_path)


def test_the_real_folder_keeps_every_sample(shared: Path) -> None:
    relations, left = lre.read(shared / "lre")
    raw = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in (shared / "lre").rglob("*.json")}
    assert left == ()
    assert sorted(r.name for r in relations) == sorted(v["name"] for v in raw.values())
    assert sum(len(r.facts) for r in relations) == sum(len(v["samples"]) for v in raw.values())
