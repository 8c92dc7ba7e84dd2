"""The heads study on a real model, stopped after every fifth job: the tables are those of a run in peace."""

from pathlib import Path
from typing import Any

import pytest

import mnemoscope.runner as runner


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


@pytest.mark.slow
def test_a_stopped_study_makes_the_same_tables(stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask: dict[str, Any] = {"limit": 2, "threads": 1, "quiet": True}
    peace = runner.run("heads", stories, out=tmp_path / "peace", **ask)
    real, count, stops = runner.one._kept, 0, 0

    def interrupted(*args: Any) -> None:
        nonlocal count
        count += 1
        real(*args)
        if count % 5 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner.one, "_kept", interrupted)
    while True:
        try:
            runner.run("heads", stories, out=tmp_path / "stopped", **ask)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 2
    assert contents(tmp_path / "stopped") == contents(peace.path)
    assert "claims" in peace.tables
    assert peace.report().read_text().count("<h1>stories260K</h1>") == 1
    assert peace._repr_html_().startswith("<iframe")
