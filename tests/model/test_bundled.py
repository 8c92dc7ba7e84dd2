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


def test_an_unknown_revision_names_the_nearest(series: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'step500'"):
        bundled.path("step50")


def test_what_is_installed_is_whole() -> None:
    if not (Path(bundled.__file__).parents[1] / "_bundled" / bundled.NAME / "checksums.json").exists():
        pytest.skip("the bundled model is absent")
    assert all(bundled.path(name).is_dir() for name in bundled.revisions())
