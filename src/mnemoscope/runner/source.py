"""Where a run's model comes from, and what in it can change a number.

A local folder is identified by the content of its files, a hub model by its commit, a model that was handed over in
memory by its weights. A source is also the factory of the other models that a study asks for: other revisions, and
the control copy of the same architecture with freshly drawn weights.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mnemoscope.results.job import JSON
from mnemoscope.results.provenance import file_hashes

REINITIALISED = "reinitialised"
_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True, kw_only=True)
class Source:
    """name: for folders and titles; identity: what can change a number; load: revision -> LM; recipe: how a process on
    another machine loads the same model (None where it cannot)."""

    name: str
    identity: Mapping[str, JSON]
    load: Callable[[str | None], Any]
    recipe: Mapping[str, Any] | None = None

    @property
    def asked(self) -> str:
        """The model as the user named it."""
        return str((self.recipe or {}).get("model", self.name))

    def models(self) -> Callable[..., Any]:
        """The factory that `measure` gets. It keeps the two models used last."""

        @lru_cache(maxsize=2)
        def kept(revision: str | None) -> Any:
            return self.load(revision)

        def models(revision: str | None = None) -> Any:
            return kept(revision)

        return models


def source_of(model: Any, **options: Any) -> Source:
    """The source of an LM, a hub id, a folder, "reference", or (model, tokenizer). `options` are those of `load`."""
    if isinstance(model, Source):
        return model
    from mnemoscope.model.lm import LM

    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(model, LM):
        first, recipe = model, None
    else:
        from mnemoscope.model.load import load

        first = load(model, **given)
        recipe = {"model": str(model), **given} if isinstance(model, str | Path) else None
    return Source(
        name=_short(first.name), identity=_identity(first, recipe), load=_factory(first, given), recipe=recipe
    )


def _factory(first: Any, given: Mapping[str, Any]) -> Callable[[str | None], Any]:
    def load(revision: str | None) -> Any:
        if revision is None or revision == first.revision:
            return first
        if revision == REINITIALISED:
            return reinitialised(first)
        from mnemoscope.model.load import load as load_model

        options = {"dtype": str(first.dtype).removeprefix("torch."), "device": str(first.device), **given}
        return load_model(first.name, **{**options, "revision": revision})

    return load


def reinitialised(lm: Any, seed: int = 0) -> Any:
    """The same architecture with weights drawn anew, as its own code draws them: the control row of every study."""
    import torch

    from mnemoscope.model.lm import view

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(lm.model)(lm.model.config).to(device=lm.device, dtype=lm.dtype).eval()
    return view(model, lm.tokenizer, name=f"{lm.name} ({REINITIALISED})", revision=REINITIALISED, bos=lm.bos)


def _identity(lm: Any, recipe: Mapping[str, Any] | None) -> dict[str, JSON]:
    folder = Path(lm.name)
    commit = getattr(lm.model.config, "_commit_hash", None)
    content: dict[str, JSON]
    if recipe is not None and folder.is_dir():
        content = {"files": file_hashes(sorted({p for pattern in _FILES for p in folder.glob(pattern)}))}
    elif recipe is not None and commit:
        content = {"commit": str(commit)}
    else:
        content = {"weights": _fingerprint(lm)}
    return {
        "name": _short(lm.name),
        "class": type(lm.model).__name__,
        "revision": lm.revision,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": lm.device.type,
        "bos": lm.bos,
        **content,
    }


def _fingerprint(lm: Any) -> str:
    """SHA-256 over the names and bytes of all weights and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(lm.model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _short(name: str) -> str:
    """The last part of a path or hub id."""
    return str(name).rstrip("/").rpartition("/")[2] or "model"
