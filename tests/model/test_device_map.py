"""A model spread by accelerate: its hooks move tensors around every block, and every number stays what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch

import mnemoscope as ms
from mnemoscope.model.load import load
from mnemoscope.model.tiny import tiny

IDS = torch.tensor([[5, 17, 42, 9, 23, 5], [7, 3, 42, 11, 2, 7]])


def swept(lm: Any) -> Any:
    return ms.sweep(lm, IDS, IDS.flip(0), site="z", tokens=[7, 8], metric="logit_minus_mean")


@pytest.fixture(scope="module")
def plain() -> Any:
    return load((tiny("llama"), None))


@pytest.fixture(scope="module")
def spread() -> Any:
    """The same model, each block and the ends dispatched as a part of its own, with the hooks of a model on several cards."""
    from accelerate import dispatch_model

    model = tiny("llama")
    blocks = {f"model.layers.{i}": "cpu" for i in range(len(model.model.layers))}
    ends = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    return load((dispatch_model(model, device_map={**ends, **blocks}, force_hooks=True), None))


def test_every_block_of_it_has_a_hook(spread: Any) -> None:
    assert all(type(block._hf_hook).__name__ == "AlignDevicesHook" for block in spread.blocks)


def test_check_passes_whole(spread: Any) -> None:
    report = ms.check(spread)
    assert report.ok, report.table()
    assert {name: verdict.verdict for name, verdict in report.capabilities.items()} == dict.fromkeys(
        ("record", "patch-fast", "patch-slow", "decompose", "weights", "padding"), "yes"
    )


def test_a_sweep_is_that_of_the_model_in_one_place(spread: Any, plain: Any) -> None:
    found = swept(spread)
    assert found.verification.path == "fast", found.verification.reason
    torch.testing.assert_close(torch.tensor(found.effects), torch.tensor(swept(plain).effects), rtol=0, atol=1e-5)


def test_device_map_auto(plain: Any, tmp_path: Path) -> None:
    """What `--device-map auto` hands over: wherever it puts a model that fits, the numbers are those of the model."""
    plain.model.save_pretrained(tmp_path)
    lm = ms.load(str(tmp_path), device_map="auto")
    found = swept(lm)
    assert found.verification.path == "fast", found.verification.reason
    torch.testing.assert_close(torch.tensor(found.effects), torch.tensor(swept(plain).effects), rtol=0, atol=1e-4)
