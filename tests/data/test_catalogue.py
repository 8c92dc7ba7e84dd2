"""The catalogue: every set has a source and a licence, downloads are checked, previews say what a study will read."""

import hashlib
import io
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from mnemoscope.data import catalogue, fetching, jsonl
from mnemoscope.data.fetching import Source, digest
from mnemoscope.errors import DataError, OptionError


def serving(content: bytes) -> fetching.Opener:
    def opener(url: str) -> AbstractContextManager[fetching.Reply]:
        return nullcontext(io.BytesIO(content))

    return opener


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def test_the_checksum_is_the_one_that_it_says() -> None:
    inner = hashlib.sha256(b"x").hexdigest()
    assert digest({"a": b"x"}) == hashlib.sha256(f"a\0{inner}\n".encode()).hexdigest()
    assert digest({"a": b"x", "b": b"y"}) == digest({"b": b"y", "a": b"x"})
    assert digest({"a": b"x"}) != digest({"b": b"x"})


def test_a_file_is_kept_under_its_name(tmp_path: Path) -> None:
    source = Source(url="https://example.org/v1/facts.json?raw=1", sha256=digest({"facts.json": b"[]"}))
    assert fetching.fetch(source, tmp_path, opener=serving(b"[]")) == (tmp_path / "facts.json",)
    assert (tmp_path / "facts.json").read_bytes() == b"[]"


def test_of_an_archive_only_the_folders_asked_for_are_kept(tmp_path: Path) -> None:
    content = archive(
        top__data__a_json=b"1", top__other__b_json=b"2", top__data__c_txt=b"3", **{"top/data/../../evil_json": b"4"}
    )
    source = Source(url="https://example.org/x.zip", folders=("data/",), suffix="_json")
    assert fetching.fetch(source, tmp_path, opener=serving(content)) == (tmp_path / "data" / "a_json",)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a_json"]


@pytest.mark.parametrize(
    ("source", "content", "match"),
    [
        (Source(url="https://example.org/a", sha256="0" * 64), b"x", "is not what we know"),
        (Source(url="https://example.org/a.zip", folders=("data/",)), b"x", "not a zip archive"),
        (Source(url="https://example.org/a.zip", folders=("data/",)), archive(top__x=b"1"), "found: 0 files"),
    ],
)
def test_what_is_not_expected_is_not_written(tmp_path: Path, source: Source, content: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        fetching.fetch(source, tmp_path, opener=serving(content))
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_source_is_a_data_error(tmp_path: Path) -> None:
    def broken(url: str) -> AbstractContextManager[fetching.Reply]:
        raise OSError("no route to host")

    with pytest.raises(DataError, match=r"cannot be fetched \| found: no route to host"):
        catalogue.fetch("lre", tmp_path, opener=broken)


def test_every_entry_has_either_a_source_or_a_way_to_load() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in catalogue.CATALOGUE:
        assert (entry.source is None) != (entry.load is None)
        row = entry.to_dict()
        assert all(row.values())
        assert set(entry.studies) <= {"heads", "emergence", "recall", "icl"}


def test_instructions_and_unknown_names() -> None:
    said = catalogue.instructions("lre")
    assert "licence: MIT; pinned" in said
    assert "--data FILE-OR-FOLDER" in said
    with pytest.raises(OptionError, match="did you mean 'agenda'"):
        catalogue.instructions("agend")
    with pytest.raises(DataError, match="not part of the package"):
        catalogue.load("agenda")


def test_a_preview_counts_shows_and_tells_what_is_left_out(tmp_path: Path) -> None:
    bad = jsonl.EXAMPLE.replace('" Paris"', '"Paris"')
    (tmp_path / "x.jsonl").write_text(jsonl.EXAMPLE + "\n" + bad, encoding="utf-8")
    lines = list(catalogue.preview(str(tmp_path / "x.jsonl")))
    assert lines[0].endswith("(JSON lines): 2 prompts, 2 documents, 1 relations, 1 facts, 1 left out")
    assert lines[1] == "capital: 1 facts, 1 templates; The capital of France is -> Paris"
    assert lines[2] == "left out 1: answer without its leading space"


def test_the_pinned_checksum_of_known_1000_is_that_of_the_real_file(shared: Path) -> None:
    source = catalogue.entry("known-1000").source
    assert source is not None
    assert source.sha256 == digest({"known_1000.json": (shared / "counterfact" / "known_1000.json").read_bytes()})


@pytest.mark.parametrize("name", [entry.name for entry in catalogue.CATALOGUE if entry.load])
def test_every_built_in_set_can_be_shown(name: str) -> None:
    first, *items = catalogue.preview(name, 3)
    assert first.startswith(f"{name} (built in): ")
    assert len(items) == 3
    assert "is built in" in catalogue.instructions(name)
