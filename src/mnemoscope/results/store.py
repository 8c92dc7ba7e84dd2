"""The run folder: parts that jobs leave, tables made of them, a journal, and run.json.

    run.json        provenance, state (running, finished), digests of the tables, notes
    parts/JOB/      one parquet file per table, and part.json, written last: the job is done when it is there and true
    tables/         parts concatenated and sorted by key, and what the study inferred from them
    jobs.jsonl      when each job ran, and why one failed
    figures/  report.html

A process may be killed between any two instructions: files are renamed into place whole, a part counts only if the
digests in its part.json hold, and tables are made anew from the parts whenever run.json does not say "finished".
"""

import json
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from mnemoscope.errors import RunFolderError, listed
from mnemoscope.results import journal
from mnemoscope.results.job import JSON, Job, canonical
from mnemoscope.results.lock import LOCK, locked
from mnemoscope.results.parquet import flush_folder, parquet_bytes, read_table, sha256, write_whole, writing
from mnemoscope.results.provenance import Provenance, differences
from mnemoscope.results.schema.table import SCHEMA_VERSION, Table, validate

RUN, JOURNAL, PARTS, TABLES = "run.json", "jobs.jsonl", "parts", "tables"
OURS = (RUN, JOURNAL, "jobs.damaged.jsonl", PARTS, TABLES, "figures", "report.html")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that this process has locked for writing. Made by `opened`."""

    path: Path
    provenance: Provenance
    notes: tuple[str, ...] = ()  # what had to be repaired when the folder was opened

    def done(self, plan: Iterable[Job]) -> frozenset[str]:
        """Ids of the jobs whose parts are complete and undamaged."""
        return frozenset(job.id for job in plan if self._part(job) is not None)

    def keep(self, job: Job, tables: Mapping[str, pl.DataFrame]) -> None:
        """Write what a job measured. It counts as done only once this has returned."""
        folder = self.path / PARTS / job.id
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "part.json").unlink(missing_ok=True)
            for stale in folder.iterdir():
                stale.unlink()
        digests: dict[str, JSON] = {}
        for name, frame in sorted(tables.items()):
            content = parquet_bytes(frame)
            digests[name] = sha256(content)
            write_whole(folder / f"{name}.parquet", content)
        part = {"job": job.id, "args": job.args, "tables": digests}
        write_whole(folder / "part.json", canonical(part).encode())
        with writing(folder):
            flush_folder(folder.parent)

    def log(self, entry: journal.Entry) -> None:
        """Add a line to the journal."""
        journal.append(self.path / JOURNAL, entry)

    def measured(self, plan: Iterable[Job], declared: Mapping[str, Table]) -> dict[str, pl.DataFrame]:
        """The raw tables: all parts of the plan's finished jobs, in order of key. A table nobody filled is absent."""
        pieces: dict[str, list[pl.DataFrame]] = {}
        for job in plan:
            for name, content in (self._part(job) or {}).items():
                pieces.setdefault(name, []).append(pl.read_parquet(content))
        _known(pieces, declared)
        return {name: validate(name, declared[name], pl.concat(frames)) for name, frames in sorted(pieces.items())}

    def finalise(self, tables: Mapping[str, pl.DataFrame], declared: Mapping[str, Table], **facts: JSON) -> None:
        """Write all tables, remove tables of other names, and put digests and `facts` into run.json, last."""
        _known(tables, declared)
        contents = {name: parquet_bytes(validate(name, declared[name], frame)) for name, frame in tables.items()}
        folder = self.path / TABLES
        with writing(folder):
            folder.mkdir(exist_ok=True)
            for old in set(folder.iterdir()) - {folder / f"{name}.parquet" for name in contents}:
                old.unlink()
        for name, content in sorted(contents.items()):
            write_whole(folder / f"{name}.parquet", content)
        digests: dict[str, JSON] = {name: sha256(content) for name, content in sorted(contents.items())}
        self.state(state="finished", tables=digests, **facts)

    def state(self, **facts: JSON) -> None:
        """Write run.json anew with these facts added to the provenance."""
        record = {**self.provenance.record(), "notes": list(self.notes), **facts}
        write_whole(self.path / RUN, json.dumps(record, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")

    def finished(self, plan: Iterable[Job]) -> bool:
        """Whether nothing is left to do: every job of the plan is done, and the tables are those run.json speaks of."""
        record = _record(self.path)
        digests = record.get("tables", {})
        files = {name: self.path / TABLES / f"{name}.parquet" for name in digests}
        return (
            record.get("state") == "finished"
            and not record.get("failed_jobs")
            and all(file.is_file() and sha256(file.read_bytes()) == digests[name] for name, file in files.items())
            and all(self._part(job) is not None for job in plan)
        )

    def _part(self, job: Job) -> dict[str, bytes] | None:
        """The parquet files of a finished job; None if it is not done, or its files are damaged, or it differs."""
        folder = self.path / PARTS / job.id
        try:
            part = json.loads((folder / "part.json").read_bytes())
            if canonical(part["args"]) != canonical(job.args):
                return None
            contents = {name: (folder / f"{name}.parquet").read_bytes() for name in part["tables"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if any(sha256(content) != part["tables"][name] for name, content in contents.items()):
            return None
        return contents


@contextmanager
def opened(path: Path, provenance: Provenance, *, fresh: bool = False) -> Generator[RunFolder]:
    """Create a run folder, or go on with one of the same identity; locked while open. `fresh` empties it first.

    RunFolderError: the folder holds another configuration or version (all differences are named), something that is no
    run folder, or is locked by another process, or cannot be written.
    """
    with writing(path):
        foreign = path.is_dir() and not (path / RUN).is_file() and _strangers(path)
    if foreign:
        raise RunFolderError(
            f"{path} is not a run folder", found=listed(foreign, most=4), hint="choose an empty folder with --out"
        )
    with locked(path):
        if fresh:
            _emptied(path)
        if (path / RUN).is_file():
            _same(path, provenance)
        _swept(path)
        folder = RunFolder(path=path, provenance=provenance, notes=journal.repair(path / JOURNAL))
        if not (path / RUN).is_file():
            folder.state(state="running")
        yield folder


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run folder as it is read, without lock or model: what `show` and the report work on."""

    path: Path
    record: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]
    journal: tuple[journal.Entry, ...]
    notes: tuple[str, ...]


def read(path: Path) -> Finished:
    """Read a run folder; RunFolderError if it is none, of another schema version, or damaged."""
    record = _record(path)
    if record.get("schema") != SCHEMA_VERSION:
        raise RunFolderError(
            f"{path} was written with another version of the tables",
            found=f"tables version {record.get('schema')}",
            allowed=f"version {SCHEMA_VERSION}",
            hint="run the study again with --fresh, or use the mnemoscope version that run.json names",
        )
    files = sorted((path / TABLES).glob("*.parquet"))
    entries, damaged = journal.read(path / JOURNAL)
    return Finished(
        path=path,
        record=record,
        tables={file.stem: read_table(file) for file in files if not file.name.startswith(".")},
        journal=entries,
        notes=(*cast("list[str]", record.get("notes", [])), *damaged),
    )


def read_all(path: Path) -> tuple[Finished, ...]:
    """Read a run folder, or every run inside the folder of a run of all studies, in the order they were run."""
    record = _record(path)
    if record["study"] != "all":
        return (read(path),)
    return tuple(read(path / name) for name in record["studies"] if (path / name / RUN).is_file())


def read_parent(path: Path) -> Mapping[str, Any] | None:
    """The run.json of a folder that holds one run per study; None if it is a run of one study."""
    record = _record(path)
    return record if record["study"] == "all" else None


def keep_parent(path: Path, provenance: Provenance, studies: Iterable[str], refused: Mapping[str, JSON]) -> None:
    """Write the run.json of a folder that holds one run folder per study; `refused` says which are missing and why."""
    if path.is_dir() and not (path / RUN).is_file() and _strangers(path):
        raise RunFolderError(f"{path} is not a run folder", found=listed(_strangers(path), most=4))
    if (path / RUN).is_file() and _record(path)["study"] != "all":
        raise RunFolderError(f"{path} holds a run of one study", found=_record(path)["study"], allowed="a run of all")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    record = {**provenance.record(), "studies": list(studies), "refused": dict(refused)}
    write_whole(path / RUN, json.dumps(record, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")


def _record(path: Path) -> dict[str, Any]:
    if not (path / RUN).is_file():
        raise RunFolderError(f"{path} is not a run folder", found="no run.json", hint="give a folder that a run wrote")
    try:
        record = json.loads((path / RUN).read_bytes())
        if not isinstance(record, dict) or "study" not in record:
            raise ValueError("it does not describe a run")
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path / RUN} cannot be read", found=str(error), hint="start again with --fresh, or choose another --out"
        ) from error
    return cast("dict[str, Any]", record)


def _same(path: Path, asked: Provenance) -> None:
    """Refuse a folder whose run is not the one that is asked for, naming every difference with both sides."""
    there = _record(path)
    found = differences(_compared(there), _compared(asked.record()))
    if found:
        raise RunFolderError(
            f"{path} holds another run", found=listed(found), hint="choose another --out, or --fresh to start it over"
        )


def _compared(record: Mapping[str, Any]) -> dict[str, JSON]:
    return {"study": record["study"], "tables version": record.get("schema"), "run": record.get("identity", {})}


def _strangers(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.name != LOCK and not p.name.endswith(".tmp"))


def _emptied(path: Path) -> None:
    """Remove what a run wrote, and nothing else; run.json last, so that a kill leaves a run folder."""
    with writing(path):
        for name in reversed(OURS):
            if (path / name).is_dir():
                shutil.rmtree(path / name)
            else:
                (path / name).unlink(missing_ok=True)


def _swept(path: Path) -> None:
    """Remove files that a killed process had not finished writing."""
    with writing(path):
        for half in path.rglob(".*.tmp"):
            half.unlink(missing_ok=True)


def _known(tables: Mapping[str, object], declared: Mapping[str, Table]) -> None:
    strangers = sorted(set(tables) - set(declared))
    if strangers:
        raise RunFolderError(
            "the study made tables that nobody declared",
            found=", ".join(strangers),
            allowed=", ".join(sorted(declared)),
            hint="declare them in mnemoscope.results.schema",
        )
