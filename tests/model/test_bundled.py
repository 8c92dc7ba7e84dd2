"""The bundled model is found and checked; a damaged file is named."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from mnemoscope.errors import LoadError, OptionError
from mnemoscope.model import bundled


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sums = {}
    for step in (0, 500, 64):
        (tmp_path / f"step{step}").mkdir()
        file = tmp_path / f"step{step}" / "model.safetensors"
        file.write_bytes(f"weights {step}".encode())
        sums[f"step{step}/model.safetensors"] = sha256(file.read_bytes()).hexdigest()
    (tmp_path / "checksums.json").write_text(json.dumps(sums))
    monkeypatch.setattr(bundled, "home", lambda: tmp_path)
    return tmp_path


def test_revisions_are_in_the_order_of_training_and_the_last_is_the_model(series: Path) -> None:
    assert bundled.revisions() == ("step0", "step64", "step500")
    assert bundled.path() == bundled.path("main") == series / "step500"
    assert bundled.path("step64") == series / "step64"


def test_an_altered_and_a_missing_file_are_named(series: Path) -> None:
    (series / "step64/model.safetensors").write_bytes(b"other")
    with pytest.raises(LoadError, match=r"step64/model\.safetensors has sha256"):
        bundled.path("step64")
    (series / "step0/model.safetensors").unlink()
    with pytest.raises(LoadError, match=r"step0/model\.safetensors is missing"):
        bundled.path("step0")


def test_a_file_that_is_not_ours_is_named_and_a_hidden_one_is_nothing(series: Path) -> None:
    (series / "step64/.note").write_text("mine")
    assert bundled.path("step64") == series / "step64"
    (series / "step500/generation_config.json").write_text("{}")
    with pytest.raises(LoadError, match=r"step500/generation_config\.json is not one of its files"):
        bundled.path("step500")


@pytest.mark.parametrize("sums", [b"{", b"[]", b"{}", b'{"notes/a": "1"}', b'{"step1": "1"}', b"\xff\xfe"])
def test_a_damaged_list_of_checksums_is_told(series: Path, sums: bytes) -> None:
    (series / "checksums.json").write_bytes(sums)
    for asked in (bundled.revisions, bundled.path):
        with pytest.raises(LoadError, match=r"checksums\.json .* install the package again"):
            asked()


def test_an_unknown_revision_names_the_nearest(series: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'step500'"):
        bundled.path("step50")


def test_what_is_installed_is_whole() -> None:
    if not (Path(bundled.__file__).parents[1] / "_bundled" / bundled.NAME / "checksums.json").exists():
        pytest.skip("the bundled model is absent")
    assert all(bundled.path(name).is_dir() for name in bundled.revisions())
