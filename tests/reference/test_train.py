"""The trainer's decoder equals transformers' Llama, a stopped run goes on as if it had not stopped, a foreign folder is refused."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from mnemoscope.errors import RunFolderError
from mnemoscope.reference import bundle, tokenizer, train, world
from mnemoscope.reference.decoder import Decoder, summed_loss

TINY = train.TrainConfig(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=16, d_mlp=48, rows=0.05, warmup=2)


def test_the_decoder_is_a_llama() -> None:
    config = train.llama_config(TINY, 101)
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


def test_another_configuration_in_the_folder_is_an_error(tmp_path: Path) -> None:
    coder = tokenizer.build(["a few words"])
    train.planned(tmp_path / "run", TINY, coder, 10)
    with pytest.raises(RunFolderError, match="seed=0"):
        train.planned(tmp_path / "run", train.TrainConfig(**{**vars(TINY), "seed": 1}), coder, 10)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"no run\.json"):
        train.planned(tmp_path / "other", TINY, coder, 10)


def test_the_schedule_rises_stays_and_falls() -> None:
    config = train.TrainConfig(warmup=10, cooldown=0.5)
    assert train.scale(0, 100, config) == pytest.approx(0.1)
    assert train.scale(30, 100, config) == 1.0
    assert train.scale(75, 100, config) == pytest.approx(0.5)
    assert train.scale(99, 100, config) == pytest.approx(0.02)
    assert {0, 500, 3000} <= set(train.saved_steps(3000))


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
    with pytest.raises(RunFolderError, match="step7"):
        bundle.publish(tmp_path / "run", tmp_path / "out", (7,))
