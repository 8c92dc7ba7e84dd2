"""`demo` runs every study on the bundled model; what an installation lacks is said, and the rest runs."""

from pathlib import Path
from typing import Any

import pytest

from mnemoscope.axes import STUDIES
from mnemoscope.cli import demo


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be run: (study, model, run folder)."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(demo, "finish", lambda study, model, **more: calls.append((study, model, more["out"])))
    return calls


def test_the_demo_is_a_run_of_all_studies(cli: Any, ran: list[tuple[Any, ...]], tmp_path: Path) -> None:
    said = cli("demo", "--out", tmp_path / "demo")
    assert said.code == 0
    assert ran == [("all", "reference", tmp_path / "demo")]
    assert all(study in said.err for study in STUDIES)


def test_what_is_lacking_is_said_and_the_rest_runs(
    cli: Any, ran: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "absent", lambda: ("icl",))
    monkeypatch.setattr(demo, "_bundled", lambda: "")
    said = cli("demo", "--out", tmp_path / "demo", "--json")
    assert "lacks the studies icl" in said.err
    assert "lacks the reference model" in said.err
    assert [(study, folder) for study, _, folder in ran] == [
        (study, tmp_path / "demo" / study) for study in STUDIES if study != "icl"
    ]
