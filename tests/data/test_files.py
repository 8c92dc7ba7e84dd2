"""JSON files: what is wrong is said with its place."""

from pathlib import Path

import pytest

from mnemoscope.data.files import json_lines, objects, read_json, read_text, several, words
from mnemoscope.errors import DataError


def test_faults_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1,\n "b" 2}', encoding="utf-8")
    (tmp_path / "b.json").write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="line 2 column 6"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="byte 2 is not UTF-8"):
        read_text(tmp_path / "b.json")
    with pytest.raises(DataError, match="No such file"):
        read_text(tmp_path / "c.json")


def test_lines_that_hold_no_object_are_collected(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n[1]\n{\n{"b": 2}\n', encoding="utf-8")
    bad: list[str] = []
    assert [line for line, _ in json_lines(tmp_path / "a.jsonl", bad)] == [1, 5]
    assert [fault.split(":")[0] for fault in bad] == ["line 3", "line 4"]


def test_fields() -> None:
    assert words({"a": {"b": " x "}}, "a", "b") == "x"
    assert words({"a": 1}, "a", "b") == ""
    assert several({"a": ["x ", "", 1]}, "a") == ["x"]
    assert several({"a": "x"}, "a") == ["x"]
    assert objects([{"a": 1}, 2]) == []
    assert objects([{"a": 1}]) == [{"a": 1}]
