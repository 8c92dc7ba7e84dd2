"""Bad input gets one line that says what was asked, found, allowed, and what to try; exit code 2; nothing half-written."""

import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROMPT = "Once upon a time , there was a little girl named Lily . She"
FULL = Path("/dev/full")


def parts(line: str) -> dict[str, str]:
    """An error line by its parts; "asked" is the first."""
    first, *rest = line.split(" | ")
    return {"asked": first, **dict(part.split(": ", 1) for part in rest)}


def refused(said: Any, words: str, *named: str) -> None:
    """One line, exit code 2, nothing on stdout, the words in it, and the parts that were named."""
    assert said.code == 2, said
    assert said.out == ""
    assert words in said.line, said.line
    assert set(named) <= set(parts(said.line)), said.line


def rewrite(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_folder_without_weights(cli: Any, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(cli("look", folder, PROMPT), "no weights in", "found", "allowed")


def test_a_truncated_file(cli: Any, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(cli("look", folder, PROMPT), "cannot be read", "found", "allowed", "try")


def test_weights_that_are_not_numbers(cli: Any, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(cli("check", folder), "not finite", "found", "allowed", "try")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "an encoder"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "an encoder-decoder model"),
        ({"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Own"}}, "code of its own"),
    ],
)
def test_models_that_are_refused(cli: Any, folder: Path, changes: dict[str, Any], words: str) -> None:
    rewrite(folder, **changes)
    refused(cli("look", folder, PROMPT), words, "found", "allowed")


def test_pickled_weights(cli: Any, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = cli("look", folder, PROMPT)
    refused(said, "pickled", "found", "allowed", "try")
    assert "--allow-pickle" in said.line


def test_prompts_that_cannot_be_read(cli: Any, save: Callable[[str], Path]) -> None:
    model = save("llama")
    refused(cli("look", model, ""), "a prompt is empty", "allowed", "try")
    refused(cli("look", model, "Once " * 65), "longer than the context", "found", "allowed", "try")
    said = cli("look", model, PROMPT, "--foil-prompt", PROMPT)
    refused(said, "the foil prompt is the prompt itself", "found", "try")
    refused(cli("look", model, PROMPT, "--token", " Lily", "--foil", " Lily"), "its own foil", "found", "allowed")


def test_token_ids(cli: Any, save: Callable[[str], Path]) -> None:
    model = save("llama")
    refused(cli("look", model, "3 5 211", "--ids"), "[211]", "found", "allowed")
    refused(cli("look", model, "3 5 7", "--ids", "--token", "-1"), "outside the vocabulary", "found", "allowed")
    refused(cli("look", model, "3 5 x", "--ids"), "whole numbers", "found", "allowed")


def test_a_role_that_is_no_whole_tokens(save: Callable[[str], Path]) -> None:
    import mnemoscope as ms

    lm = ms.load(str(save("llama")), device="cpu")
    with pytest.raises(ms.errors.AlignmentError) as caught:  # type: ignore[attr-defined]
        ms.trace(lm, [ms.Prompt(text="Once upon a time", spans={"topic": ((1, 4),)})], positions="topic")
    line = str(caught.value)
    assert "'topic'" in line
    assert "\n" not in line
    assert {"found", "allowed", "try"} <= set(parts(line))


def test_unknown_names(cli: Any, save: Callable[[str], Path]) -> None:
    refused(cli("lok", "m", "p"), "did you mean 'look'?", "allowed", "try")
    refused(cli("run", "hads", "m"), "did you mean 'heads'?", "allowed", "try")
    refused(cli("look", "m", "p", "--fol", "x"), "did you mean '--foil'?", "allowed", "try")
    refused(cli("data", "lst"), "did you mean 'list'?", "allowed", "try")
    refused(cli("data", "show", "leters"), "did you mean 'letters'?", "allowed", "try")
    refused(cli("look", "m"), "Missing argument 'PROMPT'", "try")
    refused(cli("look", "m", "p", "--top", "0"), "'--top'", "try")
    refused(cli("look", "m", "p", "--dtype", "float23"), "did you mean 'float32'?", "allowed", "try")
    import mnemoscope as ms

    lm = ms.load(str(save("llama")), device="cpu")
    with pytest.raises(ms.errors.OptionError, match="did you mean 'resid_post'"):  # type: ignore[attr-defined]
        ms.trace(lm, [PROMPT], sites=("resid_pos",))


def test_the_hub(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import httpx2
    import huggingface_hub.constants
    import huggingface_hub.errors

    from mnemoscope.model import hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    refused(cli("look", "no-such-owner/no-such-model", PROMPT), "the hub cannot be reached", "found", "allowed", "try")

    def gated(*_: Any, **__: Any) -> None:
        response = httpx2.Response(403, request=httpx2.Request("GET", "https://example.org"))
        raise huggingface_hub.errors.GatedRepoError("no", response=response)

    monkeypatch.setattr(hub, "snapshot_download", gated)
    refused(cli("look", "owner/model", PROMPT), "gated repository", "found", "try")


class Full(io.StringIO):
    """A stdout whose disk is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_paths_that_cannot_be_written(cli: Any, save: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    refused(cli("look", "m", PROMPT, "--html", file / "look.html"), "is a regular file", "found", "allowed", "try")
    refused(cli("look", "m", PROMPT, "--html", tmp_path), "is a folder", "found", "allowed", "try")
    refused(cli("look", "m", PROMPT, "--html", tmp_path / "no" / "x"), "no folder", "found", "allowed", "try")
    refused(cli("run", "heads", "m", "--out", file / "run"), "is no folder", "found", "allowed", "try")
    assert file.read_text() == "kept"
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("study", ["heads", "emergence", "recall", "icl", "all"])
def test_a_refused_run_leaves_no_folder(cli: Any, save: Callable[[str], Path], tmp_path: Path, study: str) -> None:
    data = tmp_path / "facts.jsonl"
    data.write_text('{"txt": "The capital of France is"}\n')
    said = cli("run", study, save("llama"), "--device", "cpu", "--data", data, "--out", tmp_path / "runs" / "mine")
    assert said.code == 2
    words = "no checkpoints of" if study == "emergence" else "facts.jsonl is not in our JSON-lines format"
    assert words in said.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_a_full_disk(cli: Any, save: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    said = cli("look", save("llama"), PROMPT, "--html", FULL, "--device", "cpu")
    refused(said, "No space left on device", "found", "allowed", "try")
    assert FULL.is_char_device()  # a device is written to, never replaced
    refused(cli("run", "heads", "m", "--out", FULL), "is no folder", "found", "allowed", "try")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Full())
        said = cli("data", "list", "--json")
    assert said.code == 2
    assert "No space left on device" in said.line


def test_external_data_without_a_network(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    def nowhere(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    said = cli("data", "fetch", "lre", "--to", tmp_path / "lre")
    refused(said, "cannot be fetched", "found", "try")
    assert not (tmp_path / "lre").exists()
    refused(cli("data", "fetch", "letters", "--to", tmp_path), "built in")


def test_a_config_file(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "look.toml"
    path.write_text('fol = " London"\ntop = 3\n')
    refused(cli("look", "m", "p", "--config", path), "unknown names", "found", "allowed")
    path.write_text("top = \n")
    refused(cli("look", "m", "p", "--config", path), "cannot be read", "found", "allowed")
    refused(cli("look", "m", "p", "--config", tmp_path / "none.toml"), "cannot be read", "found", "allowed")


def test_interrupted(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnemoscope.cli import options

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(options, "load_lm", stop)
    said = cli("look", "m", PROMPT)
    assert (said.code, said.line) == (130, "interrupted")


def test_failed_jobs(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mnemoscope.runner
    from mnemoscope.errors import JobsFailedError

    def fail(*_: Any, **__: Any) -> None:
        raise JobsFailedError("1 of 2 jobs failed", found="job a: no memory", hint="see jobs.jsonl")

    monkeypatch.setattr(mnemoscope.runner, "run", fail)
    said = cli("run", "heads", "m")
    assert said.code == 3
    loading, line = said.err.splitlines()  # what is done, and what became of it
    assert loading.startswith("loading")
    assert "1 of 2 jobs failed" in line


def test_a_model_without_a_tokenizer(cli: Any, folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()
    refused(cli("look", folder, PROMPT, "--device", "cpu"), "without a tokenizer", "found", "allowed", "try")
    assert cli("look", folder, "3 5 7 3 5", "--ids", "--device", "cpu").code == 0
    shutil.rmtree(folder)
