"""Where a run's model comes from, and what in it can change a number.

A source is the factory of every model a study asks for: the run's own, other revisions of it, and the control copy of
the same architecture with freshly drawn weights. Its identity is the content (file hashes, hub commit, or a hash of the
weights of a model that was handed over in memory), never the name alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

REINITIALISED = "reinitialised"


@dataclass(frozen=True, kw_only=True)
class Source:
    """name: for folders and titles; identity: what can change a number; load: revision -> LM.

    recipe: arguments of `load` with which another process gets the same model; None for a model in memory.
    """

    name: str
    identity: Mapping[str, Any]
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
    from mnemoscope.model.load import load

    given = {name: value for name, value in options.items() if value is not None}
    lm = model if isinstance(model, LM) else load(model, **given)
    named = isinstance(model, str | Path)
    identity = {
        "name": _short(lm.name),
        "class": type(lm.model).__name__,
        "revision": lm.revision,
        "dtype": str(lm.dtype).removeprefix("torch."),
        "device": lm.device.type,
        "bos": lm.bos,
        "content": dict(lm.source),
    }
    recipe = {"model": str(model), **given} if named else None
    return Source(name=_short(lm.name), identity=identity, load=_factory(lm, given), recipe=recipe)


def _factory(lm: Any, given: Mapping[str, Any]) -> Callable[[str | None], Any]:
    """What loads the other models of a run: in the dtype, on the device and under the BOS policy of the first."""

    def load(revision: str | None) -> Any:
        from mnemoscope.model.load import load as load_model
        from mnemoscope.model.load import reinitialised

        if revision is None or revision == lm.revision:
            return lm
        if revision == REINITIALISED:
            return reinitialised(lm)
        place: dict[str, Any] = {} if "device_map" in given else {"device": str(lm.device)}
        like: dict[str, Any] = {"dtype": str(lm.dtype).removeprefix("torch."), "bos": lm.bos, **place, **given}
        like["revision"] = revision
        return load_model(lm.name, **like)

    return load


def _short(name: str) -> str:
    """The last part of a path or hub id."""
    return str(name).rstrip("/").rpartition("/")[2] or "model"
