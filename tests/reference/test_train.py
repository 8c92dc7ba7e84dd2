"""The trainer's decoder equals transformers' Llama, and a stopped or killed run goes on as if it had not stopped."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from mnemoscope.errors import RunFolderError
from mnemoscope.reference import bundle, train, train_folder, world
from mnemoscope.reference.decoder import Decoder, summed_loss
from mnemoscope.reference.train_config import PRESETS, TrainConfig, llama_config

SIZES = {
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_head": 16,
    "d_mlp": 48,
    "rows": 0.05,
    "warmup": 2,
}
TINY = TrainConfig(**SIZES)


def test_the_decoder_is_a_llama() -> None:
    config = llama_config(TINY, 101)
    ours = Decoder(config, torch.Generator().manual_seed(0))
    theirs = LlamaForCausalLM(config).float().eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(0, 101, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=2e-5, rtol=1e-4)


def test_the_loss_is_the_weighted_sum_of_cross_entropies() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator)
    ids = torch.randint(0, 7, (2, 5), generator=generator)
    weight = torch.rand(2, 5, generator=generator)
    by_hand = sum(
        float(-logits[b, i].log_softmax(-1)[ids[b, i + 1]] * weight[b, i + 1]) for b in range(2) for i in range(4)
    )
    assert float(summed_loss(logits, ids, weight)) == pytest.approx(by_hand, rel=1e-5)


def _run(folder: Path, steps: int) -> None:
    train.train(folder, TINY, workers=1, steps=steps, compiled=False)


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "SAVE_SECONDS", 0.0)
    _run(tmp_path / "whole", 8)
    calls = []

    def stop(*args: object, **kwargs: object) -> float:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return genuine(*args, **kwargs)  # type: ignore[arg-type]

    genuine = train._one_step
    monkeypatch.setattr(train, "_one_step", stop)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "cut", 8)
    monkeypatch.setattr(train, "_one_step", genuine)
    _run(tmp_path / "cut", 8)
    assert (tmp_path / "whole/step8/model.safetensors").read_bytes() == (
        tmp_path / "cut/step8/model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL at any moment; the state is saved at every step here."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom mnemoscope.reference import train\ntrain.SAVE_SECONDS = 0.0\n"
        f"train.train(Path(sys.argv[1]), train.TrainConfig(**{SIZES!r}), steps=40, compiled=False)\n"
    )
    command = [sys.executable, str(script)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    first = subprocess.Popen([*command, str(tmp_path / "cut")])
    while not train_folder.read_state(tmp_path / "cut") and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert 0 < train_folder.read_state(tmp_path / "cut")["step"] < 40
    subprocess.run([*command, str(tmp_path / "cut")], check=True)
    for file in (tmp_path / "whole").glob("step*/model.safetensors"):
        assert file.read_bytes() == (tmp_path / "cut" / file.parent.name / file.name).read_bytes()


@pytest.mark.slow
def test_without_steps_a_timing_fixes_the_schedule_and_stores_it(tmp_path: Path) -> None:
    config = TrainConfig(**SIZES, minutes=1e-3)  # nothing is as short as that: the timed steps are all
    train.train(tmp_path / "run", config, compiled=False)
    assert train_folder.read_record(tmp_path / "run")["steps"] == train.TIMED
    assert train_folder.read_state(tmp_path / "run")["step"] == train.TIMED
    assert bundle.checkpoints(tmp_path / "run") == (0, 8, 16, 32, 64, train.TIMED)


def test_every_preset_and_option_reaches_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(train, "train", lambda folder, config, **options: said.append((config, options)))
    for line in ("", "--preset sibling --seed 3", "--d-model 64 --rate 0.5 --steps 0 --workers 2 --eager"):
        monkeypatch.setattr(sys, "argv", ["train", str(tmp_path), *line.split()])
        train.main()
    bundled, sibling = (PRESETS[name] for name in ("bundled", "sibling"))
    assert said == [
        (bundled[0], {"workers": 1, "steps": bundled[1], "compiled": True}),
        (replace(sibling[0], seed=3), {"workers": 1, "steps": sibling[1], "compiled": True}),
        (replace(bundled[0], d_model=64, rate=0.5), {"workers": 2, "steps": 0, "compiled": False}),
    ]


@pytest.mark.slow
def test_what_is_wrong_is_told_on_one_line(tmp_path: Path) -> None:
    """As a user meets it: another configuration in the folder, exit code 2, no traceback."""
    train_folder.planned(tmp_path / "run", TINY, world.tokenizer(), 10)
    command = [sys.executable, "-m", "mnemoscope.reference.train", str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True)
    (line,) = ended.stderr.strip().splitlines()
    assert ended.returncode == 2
    assert line.startswith("RunFolderError: ")
    assert "found: d_model=32, n_layers=2" in line


@pytest.mark.slow
def test_a_published_checkpoint_loads_with_plain_transformers(tmp_path: Path) -> None:
    _run(tmp_path / "run", 1)
    bundle.publish(tmp_path / "run", tmp_path / "out", (0, 1))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out/step1", dtype=torch.float32)
    coder = AutoTokenizer.from_pretrained(tmp_path / "out/step1")
    assert (
        model(**coder("The capital of France is", return_tensors="pt", return_token_type_ids=False))
        .logits.isfinite()
        .all()
    )
    assert len(coder) == model.config.vocab_size == len(world.tokenizer())
    with pytest.raises(RunFolderError, match="into itself"):
        bundle.publish(tmp_path / "run", tmp_path / "run", (0, 1))
    assert bundle.checkpoints(tmp_path / "run") == (0, 1)
    with pytest.raises(RunFolderError, match="step7"):
        bundle.publish(tmp_path / "run", tmp_path / "out", (7,))
