"""Whom we ask: a hub id, a local folder, the bundled reference model, or a model that is already in memory, as an LM.

Everything that would give a wrong model quietly is an error here: weights that are missing (transformers would draw them
at random), truncated or not finite, a head of another task, an encoder, pickled weights, foreign code.
"""

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mnemoscope.errors import LoadError, choose, listed
from mnemoscope.model import bundled
from mnemoscope.model.capability import causal_reason
from mnemoscope.model.folder import has_tokenizer, hashes, read_config, refuse_foreign, weight_files
from mnemoscope.model.hub import fetched, is_hub_id
from mnemoscope.model.lm import LM, view
from mnemoscope.model.structure import discover

Loadable = str | Path | tuple[nn.Module, PreTrainedTokenizerBase | None]

DTYPES: Final = {
    "auto": "auto",
    "float64": torch.float64,
    "fp64": torch.float64,
    "float32": torch.float32,
    "fp32": torch.float32,
    "float16": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}

# Everything that a damaged or foreign folder makes the loaders of transformers raise.
_FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    KeyError,
    ImportError,
    AttributeError,
    UnpicklingError,
)


def load(
    model: Loadable,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    bos: str = "auto",
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> LM:
    """The view on a causal language model, in eval mode.

    model: hub id, local folder, "reference" (the bundled model), or (model, tokenizer or None). revision: of a hub model,
    a checkpoint of the bundled one, or a subfolder of a local folder. dtype: as stored unless given (the bundled model is
    stored in bfloat16 and computes in float32). device: an accelerator if there is one, unless given; device_map
    spreads the layers (accelerate). bos: "auto" as the tokenizer does, "yes", "no". Raises LoadError in one line.
    """
    choose("BOS policy", bos, ("auto", "yes", "no"))
    if isinstance(model, tuple):
        return _in_memory(*model, bos=bos)
    wanted = _dtype("float32" if dtype is None and model == bundled.NAME else dtype)
    folder, name, commit = _located(str(model), revision, allow_pickle, trust_remote_code)
    config = read_config(folder)
    refuse_foreign(name, config, trust_remote_code=trust_remote_code)
    files = weight_files(folder, allow_pickle=allow_pickle)
    loaded = _loaded(folder, name, files, wanted, _place(device, device_map), trust_remote_code)
    tokenizer = _tokenizer(folder, name, trust_remote_code)
    facts = (lambda: {"hub": name, "commit": commit}) if commit else (lambda: hashes(folder, files))
    return _viewed(loaded, tokenizer, name=name, revision=revision, bos=bos, facts=facts)


def reinitialised(lm: LM, seed: int = 0) -> LM:
    """The same architecture with fresh weights, drawn by transformers' own initialisation: every study's control row."""
    config = deepcopy(lm.model.config)
    if getattr(config, "quantization_config", None) is not None:
        delattr(config, "quantization_config")
    dtype = lm.dtype if lm.dtype.is_floating_point else torch.float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: Any = type(lm.model)._from_config(config, dtype=dtype, attn_implementation=config._attn_implementation)
    fresh = fresh.eval().to(lm.device)
    return replace(
        lm,
        model=fresh,
        name=f"{lm.name} (reinitialised, seed {seed})",
        structure=discover(fresh),
        facts=lambda: {"reinitialised": str(seed), **lm.source},
    )


def _located(name: str, revision: str | None, allow_pickle: bool, trust: bool) -> tuple[Path, str, str]:
    """The folder that holds a model, its name for people, and its commit ("" for local folders)."""
    if name == bundled.NAME:
        return bundled.path(revision), name, ""
    path = Path(name).expanduser()
    if path.is_dir():
        return _checkpoint(path, revision), name, ""
    if path.exists():
        raise LoadError(f"{name!r} is a file", allowed="hub id, local folder, 'reference'", hint="give its folder")
    if not is_hub_id(name):
        raise LoadError(f"no model folder {name!r}", found="nothing there", allowed="hub id, local folder, 'reference'")
    folder = fetched(name, revision, allow_pickle=allow_pickle, trust_remote_code=trust)
    return folder, name, folder.name


def _checkpoint(folder: Path, revision: str | None) -> Path:
    """The folder itself, or its subfolder of that name: how checkpoints lie beside each other."""
    if revision is None:
        return folder
    known = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if revision not in known:
        raise LoadError(
            f"{folder} has no checkpoint {revision!r}",
            found=listed(known) or "no subfolder with a config.json",
            allowed="the name of a subfolder that holds a model; revisions of other kinds are the hub's",
        )
    return folder / revision


def _dtype(dtype: str | torch.dtype | None) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    return DTYPES[choose("dtype", dtype or "auto", tuple(DTYPES))]


def _place(device: str | torch.device | None, device_map: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if device_map is not None:
        if device is not None:
            raise LoadError("device and device_map were both given", allowed="one of them")
        return {"device_map": device_map}
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return {"device_map": {"": torch.empty(0, device=device).device}}
    except (RuntimeError, AssertionError) as error:
        raise LoadError(f"device {str(device)!r} cannot be used", found=str(error).splitlines()[0]) from error


def _loaded(
    folder: Path, name: str, files: list[Path], dtype: Any, place: Mapping[str, Any], trust: bool
) -> PreTrainedModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=files[0].suffix == ".safetensors",
            weights_only=True,
            trust_remote_code=trust,
            output_loading_info=True,
            **place,
        )
    except _FAILURES as error:
        first = next(iter(str(error).splitlines()), "")
        raise LoadError(f"{name!r} cannot be loaded", found=f"{type(error).__name__}: {first}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise LoadError(
            f"{name!r} lacks weights that a causal language model needs",
            found=f"{len(missing)} missing: {listed(missing, most=4)}",
            allowed="all of them (they would be drawn at random)",
            hint="load a checkpoint saved for causal language modelling",
        )
    return model


def _tokenizer(folder: Path, name: str, trust: bool) -> PreTrainedTokenizerBase | None:
    if not has_tokenizer(folder):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    except _FAILURES as error:
        first = next(iter(str(error).splitlines()), "")
        raise LoadError(
            f"the tokenizer of {name!r} cannot be loaded", found=f"{type(error).__name__}: {first}"
        ) from error


def _in_memory(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None, *, bos: str) -> LM:
    if not isinstance(model, PreTrainedModel):
        raise LoadError(
            "this is no model of transformers", found=type(model).__name__, allowed="(PreTrainedModel, tokenizer)"
        )
    name = str(model.name_or_path or type(model).__name__)
    return _viewed(model, tokenizer, name=name, revision=None, bos=bos, facts=lambda: _weights_hash(model))


def _weights_hash(model: nn.Module) -> dict[str, str]:
    """sha256 over names and bytes of all parameters, for models that came from memory."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return {"memory": type(model).__name__, "weights": digest.hexdigest()}


def _viewed(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    name: str,
    revision: str | None,
    bos: str,
    facts: Callable[[], Mapping[str, str]],
) -> LM:
    model.eval()
    bad = [key for key, value in model.named_parameters() if not value.is_meta and not _finite(value)]
    if bad:
        raise LoadError(
            f"{name!r} has weights that are not finite",
            found=f"{len(bad)} tensors with NaN or infinity: {listed(bad, most=4)}",
            allowed="finite numbers",
            hint="a damaged or diverged checkpoint",
        )
    lm = replace(view(model, tokenizer, name=name, revision=revision, bos=bos), facts=facts)
    if reason := causal_reason(lm):
        raise LoadError(
            f"{name!r} is not a causal decoder", found=reason, allowed="decoder-only causal language models"
        )
    return lm


def _finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
