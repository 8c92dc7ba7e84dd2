"""Where a run's numbers come from: what was asked, of which files, with which versions.

The *identity* of a run is everything that can change a number in its tables: study, options with their defaults, the
content of model and data, dtype, device, thread count, memory budget, seed, and the versions that compute. Its hash
names the default folder, and a folder of another identity is refused. The *environment* is for the record only.
"""

import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from mnemoscope.errors import DataError
from mnemoscope.results.job import JSON, canonical
from mnemoscope.results.schema.table import SCHEMA_VERSION

COMPUTING = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "polars")
OTHERS = ("accelerate", "safetensors", "tokenizers", "altair", "vl-convert-python", "ray")
NOT_NUMBERS = ("report", "cli")  # rooms whose sources cannot change a table


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """asked: options as the user gave them; identity: everything that can change a number, defaults filled in."""

    study: str
    asked: Mapping[str, JSON]
    identity: Mapping[str, JSON]
    environment: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    @property
    def hash8(self) -> str:
        """First 8 hexadecimal digits of the identity's SHA-256."""
        return hashlib.sha256(canonical({"study": self.study, **self.identity}).encode()).hexdigest()[:8]

    def record(self) -> dict[str, JSON]:
        """What run.json says at the start of a run."""
        return {
            "study": self.study,
            "schema": SCHEMA_VERSION,
            "hash": self.hash8,
            "asked": dict(self.asked),
            "identity": dict(self.identity),
            "environment": dict(self.environment),
        }


def versions(names: Iterable[str] = COMPUTING) -> dict[str, JSON]:
    """Installed versions by package name; "not installed" where there is none."""
    return {name: _version(name) for name in names}


def own_version() -> str:
    """Version of this package and a hash of its sources, `0.1.0 (sources 1a2b3c4d)`: an edited copy differs."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] not in NOT_NUMBERS:
            digest.update(place.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{_version('mnemoscope')} (sources {digest.hexdigest()[:8]})"


def environment(device: str = "cpu") -> dict[str, JSON]:
    """Machine, system and remaining versions, and the time: for the record, not part of the identity."""
    return {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "device": device,
        "versions": versions(OTHERS),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def file_hashes(paths: Iterable[Path]) -> dict[str, JSON]:
    """SHA-256 of every file by its name (folders: every file below them); DataError where one cannot be read."""
    found: dict[str, JSON] = {}
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in inside:
            name = file.relative_to(path.parent).as_posix()
            found[name] = _file_hash(file)
    return found


def differences(there: Mapping[str, JSON], asked: Mapping[str, JSON]) -> tuple[str, ...]:
    """Where two identities differ, in words: `config.seed is 0 there, 1 is asked`."""
    a, b = _flat(there), _flat(asked)
    names = sorted({*a, *b})
    return tuple(
        f"{name} is {a.get(name, 'absent')} there, {b.get(name, 'absent')} is asked"
        for name in names
        if a.get(name) != b.get(name)
    )


def _flat(value: Mapping[str, JSON], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(cast("Mapping[str, JSON]", inner), f"{prefix}{name}.")
        else:
            flat[prefix + name] = canonical(inner)
    return flat


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}", found=error.strerror or str(error)) from error


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
