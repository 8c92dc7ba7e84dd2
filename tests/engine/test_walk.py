"""Every decoder-only class: nothing crashes, and docs/models.md says what is measured here."""

from pathlib import Path

import pytest

from mnemoscope.model.tiny import all_classes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def rows():
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "class":
            found[cells[0]] = cells[1:-1]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("model_type", all_classes())
def test_the_page_says_what_is_measured(model_type):
    from mnemoscope.axes import CAPABILITIES
    from mnemoscope.engine.walk import MARKS, walk

    (one,) = walk([model_type])
    measured = [MARKS[one.verdict(name).verdict] for name in CAPABILITIES]
    assert rows()[model_type] == measured
    for name in CAPABILITIES:
        verdict = one.verdict(name)
        assert verdict.verdict == "yes" or verdict.reason, name  # a refusal says why
    if one.report is not None and one.verdict("patch-fast").verdict == "yes":
        broken = [line.identity for line in one.report.lines if not line.ok]
        assert not [name for name in broken if "descent" in name or "slow path" in name]


def test_the_page_covers_every_class_and_reaches_what_was_asked():
    found = rows()
    assert sorted(found) == list(all_classes())
    fast = [name for name, cells in found.items() if cells[1] == "yes"]
    assert len(fast) >= 80


def test_a_class_that_cannot_be_built_is_a_row_with_its_reason(monkeypatch):
    from mnemoscope.engine import walk

    def broken(model_type):
        raise RuntimeError(f"no {model_type} | here")

    monkeypatch.setattr(walk, "tiny", broken)
    page = walk.models_page(walk.walk(["gpt2"]))
    assert "| gpt2 | - | - | - | - | - | - |" in page
    assert "**gpt2** not built: RuntimeError: no gpt2 \\| here" in page
