"""Tiny models in folders, with a tokenizer of whole words, and the command line run in this process."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TEXT = "Once upon a time , there was a little girl named Lily . She saw the big dog and the cat <b> Paris London"


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, what it printed, and its error line."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr."""
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """cli("look", folder, "Once upon"): run it."""
    from mnemoscope.cli.main import execute

    monkeypatch.setenv("COLUMNS", "140")

    def run(*args: Any) -> Said:
        capsys.readouterr()
        code = execute([str(arg) for arg in args])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


def word_tokenizer() -> Any:
    """Words and signs; the space belongs to the word behind it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *dict.fromkeys(f"▁{word}" for word in TEXT.split())]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """save("llama"): a tiny model of that class as a folder, tokenizer included."""
    from functools import cache

    @cache
    def saved(model_type: str) -> Path:
        from mnemoscope.model.tiny import tiny

        folder = tmp_path_factory.mktemp(model_type)
        tiny(model_type).save_pretrained(folder)
        word_tokenizer().save_pretrained(folder)
        return folder

    return saved


@pytest.fixture
def folder(save: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may damage."""
    return Path(shutil.copytree(save("llama"), tmp_path / "model"))
