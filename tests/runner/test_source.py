"""A source is known by content: the same files give the same identity, other weights another one."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def from_folder(stories: Path) -> Any:
    from mnemoscope.runner.source import source_of

    return source_of(stories)


def test_a_folder_is_known_by_its_files(from_folder: Any, stories: Path) -> None:
    import hashlib

    weights = next(iter(stories.glob("*.safetensors")))
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in from_folder.identity["content"].values()
    assert from_folder.name == "stories260K"
    assert from_folder.recipe == {"model": str(stories)}
    assert from_folder.asked == str(stories)


def test_a_model_in_memory_is_known_by_its_weights(from_folder: Any) -> None:
    import torch

    from mnemoscope.runner.source import source_of

    lm = from_folder.load(None)
    first = source_of((lm.model, lm.tokenizer))
    assert first.recipe is None
    assert first.identity["content"] == source_of((lm.model, lm.tokenizer)).identity["content"]
    with torch.no_grad():
        weight = next(lm.model.parameters())
        kept = weight.flatten()[0].clone()
        weight.view(-1)[0] += 1
        assert source_of((lm.model, lm.tokenizer)).identity["content"] != first.identity["content"]
        weight.view(-1)[0] = kept


def test_the_control_copy_has_the_architecture_and_other_weights(from_folder: Any) -> None:
    import torch

    models = from_folder.models()
    lm, control = models(), models("reinitialised")
    assert models() is lm
    assert models("reinitialised") is control
    pairs = list(zip(lm.model.parameters(), control.model.parameters(), strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in pairs)
    again = from_folder.load("reinitialised")
    assert all(torch.equal(a, b) for a, b in zip(control.model.parameters(), again.model.parameters(), strict=True))
