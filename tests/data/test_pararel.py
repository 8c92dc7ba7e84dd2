"""ParaRel patterns: only those that end with [Y] can be asked, the others are listed."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import pararel
from mnemoscope.data.leftout import counted
from mnemoscope.errors import DataError


def folder(root: Path) -> Path:
    for name, lines in {
        "pattern_data/graphs_json/P36.jsonl": [
            {"pattern": "The capital of [X] is [Y] ."},
            {"pattern": "[Y] is the capital of [X]."},
            {"pattern": "[X]'s capital, [Y]."},
        ],
        "trex_lms_vocab/P36.jsonl": [
            {"sub_label": "France", "obj_label": "Paris"},
            {"sub_label": "Italy", "obj_label": "Rome"},
        ],
        "pattern_data/graphs_json/P1.jsonl": [{"pattern": "[X] [Y]"}],
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return root


def test_a_folder_becomes_relations(tmp_path: Path) -> None:
    (relation,), left = pararel.read_folder(folder(tmp_path))
    assert relation.name == "P36"
    assert relation.templates == ("The capital of {topic} is", "{topic}'s capital,")
    assert [(fact.topic, fact.answer) for fact in relation.facts] == [("France", "Paris"), ("Italy", "Rome")]
    assert counted(left) == {"patterns without facts": 1, "[Y] is not the end of the pattern": 1}


@pytest.mark.parametrize("pattern", ["[Y] is [X]", "[X] [X] is [Y]", "is [Y]", "[X] is [Y] today", "[X] {} [Y]"])
def test_patterns_that_cannot_be_asked(pattern: str) -> None:
    assert pararel.template_of(pattern) == ""


def test_malformed_lines_are_named(tmp_path: Path) -> None:
    file = folder(tmp_path) / "trex_lms_vocab" / "P36.jsonl"
    file.write_text('{"sub_label": "a"}\nnot json\n{"sub_label": "a", "obj_label": "b"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: no obj_label; line 2: not JSON"):
        pararel.read_folder(tmp_path)


def test_a_folder_without_facts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graphs_json").mkdir()
    with pytest.raises(DataError, match="no folder trex_lms_vocab"):
        pararel.read_folder(tmp_path)
