"""Where a run's model comes from, and what in it can change a number.

A source is the factory of every model a study asks for: the run's own, other revisions of it, and the control copy of
the same architecture with freshly drawn weights. Its identity is the content (file hashes, hub commit, or a hash of the
weights of a model that was handed over in memory), never the name alone.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REINITIALISED = "reinitialised"
KEPT = 2  # models in memory beside the run's own


@dataclass(frozen=True, kw_only=True)
class Source:
    """name: for folders and titles; identity: what can change a number; load: revision -> LM.

    recipe: arguments of `load` with which another process gets the same model; None for a model in memory.
    forget: what to do with a revision that is done with (remove its download); None: nothing.
    """

    name: str
    identity: Mapping[str, Any]
    load: Callable[[str | None], Any]
    recipe: Mapping[str, Any] | None = None
    forget: Callable[[str], None] | None = None

    @property
    def asked(self) -> str:
        """The model as the user named it."""
        return str((self.recipe or {}).get("model", self.name))

    def models(self, *, keep: bool = True) -> "Models":
        """The factory that `measure` gets. `keep` False: what was downloaded for a revision goes when the revision does."""
        return Models(load=self.load, forget=None if keep else self.forget)


class Models:
    """models(revision=None) -> LM. Keeps the models used last, and forgets the others."""

    def __init__(self, *, load: Callable[[str | None], Any], forget: Callable[[str], None] | None) -> None:
        self._load, self._forget = load, forget
        self._held: OrderedDict[str | None, Any] = OrderedDict()

    def __call__(self, revision: str | None = None) -> Any:
        """The run's own model, another revision of it, MODEL@REVISION, or "reinitialised"."""
        if revision in self._held:
            self._held.move_to_end(revision)
            return self._held[revision]
        while len(self._held) >= KEPT:
            self._drop()
        self._held[revision] = self._load(revision)
        return self._held[revision]

    def begin(self) -> None:
        """A job begins: noise floors are measured on its own prompts, whichever jobs this process did before."""
        for lm in self._held.values():
            lm.forget("noise floor")

    def close(self) -> None:
        """Let go of every model."""
        while self._held:
            self._drop()

    def _drop(self) -> None:
        revision, _ = self._held.popitem(last=False)
        if self._forget is not None and revision not in (None, REINITIALISED):
            self._forget(revision)


def source_of(model: Any, **options: Any) -> Source:
    """The source of an LM, a hub id, a folder, "reference", or (model, tokenizer). `options` are those of `load`."""
    if isinstance(model, Source):
        return model
    from mnemoscope.model.lm import LM
    from mnemoscope.model.load import load

    given = {name: value for name, value in options.items() if value is not None}
    if (
        isinstance(model, str | Path)
        and "revision" not in given
        and (last := _last_checkpoint(Path(model).expanduser()))
    ):
        given["revision"] = last
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
    downloads = _Downloads(lm)
    return Source(
        name=_short(lm.name),
        identity=identity,
        load=_factory(lm, given, downloads),
        recipe=recipe,
        forget=downloads.forget,
    )


def _last_checkpoint(folder: Path) -> str:
    """The checkpoint with the largest number in a folder that holds nothing but checkpoints; "" for other folders."""
    if not folder.is_dir() or (folder / "config.json").exists():
        return ""
    names = [found.parent.name for found in folder.glob("*/config.json")]
    return max(names, key=lambda name: (int("".join(re.findall(r"\d+", name)[-1:]) or -1), name), default="")


def _factory(lm: Any, given: Mapping[str, Any], downloads: "_Downloads") -> Callable[[str | None], Any]:
    """What loads the other models of a run: in the dtype, on the device and under the BOS policy of the first.

    A revision is one of the run's own model, or MODEL@REVISION for a model trained beside it.
    """

    def load(revision: str | None) -> Any:
        from mnemoscope.model.load import load as load_model
        from mnemoscope.model.load import reinitialised

        if revision is None or revision == lm.revision:
            return lm
        if revision == REINITIALISED:
            return reinitialised(lm)
        model, name = _parts(lm, revision)
        place: dict[str, Any] = {} if "device_map" in given else {"device": str(lm.device)}
        like: dict[str, Any] = {"dtype": str(lm.dtype).removeprefix("torch."), "bos": lm.bos, **place, **given}
        like["revision"] = name
        downloads.before(model, name)
        with _without_bars():  # one per checkpoint would bury the run's own
            found = load_model(model, **like)
        downloads.after(revision, found)
        return found

    return load


@contextmanager
def _without_bars() -> Generator[None]:
    """The progress bars of transformers, off for a while."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _parts(lm: Any, revision: str) -> tuple[str, str]:
    """The model and the name of its revision."""
    model, at, name = revision.rpartition("@")
    return (model, name) if at else (lm.name, revision)


class _Downloads:
    """Which checkpoints this process fetched from a hub: only those may be removed, never what was there before."""

    def __init__(self, lm: Any) -> None:
        self.own = str(lm.source.get("commit", ""))
        self.new: set[tuple[str, str]] = set()
        self.at: dict[str, tuple[str, str]] = {}  # revision -> repository, commit

    def before(self, model: str, name: str) -> None:
        from mnemoscope.model.hub import is_cached, is_hub_id

        if is_hub_id(model) and not Path(model).expanduser().is_dir() and not is_cached(model, name):
            self.new.add((model, name))

    def after(self, revision: str, lm: Any) -> None:
        commit = str(lm.source.get("commit", ""))
        if (lm.name, str(lm.revision)) in self.new and commit and commit != self.own:
            self.at[revision] = (lm.name, commit)

    def forget(self, revision: str) -> None:
        from mnemoscope.model.hub import discard

        if revision in self.at:
            discard(*self.at.pop(revision))


def _short(name: str) -> str:
    """The last part of a path or hub id."""
    return str(name).rstrip("/").rpartition("/")[2] or "model"
