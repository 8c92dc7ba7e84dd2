"""A model is loaded as it is, or refused in one line that says what to do."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mnemoscope.errors import LoadError, OptionError
from mnemoscope.model.load import load, reinitialised
from mnemoscope.model.tiny import tiny

IDS = torch.arange(3, 14)[None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny("llama").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def refused(model: Any, words: str, **options: Any) -> str:
    with pytest.raises(LoadError, match=words) as caught:
        load(model, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_is_the_model_itself(saved: Path) -> None:
    lm = load(str(saved), device="cpu")
    lm.model.set_attn_implementation("eager")
    with torch.no_grad():
        assert torch.equal(lm.model(input_ids=IDS).logits, tiny("llama")(input_ids=IDS).logits)
    assert not lm.model.training
    assert lm.tokenizer is None
    assert (lm.n_layers, lm.n_heads, lm.n_kv_heads, lm.d_head, lm.d_model) == (3, 4, 2, 24, 64)
    assert (lm.d_vocab, lm.n_ctx, lm.kv_head_of) == (211, 64, (0, 0, 1, 1))


def test_where_it_came_from(saved: Path, folder: Path) -> None:
    source = load(saved, device="cpu").source
    assert set(source) == {"config.json", "model.safetensors"}
    assert load(folder, device="cpu").source == source
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder, device="cpu").source["model.safetensors"] != source["model.safetensors"]
    in_memory = [load((tiny("llama", seed=seed), None)).source for seed in (0, 0, 1)]
    assert in_memory[0] == in_memory[1] != in_memory[2]


def test_dtype_and_device(saved: Path) -> None:
    assert load(saved, dtype="bf16", device="cpu").dtype == torch.bfloat16
    assert load(saved, dtype=torch.float64, device="cpu").dtype == torch.float64
    with pytest.raises(OptionError, match="did you mean 'float32'"):
        load(saved, dtype="float23")
    refused(saved, "device 'nowhere' cannot be used", device="nowhere")
    refused(saved, "both given", device="cpu", device_map="auto")
    with pytest.raises(OptionError, match="BOS policy"):
        load(saved, bos="maybe")


def test_in_memory_in_eval_mode() -> None:
    model = tiny("gpt2").train()
    assert not load((model, None)).model.training
    refused((torch.nn.Linear(2, 2), None), "no model of transformers")


def test_paths(tmp_path: Path) -> None:
    refused(str(tmp_path / "nowhere"), "no model folder")
    refused("./nowhere", "no model folder")
    refused(str(tmp_path), "no config.json: an empty folder")
    (tmp_path / "file").touch()
    refused(str(tmp_path / "file"), "is a file")


def test_a_hub_name_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = refused("no-such-owner/no-such-model", "the hub cannot be reached")
    assert "try: give a local folder" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [("GatedRepoError", "a gated repository"), ("RepositoryNotFoundError", "no such repository"),
     ("RevisionNotFoundError", "no such revision")],
)  # fmt: skip
def test_what_the_hub_answers(error: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    import huggingface_hub.errors

    from mnemoscope.model import hub

    def answer(*_: Any, **__: Any) -> None:
        response = httpx2.Response(403, request=httpx2.Request("GET", "https://example.org"))
        raise getattr(huggingface_hub.errors, error)("no", response=response)

    monkeypatch.setattr(hub, "snapshot_download", answer)
    assert "'owner/model' at revision 'v2'" in refused("owner/model", words, revision="v2")


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, "no weights in")


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "download it again" in refused(folder, "cannot be read")
    path.write_bytes(b"")
    refused(folder, "0 bytes")


def test_a_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "the index names model-00001-of-00002.safetensors")


def test_weights_that_are_not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"not finite .* 1 tensors with NaN or infinity: model\.layers\.1\.mlp\.up_proj\.weight")


def test_weights_that_would_be_drawn_at_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.2.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"lacks weights .* 1 missing: model\.layers\.2\.self_attn\.q_proj\.weight")


def test_pickled_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert "--allow-pickle" in refused(folder, "pickled")
    lm = load(folder, allow_pickle=True, device="cpu")
    assert torch.equal(lm.model.lm_head.weight, weights["lm_head.weight"])


class Harmful:
    """What a pickle can do when it is read."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harmed"),))


def test_a_pickle_that_runs_code_does_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Harmful()}, folder / "pytorch_model.bin")
    monkeypatch.chdir(folder)
    refused(folder, "cannot be loaded", allow_pickle=True)
    assert not (folder / "harmed").exists()


def rewritten(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_code_of_its_own(folder: Path) -> None:
    mapping = {"AutoModelForCausalLM": "modeling_own.Own"}
    assert "--trust-remote-code" in refused(rewritten(folder, model_type="own", auto_map=mapping), "code of its own")
    refused(rewritten(folder, model_type="own", auto_map=None), "does not know")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, r"'bert' \(BertForMaskedLM\): an encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "an encoder-decoder model"),
        ({"model_type": "bart"}, "encoder-decoder"),
        ({"model_type": "vit"}, "no causal language model"),
    ],
)
def test_no_decoders(folder: Path, changes: dict[str, Any], words: str) -> None:
    refused(rewritten(folder, **changes), words)


def test_a_model_that_looks_ahead_is_found_by_looking() -> None:
    refused((tiny("xlnet"), None), "a later token moves earlier logits")


def test_a_damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    refused(folder, "JSONDecodeError")
    (folder / "config.json").write_text("{}")
    refused(folder, "no model_type")


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, "the tokenizer of .* cannot be loaded")


def test_reinitialised_is_the_same_architecture_with_other_weights(saved: Path) -> None:
    lm = load(saved, dtype="bfloat16", device="cpu")
    state = torch.random.get_rng_state()
    one, same, other = (reinitialised(lm, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers are touched
    weights = [copy.model.lm_head.weight.detach() for copy in (one, same, other, lm)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert one.dtype == torch.bfloat16
    assert (one.n_layers, one.n_heads, one.d_vocab) == (lm.n_layers, lm.n_heads, lm.d_vocab)
    assert abs(float(weights[0].float().std()) - lm.model.config.initializer_range) < 2e-3
    assert one.source["reinitialised"] == "1"


def test_a_checkpoint_is_a_subfolder_and_never_ignored(saved: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(saved, tmp_path / "run" / "step7")
    assert load(str(tmp_path / "run"), revision="step7").revision == "step7"
    with pytest.raises(LoadError, match=r"has no checkpoint 'step8' \| found: step7"):
        load(str(tmp_path / "run"), revision="step8")
    with pytest.raises(LoadError, match="no subfolder"):
        load(str(saved), revision="step8")
