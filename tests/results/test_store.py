"""The run folder against everything that can happen to a folder: damage, strangers, a second process, a full disk."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mnemoscope.errors import RunFolderError
from mnemoscope.results.job import Job
from mnemoscope.results.provenance import Provenance
from mnemoscope.results.schema.table import SCHEMA_VERSION, Column, Table
from mnemoscope.results.store import opened, read

TABLE = Table(
    doc="numbers",
    columns=(Column("a", pl.Int64, "", "key"), Column("b", pl.Float64, "", "value")),
    key=("a",),
)
PLAN = (Job(id="two", args={"x": 2}), Job(id="one", args={"x": 1}))
DECLARED = {"numbers": TABLE}


def asked(**identity: object) -> Provenance:
    return Provenance(study="toy", asked={}, identity={"seed": 0, **identity})  # type: ignore[arg-type]


def rows(*values: int) -> dict[str, pl.DataFrame]:
    return {"numbers": pl.DataFrame({"a": values, "b": [v / 7 for v in values]}, schema=TABLE.schema)}


def filled(path: Path) -> None:
    with opened(path, asked()) as folder:
        folder.keep(PLAN[0], rows(4, 3))
        folder.keep(PLAN[1], rows(2, 1))
        folder.finalise(folder.measured(PLAN, DECLARED), DECLARED)


def test_parts_come_back_sorted_by_key(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    assert read(tmp_path / "run").tables["numbers"].equals(rows(1, 2, 3, 4)["numbers"])


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest", "args"])
def test_a_damaged_part_is_not_done(tmp_path: Path, damage: str) -> None:
    filled(tmp_path / "run")
    part = tmp_path / "run" / "parts" / "one"
    file = part / "numbers.parquet"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "remove":
        file.unlink()
    elif damage == "manifest":
        (part / "part.json").write_text('{"job": "one"')
    plan = (PLAN[0], Job(id="one", args={"x": 9})) if damage == "args" else PLAN
    with opened(tmp_path / "run", asked()) as folder:
        assert folder.done(plan) == {"two"}
        assert not folder.finished(plan)


def test_half_a_last_line_and_a_damaged_middle_line_are_moved_aside_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with opened(path, asked()) as folder:
        for name in "abc":
            folder.log({"job": name, "status": "done"})
    journal = path / "jobs.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b'{"job": \xff\n' + lines[2] + b'{"job":"d","sta')
    assert len(read(path).notes) == 2
    assert len(read(path).journal) == 2
    with opened(path, asked()) as folder:
        assert [note.split(" was")[0] for note in folder.notes] == ["jobs.jsonl line 2", "jobs.jsonl line 4"]
        folder.log({"job": "e", "status": "done"})
        folder.state(state="running")
    assert [entry["job"] for entry in read(path).journal] == ["a", "c", "e"]
    assert (path / "jobs.damaged.jsonl").read_bytes() == b'{"job": \xff\n{"job":"d","sta\n'
    assert len(read(path).notes) == 2  # kept in run.json
    with opened(path, asked()) as folder:
        assert folder.notes == ()


def test_second_process_is_told_who_is_writing(tmp_path: Path) -> None:
    program = (
        "import sys; from mnemoscope.results.lock import locked; from pathlib import Path\n"
        f"with locked(Path({str(tmp_path / 'run')!r})):\n print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held\n"
        with (
            pytest.raises(RunFolderError, match=f"another process is writing.*process {child.pid} on"),
            opened(tmp_path / "run", asked()),
        ):
            pass
    finally:
        child.kill()
        child.communicate()
    with opened(tmp_path / "run", asked()):  # the lock died with the process
        pass


def test_another_configuration_or_version_is_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "run"
    filled(path)
    with pytest.raises(RunFolderError, match=r"seed is 0 there, 1 is asked"), opened(path, asked(seed=1)):
        pass
    with (
        pytest.raises(RunFolderError, match=r'run\.versions\.torch is absent there, "3" is asked'),
        opened(path, asked(versions={"torch": "3"})),
    ):
        pass
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, "schema": 999}))
    with pytest.raises(RunFolderError, match=f"tables version 999.*version {SCHEMA_VERSION}"):
        read(path)
    with (
        pytest.raises(RunFolderError, match=f"tables version is 999 there, {SCHEMA_VERSION} is asked"),
        opened(path, asked()),
    ):
        pass


def test_a_folder_of_something_else_is_left_alone_even_with_fresh(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for fresh in (False, True):
        with (
            pytest.raises(RunFolderError, match=r"is not a run folder.*thesis\.tex"),
            opened(tmp_path, asked(), fresh=fresh),
        ):
            pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read(tmp_path)


def test_fresh_removes_what_a_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run"
    filled(path)
    (path / "notes-of-mine.txt").write_text("keep")
    with opened(path, asked(seed=1), fresh=True) as folder:
        assert folder.done(PLAN) == frozenset()
    assert sorted(p.name for p in path.iterdir()) == ["lock", "notes-of-mine.txt", "run.json"]


def test_out_below_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunFolderError, match=r"cannot write .*Not a directory"),
        opened(tmp_path / "file" / "run", asked()),
    ):
        pass


def test_unreadable_run_json(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"study": ')
    with pytest.raises(RunFolderError, match=r"run\.json cannot be read"):
        read(tmp_path / "run")


def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    with opened(path, asked()) as folder:
        folder.keep(PLAN[0], rows(4, 3))

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RunFolderError, match=r"cannot write .*No space left on device.*--out") as error:
                folder.keep(PLAN[1], rows(2, 1))
        assert "\n" not in str(error.value)
        assert folder.done(PLAN) == {"two"}
        assert not list(path.rglob("*.tmp"))
        folder.keep(PLAN[1], rows(2, 1))
        assert folder.done(PLAN) == {"one", "two"}
