"""The schedule, what ships at which size, and which values make no model."""

import json
from pathlib import Path

import pytest
import torch

from mnemoscope.errors import InputError
from mnemoscope.model import bundled
from mnemoscope.reference import world
from mnemoscope.reference.decoder import Decoder
from mnemoscope.reference.train_config import PRESETS, TrainConfig, checked, llama_config, saved_steps, scale


def test_the_schedule_rises_stays_and_falls() -> None:
    config = TrainConfig(warmup=10, cooldown=0.5)
    assert scale(0, 100, config) == pytest.approx(0.1)
    assert scale(30, 100, config) == 1.0
    assert scale(75, 100, config) == pytest.approx(0.5)
    assert scale(99, 100, config) == pytest.approx(0.02)
    assert {0, 500, 3000} <= set(saved_steps(3000))


def test_presets_are_the_models_of_the_card() -> None:
    """The bundled files have the sizes of the preset, and a sibling has about half a million parameters."""
    config, steps = PRESETS["bundled"]
    checked(config, steps=steps)
    folder = Path(bundled.path())
    shipped = json.loads((folder / "config.json").read_text())
    planned = json.loads(llama_config(config, len(world.tokenizer())).to_json_string(use_diff=False))
    assert folder.name == f"step{steps}"
    assert shipped.items() <= {**planned, "architectures": ["LlamaForCausalLM"]}.items()
    assert {int(name.removeprefix("step")) for name in bundled.revisions()} <= set(saved_steps(steps))
    sibling = Decoder(llama_config(PRESETS["sibling"][0], len(world.tokenizer())), torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in sibling.parameters()) == pytest.approx(500_000, rel=0.02)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "seed >= 0"),
        ({"d_model": 0, "n_layers": -1}, "d_model >= 1; n_layers >= 1"),
        ({"n_kv_heads": 3}, "n_heads a multiple of n_kv_heads"),
        ({"n_kv_heads": 0}, "n_kv_heads >= 1"),
        ({"d_head": 15}, "d_head even"),
        ({"n_ctx": 512}, "n_ctx >= 640"),
        ({"warmup": 0}, "warmup >= 1"),
        ({"cooldown": 1.5}, "cooldown 0 to 1"),
        ({"rate": float("nan")}, "rate > 0"),
        ({"rows": 0.0}, "rows > 0"),
        ({"minutes": float("inf")}, "minutes > 0"),
        ({"decay": -0.1}, "decay >= 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(values: dict[str, int | float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        checked(TrainConfig(**values))  # type: ignore[arg-type]


def test_steps_and_workers_are_counts() -> None:
    with pytest.raises(InputError, match=r"found: workers 0; steps -1"):
        checked(TrainConfig(), steps=-1, workers=0)
