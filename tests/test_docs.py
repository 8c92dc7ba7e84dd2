"""The method says where each formula is computed: every name in it exists, and no measure is left unmentioned."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "mnemoscope"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
ROOMS = ("data", "model", "engine", "measures", "stats", "results", "studies", "reference", "report", "cli")


def names(text: str) -> set[str]:
    """Dotted names of our own modules, functions or classes in backticks."""
    rooms = "|".join(ROOMS)
    return set(re.findall(rf"`(?:mnemoscope\.)?((?:{rooms})(?:\.\w+)+)[`(]", text))


def exists(name: str) -> bool:
    """A module, or a name that its module defines: read, not imported."""
    path = SOURCES.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    home = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    defined = rf"(?m)^(?:(?:def|class) {path.name}\b|{path.name}\b|.*\"{path.name}\": )"
    return home.is_file() and re.search(defined, home.read_text()) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_documentation_names_exists(page: Path) -> None:
    assert [name for name in sorted(names(page.read_text())) if not exists(name)] == []


def test_every_measure_is_in_the_method() -> None:
    method = (ROOT / "docs" / "method.md").read_text()
    measures = [path.stem for path in (SOURCES / "measures").glob("*.py") if path.stem != "__init__"]
    assert [name for name in measures if f"measures.{name}" not in method] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
