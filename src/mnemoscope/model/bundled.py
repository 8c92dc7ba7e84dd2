"""Where the bundled reference model lies: a folder per checkpoint, checked against the sums that were written when it was made.

The weights are package files in `mnemoscope/_bundled/reference`; `mnemoscope.reference`, which trained them, is not imported.
"""

import json
import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final

from mnemoscope.errors import LoadError, choose, listed

NAME: Final = "reference"
FILE: Final = re.compile(r"step\d+/[^/]+")


def home() -> Path:
    """The folder of the bundled model; LoadError if the installation has none."""
    folder = Path(str(files("mnemoscope") / "_bundled" / NAME))
    if not (folder / "checksums.json").is_file():
        raise LoadError(
            "the bundled reference model is not installed",
            found=f"no checksums.json in {folder}",
            hint="install the package again",
        )
    return folder


def revisions() -> tuple[str, ...]:
    """The checkpoints in the order of training, as "step0" ... ; the last one is the model itself."""
    return tuple(
        sorted({name.split("/")[0] for name in _sums(home())}, key=lambda name: int(name.removeprefix("step")))
    )


def path(revision: str | None = None) -> Path:
    """A folder that `from_pretrained` can load: of one checkpoint, or of the last one.

    "main" is the last one too. Every file is compared with its checksum, once per process and folder. Raises OptionError for an
    unknown revision, LoadError naming every file that is missing, altered, or not ours: transformers reads some files
    (generation_config.json, an index of weights) wherever it finds them.
    """
    known = revisions()
    chosen = known[-1] if revision in (None, "main") else choose("revision of the bundled model", str(revision), known)
    _verified(home(), chosen)
    return home() / chosen


def _sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file by its name, "step500/config.json"; LoadError if the list itself is damaged."""
    try:
        sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged("its list of checksums", f"checksums.json cannot be read: {error}") from error
    if not isinstance(sums, dict) or not sums or not all(FILE.fullmatch(name) for name in sums):
        raise _damaged("its list of checksums", "checksums.json does not name the files of checkpoints")
    return sums


def _damaged(part: str, found: str) -> LoadError:
    return LoadError(
        f"the bundled reference model ({part}) is damaged",
        found=found,
        allowed="the files as they were published",
        hint="install the package again",
    )


@cache
def _verified(folder: Path, revision: str) -> None:
    bad = []
    for name, expected in _sums(folder).items():
        if not name.startswith(f"{revision}/"):
            continue
        file = folder / name
        if not file.is_file():
            bad.append(f"{name} is missing")
        elif (found := sha256(file.read_bytes()).hexdigest()) != expected:
            bad.append(f"{name} has sha256 {found[:12]}..., not {expected[:12]}...")
    here = sorted(p.name for p in (folder / revision).glob("*") if not p.name.startswith("."))
    bad += [f"{revision}/{name} is not one of its files" for name in here if f"{revision}/{name}" not in _sums(folder)]
    if bad:
        raise _damaged(revision, listed(bad))
