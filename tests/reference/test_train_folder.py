"""Whose folder it is, and what is told where its files are foreign or damaged."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnemoscope.errors import RunFolderError
from mnemoscope.reference import tokenizer, train_folder
from mnemoscope.reference.train_config import TrainConfig

CONFIG = TrainConfig()
CODER = tokenizer.build(["a few words"])


def test_another_configuration_in_the_folder_is_an_error(tmp_path: Path) -> None:
    train_folder.planned(tmp_path / "run", CONFIG, CODER, 10)
    with pytest.raises(RunFolderError, match=r"configuration than seed=1 \| found: seed=0 \| allowed: .* \| try: "):
        train_folder.planned(tmp_path / "run", replace(CONFIG, seed=1), CODER, 10)
    with pytest.raises(RunFolderError, match="tokenizer="):
        train_folder.planned(tmp_path / "run", CONFIG, tokenizer.build(["other words"]), 10)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"no run\.json"):
        train_folder.planned(tmp_path / "other", CONFIG, CODER, 10)


def test_steps_may_change_until_the_rate_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fall over half of 100 steps the first 50 are those of any longer schedule."""
    config = replace(CONFIG, cooldown=0.5)
    train_folder.planned(tmp_path, config, CODER, 100)
    monkeypatch.setattr(train_folder, "read_state", lambda folder: {"step": 50})
    assert train_folder.planned(tmp_path, config, CODER, 200)["steps"] == 200
    monkeypatch.setattr(train_folder, "read_state", lambda folder: {"step": 101})
    with pytest.raises(RunFolderError, match="falls from step 100 on"):
        train_folder.planned(tmp_path, config, CODER, 300)
    assert train_folder.planned(tmp_path, config, CODER)["steps"] == 200


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": 3, "steps": 1}', '{"config": {}, "steps": null}'])
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"cannot be read as a training folder \| found: run\.json"):
        train_folder.planned(tmp_path, CONFIG, CODER)


@pytest.mark.parametrize("content", [b"", b"xx", b"PK\x03\x04 broken"])
def test_a_damaged_state_is_told_before_anything_runs(tmp_path: Path, content: bytes) -> None:
    train_folder.planned(tmp_path, CONFIG, CODER)
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"state\.pt cannot be read .* try: remove state\.pt"):
        train_folder.planned(tmp_path, CONFIG, CODER)


def test_a_file_is_no_folder_and_a_run_killed_at_birth_begins_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match="cannot be a training folder"):
        train_folder.planned(tmp_path / "file", CONFIG, CODER)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json.new").write_text("{")
    assert train_folder.planned(tmp_path / "run", CONFIG, CODER, 7)["steps"] == 7
