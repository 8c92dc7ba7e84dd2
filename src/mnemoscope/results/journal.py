"""jobs.jsonl: one line per job that ended, with its times and, if it failed, why.

The journal is a record, never the truth about what is done (the parts on disk are). So a line that cannot be read is
moved to jobs.damaged.jsonl and reported, and the run goes on: no result depends on it.
"""

import json
import os
from pathlib import Path
from typing import Any

from mnemoscope.results.job import canonical
from mnemoscope.results.parquet import write_whole, writing

Entry = dict[str, Any]


def append(path: Path, entry: Entry) -> None:
    """Add one line and flush it to the disk."""
    with writing(path), path.open("ab") as file:
        file.write(canonical(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """All lines that can be read, and a note for each that cannot."""
    entries, damaged = _sorted_out(path)
    return entries, tuple(f"{path.name} line {number} cannot be read" for number, _ in damaged)


def repair(path: Path) -> tuple[str, ...]:
    """Move lines that cannot be read (a kill in the middle of one, a bad disk) aside; say which. Idempotent."""
    entries, damaged = _sorted_out(path)
    if not damaged:
        return ()
    aside = path.with_name("jobs.damaged.jsonl")
    with writing(aside), aside.open("ab") as file:
        file.write(b"".join(line.rstrip(b"\n") + b"\n" for _, line in damaged))
    write_whole(path, b"".join(canonical(entry).encode() + b"\n" for entry in entries))
    return tuple(f"{path.name} line {number} was damaged and is now in {aside.name}" for number, _ in damaged)


def _sorted_out(path: Path) -> tuple[tuple[Entry, ...], tuple[tuple[int, bytes], ...]]:
    """Readable entries, and (line number, bytes) of the others. A last line without its newline is half a line."""
    if not path.is_file():
        return (), ()
    entries: list[Entry] = []
    damaged: list[tuple[int, bytes]] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        entry = _entry(line)
        if entry is None:
            damaged.append((number, line))
        else:
            entries.append(entry)
    return tuple(entries), tuple(damaged)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "job" in entry and "status" in entry else None  # pyright: ignore[reportUnknownVariableType]
