"""From `--revisions` to checkpoints: which models, in which order, of which training run.

A checkpoint is what `models(revision)` is asked for. Names that must exist (bundled steps, subfolders) are looked up before
anything is run, so that a misspelt one is an error and not a failed job; a hub's branches are looked up where it can be reached.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

from mnemoscope.errors import LoadError, OptionError, choose, listed
from mnemoscope.model import bundled, hub
from mnemoscope.model.lm import LM
from mnemoscope.studies.emergence.schedules import SCHEDULES, expanded, published, schedule_of, step_of, thinned


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One model of a training run.

    series    the training run (a seed)
    name      the checkpoint's own name; step: its training step
    revision  what `models` is asked for
    files     changes when the files of a local checkpoint do; "" for others
    """

    series: str
    name: str
    step: int
    revision: str
    files: str = ""


def checkpoints(asked: str | None, lm: LM, most: int | None = None) -> tuple[Checkpoint, ...]:
    """The checkpoints of every training run, in order of their steps.

    asked: see `Config.revisions`; None takes all that are there, or the published schedule of a hub model. most: of one run, where
    `asked` does not name them. Raises OptionError for names that do not exist or have no step, LoadError where there are none.
    """
    found: dict[tuple[str, int], Checkpoint] = {}
    for model, names, named in _asked(asked, lm):
        series = _short(model or lm.name)
        steps = {name: step for name in names if (step := step_of(name)) is not None}
        if named and len(steps) < len(names):
            raise OptionError("checkpoints without a step in their name", found=listed(set(names) - set(steps)))
        ordered = sorted(steps, key=lambda name: (steps[name], name))
        if most is not None and not named:
            ordered = [ordered[i] for i in thinned(tuple(steps[name] for name in ordered), most)]
        for name in ordered:
            one = Checkpoint(
                series=series,
                name=name,
                step=steps[name],
                revision=f"{model}@{name}" if model else name,
                files=_fingerprint(Path(model or lm.name).expanduser() / name),
            )
            if found.setdefault((series, one.step), one).revision != one.revision:
                raise OptionError(f"two checkpoints of {series} with step {one.step}", found=f"{name!r} among others")
    if not found:
        raise _none(lm.name, asked or "all there are")
    return tuple(found[key] for key in sorted(found))


def _none(model: str, asked: str) -> LoadError:
    return LoadError(
        f"no checkpoints of {model}",
        found=f"{asked!r} was asked for; "
        + ("no subfolder holds a config.json" if Path(model).expanduser().is_dir() else "no branch has such a name"),
        allowed="a folder whose subfolders are checkpoints (step0, step100 ...), or a hub model with branches",
        hint="`mnemoscope run emergence reference` has some",
    )


def _asked(asked: str | None, lm: LM) -> Iterator[tuple[str, list[str], bool]]:
    """(model, "" for the run's own; names of its checkpoints; whether the user named each) of every part of `asked`."""
    if asked is None:
        for model in _runs(lm.name, own=True):
            yield model, _all(model or lm.name), False
        return
    for entry in _entries(asked):
        model, at, pattern = entry.rpartition("@")
        if not at and Path(pattern).expanduser().is_dir():
            for one in _runs(pattern, own=False):
                yield one, _all(one), False
            continue
        for one in expanded(model) if at else ("",):
            yield one, *_named(one or lm.name, pattern)


def _entries(asked: str) -> list[str]:
    """Split at commas and blanks outside braces."""
    return [part for part in re.findall(r"(?:[^,\s{}]|\{[^{}]*\}|[{}])+", asked) if part]


def _named(model: str, pattern: str) -> tuple[list[str], bool]:
    schedule, colon, number = pattern.partition(":")
    if schedule in SCHEDULES:
        names = list(published(schedule, model))
        if colon and not number.isdigit():
            raise OptionError(f"{pattern!r} is no schedule", allowed="pythia, olmo-2, pythia:20")
        there = set(hub.branches(model)) if hub.is_hub_id(model) and not Path(model).is_dir() else set()
        names = [name for name in names if name in there] if there else names
        if not colon:
            return names, False
        steps = tuple(step_of(name) or 0 for name in names)
        return [names[i] for i in thinned(steps, int(number))], True
    if pattern in ("", "*") or "*" in pattern or "?" in pattern:
        return [name for name in _all(model) if fnmatchcase(name, pattern or "*")], False
    names = list(expanded(pattern))
    known = _known(model)
    if not known and Path(model).expanduser().is_dir():
        raise _none(model, pattern)
    return [choose(f"checkpoint of {model}", name, known) if known else name for name in names], True


def _known(model: str) -> tuple[str, ...]:
    """Names of a model's checkpoints, where they can be known without a network; else none."""
    if model == bundled.NAME:
        return bundled.revisions()
    folder = Path(model).expanduser()
    return tuple(sorted(path.parent.name for path in folder.glob("*/config.json"))) if folder.is_dir() else ()


def _all(model: str) -> list[str]:
    """Every checkpoint there is; of a hub model those of its published schedule, or its branches with a step in their name."""
    known = _known(model)
    if known or model == bundled.NAME or Path(model).expanduser().is_dir() or not hub.is_hub_id(model):
        return list(known)
    there = hub.branches(model)
    schedule = schedule_of(model)
    if not schedule and not there:
        raise OptionError(
            f"the checkpoints of {model} are not known",
            found="no published schedule, and its branches cannot be listed",
            hint="name them: --revisions 'step{1000,2000,4000}'",
        )
    if schedule:
        names = published(schedule, model)
        return [name for name in names if name in set(there)] if there else list(names)
    return [name for name in there if "step" in name.lower() and step_of(name) is not None]


def _runs(folder: str, *, own: bool) -> list[str]:
    """The training runs of a folder: itself ("" for the run's own model), or its subfolders that hold checkpoints."""
    path = Path(folder).expanduser()
    if path.is_dir() and not _known(folder):
        below = sorted({str(found.parent.parent) for found in path.glob("*/*/config.json")})
        if below:
            return below
    return ["" if own else folder]


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _fingerprint(folder: Path) -> str:
    if not folder.is_dir():
        return ""
    files = sorted((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in folder.iterdir() if f.is_file())
    return sha256(repr(files).encode()).hexdigest()[:16]
