"""`show` gives the rows of a run as they are, whatever they say."""

import json
import shutil
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of the heads study whose tables are made by hand: one head of 12 knows USED-FOR."""
    from mnemoscope.results.provenance import Provenance, environment
    from mnemoscope.results.schema import heads, shared
    from mnemoscope.results.store import opened

    def row(head: int, score: str, relation: str, estimate: float, reason: str = "") -> dict[str, Any]:
        corpus = "letters" if relation else "random"
        names = {"copy": "trained", "corpus": corpus, "layer": 0, "head": head, "score": score, "relation": relation}
        numbers = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1, "chance": 0.1, "p_maxt": 0.01}
        return {**names, **numbers, "n": 40, "n_units": 12, "method": "by hand", "reason": reason}

    rows = [row(head, "ri_ctx_src", "USED-FOR", head / 20) for head in range(12)]
    rows += [row(99, "ri_ctx_src", "USED-FOR", 0.99, "support: 1 document")]
    rows += [row(head, "ri_ctx_src", "PART-OF", 1 - head / 20) for head in range(12)]
    rows += [row(head, "prefix_matching", "", head / 12) for head in range(12)]
    rows += [row(head, "ablation_loss", "", 5.0) for head in range(12)]
    nan = float("nan")
    claims = [("C1 it is so", "supported", 0.6, 0.5, 0.7, 0.001, 0.05, 40, 12, "above .05", "", "heads")]
    claims += [("C2 it is not", "not testable", nan, nan, nan, nan, 0.05, 0, 0, "above .05", "nothing", "")]
    tables = {
        "heads": pl.DataFrame(rows),
        "claims": pl.DataFrame(claims, schema=shared.CLAIMS.schema, orient="row"),
        "headlines": pl.DataFrame(
            {"order": [0, 1], "text": ["Head 11 <b>is\u202e it.", "C1 it is so: supported, 0.6."]}
        ),
    }
    path = tmp_path_factory.mktemp("show") / "run"
    identity = {"config": {}, "model": {"name": "handmade"}, "threads": 1, "versions": {}}
    asked = {"study": "heads", "model": "handmade"}
    order = Provenance(study="heads", asked=asked, identity=identity, environment=environment())
    with opened(path, order) as run:
        run.finalise(tables, {**shared.TABLES, **heads.TABLES}, jobs={"planned": 0, "done": 0, "failed": 0})
    return path


def test_a_relation_of_the_heads_study(cli: Any, folder: Any) -> None:
    """What the study's name shows is one score, best first; the undefined and other scores do not stand between."""
    found = json.loads(cli("show", folder, "heads", "--relation", "USED-FOR", "--top", "10", "--json").out)["heads"]
    assert [row["head"] for row in found] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert {(row["score"], row["relation"]) for row in found} == {("ri_ctx_src", "USED-FOR")}
    plain = json.loads(cli("show", folder, "heads", "--json").out)["heads"]
    assert {row["score"] for row in plain} == {"prefix_matching"}
    wider = json.loads(cli("show", folder, "heads", "--where", "score=ablation_loss", "--json").out)["heads"]
    assert {row["score"] for row in wider} == {"ablation_loss"}
    said = cli("show", folder, "heads", "--relation", "USED-FUR")
    assert said.code == 2
    assert "USED-FOR" in said.line


def test_headlines_say_a_verdict_once(cli: Any, folder: Any) -> None:
    out = cli("show", folder).out
    assert "Head 11 <b>is⟨U+202E⟩ it." in out
    assert out.count("C1 it is so") == 1
    assert "not testable  C2 it is not" in out
    record = json.loads(cli("show", folder, "--json").out)
    assert record["headlines"]["heads"][1] == "C1 it is so: supported, 0.6."
    assert record["claims"]["heads"][1]["estimate"] is None


def test_columns_without_room_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mnemoscope.cli.show import _print

    monkeypatch.setenv("COLUMNS", "60")
    _print("wide", pl.DataFrame({f"column_{i}": [i, -i] for i in range(1, 12)}))
    out = capsys.readouterr().out
    assert "column_1 " in out
    assert "not shown for want of room" in out
    assert "column_11" in out


def test_tables_of_another_version_are_refused_with_both(cli: Any, folder: Any, tmp_path: Any) -> None:
    from mnemoscope.results.schema.table import SCHEMA_VERSION

    old = shutil.copytree(folder, tmp_path / "old")
    record = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({**record, "schema": 999}))
    for command in ("show", "report"):
        said = cli(command, old)
        assert (said.code, said.out) == (2, "")
        assert "tables version 999" in said.line
        assert f"allowed: version {SCHEMA_VERSION}" in said.line


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"study": ', b'{"name": "somebody else\'s"}'])
def test_a_foreign_folder_is_refused(cli: Any, tmp_path: Any, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    for command in ("show", "report"):
        said = cli(command, tmp_path)
        assert (said.code, said.out) == (2, "")
        assert "cannot be read" in said.line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]  # nothing was written beside it


COMMANDS = ("look", "demo", "check", "run", "report", "show", "doctor", "data list", "data show", "data fetch")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_a_line_to_copy(cli: Any, command: str) -> None:
    said = cli(*command.split(), "--help")
    assert said.code == 0
    assert f"\n mnemoscope {command}" in said.out.replace("Example: ", "\n "), said.out


def test_the_help_of_run_shows_both_kinds_of_lines(cli: Any) -> None:
    """The JSON lines in the help are read by the reader of such lines, as they stand there."""
    from mnemoscope.data.jsonl import EXAMPLE, EXAMPLE_TRIPLE

    out = " ".join(cli("run", "--help").out.split())
    for line in (EXAMPLE, EXAMPLE_TRIPLE):
        assert " ".join(line.split()) in out
        assert set(json.loads(line)) >= {"text"}
