"""A model folder, judged before anything is loaded from it: its configuration, its weight files, its hashes.

transformers would fill missing weights with random numbers, ask on the terminal whether to run code, or fail deep inside
with a trace; a folder is therefore looked through first, and refused in one line.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mnemoscope.errors import LoadError, listed
from mnemoscope.model.families import NOT_DECODERS

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)


def read_config(folder: Path) -> Mapping[str, Any]:
    """The folder's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise LoadError(
            f"no model in {str(folder)!r}",
            found="no config.json: " + (listed(sorted(p.name for p in folder.iterdir()), most=4) or "an empty folder"),
            allowed="a folder in Hugging Face format",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise LoadError(f"{str(path)!r} cannot be read", found=f"{type(error).__name__}: {error}") from error
    if not isinstance(config, dict) or not config.get("model_type"):
        raise LoadError(f"{str(path)!r} describes no model", found="no model_type in it")
    return config


def refuse_foreign(name: str, config: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Raise for code that is not in transformers, and for models that are no causal decoders."""
    kind = str(config["model_type"])
    if kind not in CONFIG_MAPPING:
        if not config.get("auto_map"):
            raise LoadError(
                f"{name!r} is of a kind that the installed transformers does not know",
                found=f"model_type {kind!r}",
                hint="a newer transformers may know it",
            )
        if not trust_remote_code:
            raise LoadError(
                f"{name!r} needs code of its own, which is not run unasked",
                found=f"model_type {kind!r} with auto_map in config.json",
                allowed="classes of transformers",
                hint="read that code; if you trust it, --trust-remote-code (trust_remote_code=True)",
            )
        return
    what = NOT_DECODERS.get(kind, "" if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else "no causal language model")
    if config.get("is_encoder_decoder"):
        what = "an encoder-decoder model"
    if what and not config.get("is_decoder"):
        heads = ", ".join(map(str, config.get("architectures") or ["unnamed"]))
        raise LoadError(
            f"{name!r} is not a decoder-only causal language model",
            found=f"model_type {kind!r} ({heads}): {what}",
            allowed="decoder-only causal language models",
        )


def weight_files(folder: Path, *, allow_pickle: bool) -> list[Path]:
    """The files that hold the weights; every safetensors file is opened and measured."""
    safe = _listed_files(folder, "model.safetensors")
    pickled = _listed_files(folder, "pytorch_model.bin")
    if not safe and pickled and not allow_pickle:
        raise LoadError(
            f"the weights in {str(folder)!r} are pickled, and reading a pickle can run code",
            found=listed(path.name for path in pickled),
            allowed="safetensors",
            hint="convert them, or --allow-pickle (allow_pickle=True), which reads them with weights_only",
        )
    files = safe or pickled
    if not files:
        raise LoadError(
            f"no weights in {str(folder)!r}",
            found=listed(sorted(path.name for path in folder.iterdir()), most=4),
            allowed="model.safetensors, or shards with model.safetensors.index.json",
        )
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise LoadError(f"weights are missing in {str(folder)!r}", found=f"the index names {listed(missing)}")
    _refuse_truncated(safe)
    return files


def _listed_files(folder: Path, name: str) -> list[Path]:
    """The single weight file of this name, or the shards its index names."""
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"{str(index)!r} cannot be read", found=f"{type(error).__name__}: {error}") from error
    return [folder / shard for shard in sorted(names)]


def _refuse_truncated(files: list[Path]) -> None:
    for path in files:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise LoadError(
                f"the weights in {str(path)!r} cannot be read",
                found=f"{path.stat().st_size} bytes: {error}",
                allowed="a complete safetensors file",
                hint="download it again",
            ) from error


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder holds a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def hashes(folder: Path, files: list[Path]) -> dict[str, str]:
    """sha256 of the configuration, the tokenizer and the weight files, by file name."""
    named = [folder / name for name in ("config.json", *TOKENIZER_FILES)]
    return {path.name: _sha256(path) for path in (*named, *files) if path.is_file()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
