"""`show` gives the rows of a run as they are, whatever they say."""

import json
from typing import Any

import polars as pl
import pytest


def test_rows_and_what_they_share(capsys: pytest.CaptureFixture[str]) -> None:
    from mnemoscope.cli.show import _print

    _print(
        "heads", pl.DataFrame({"head": [0, 1], "estimate": [0.25, float("nan")], "score": ["[b]\u202e", "[b]\u202e"]})
    )
    out = capsys.readouterr().out
    assert "0.25" in out
    assert "score: [b]⟨U+202E⟩" in out
    assert out.count("[b]") == 1


def test_what_is_not_there(cli: Any, tmp_path: Any) -> None:
    said = cli("show", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "is not a run folder" in said.line


def test_data_sets_for_scripts(cli: Any) -> None:
    rows = json.loads(cli("data", "list", "--json").out)
    assert {"name", "what", "read by", "where", "licence"} == set(rows[0])
    lines = json.loads(cli("data", "show", "letters", "--limit", "2", "--json").out)
    assert len(lines) >= 3
