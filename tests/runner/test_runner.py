"""Planted truth: a toy study whose tables are known. Algebra: however a run is interrupted, the tables are the same."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

import mnemoscope.runner as runner
from mnemoscope.errors import DataError, JobsFailedError, OptionError, RunFolderError, VerificationError
from mnemoscope.results.parquet import read_table


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


@pytest.fixture(scope="session")
def clean(toys: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("clean") / "run"
    toys.toy(out)
    return contents(out)


def test_tables_hold_what_was_planted(toys: ModuleType, tmp_path: Path) -> None:
    done = toys.toy(tmp_path / "run", seed=3, jobs=4)
    assert sorted(done.tables) == ["draws", "headlines", "means"]
    draws = done.tables["draws"]
    assert draws["job"].unique(maintain_order=True).to_list() == [f"job-{i:02d}" for i in range(4)]
    expected = np.random.default_rng(runner.seed_of(3, "job-02")).normal(size=40)
    assert (draws.filter(pl.col("job") == "job-02")["value"].to_numpy() == expected).all()
    assert done.tables["means"]["estimate"][2] == pytest.approx(expected.mean())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["asked"] == {"study": "toy", "model": "toymodel", "seed": 3, "jobs": 4}
    assert record["identity"]["config"] == {
        "seed": 3,
        "limit": None,
        "data": None,
        "jobs": 4,
        "seconds": 0.0,
        "fail": [],
    }
    assert record["jobs"] == {"planned": 4, "done": 4, "failed": 0}
    assert record["state"] == "finished"


def test_default_folder_is_named_after_everything_that_changes_numbers(
    toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facts.txt").write_text("a")
    places = []
    for options in ({}, {"seed": 1}, {"threads": 2}, {"data": "facts.txt"}, {"seed": 1}):
        places.append(runner.run(toys.study(), toys.source(), quiet=True, **{"threads": 1, **options}).path.name)
    (tmp_path / "facts.txt").write_text("b")
    places.append(runner.run(toys.study(), toys.source(), quiet=True, threads=1, data="facts.txt").path.name)
    places.append(runner.run(toys.study(), toys.source(dtype="bfloat16"), quiet=True, threads=1).path.name)
    assert all(name.startswith("toy-toymodel-") for name in places)
    assert len(set(places)) == 6
    assert places[1] == places[4]


def test_rerun_does_nothing_and_keeps_every_byte(toys: ModuleType, tmp_path: Path, clean: dict[str, bytes]) -> None:
    toys.toy(tmp_path / "run")
    before = (tmp_path / "run" / "jobs.jsonl").read_bytes()
    toys.toy(tmp_path / "run")
    assert contents(tmp_path / "run") == clean
    assert (tmp_path / "run" / "jobs.jsonl").read_bytes() == before


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_stopped_before_any_file_operation_and_started_again(
    toys: ModuleType, tmp_path: Path, clean: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop the run before its k-th rename or flush, for every seventh k there is; then finish it in peace."""
    real = {name: getattr(os, name) for name in ("replace", "fsync")}
    total = 10**9
    for stop in range(0, 200, 7):
        calls = 0

        def counted(name: str, *args: object, stop: int = stop) -> object:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise Killed
            return real[name](*args)

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, lambda *args, name=name: counted(name, *args))
            out = tmp_path / f"run-{stop}"
            if 0 < stop <= total:
                with pytest.raises(Killed):
                    toys.toy(out)
            else:
                toys.toy(out)
        if stop == 0:
            total = calls
            assert total > 60
        toys.toy(out)
        assert contents(out) == clean, stop
        assert not list(out.rglob("*.tmp"))
        if stop > total:
            break


@pytest.mark.parametrize("moments", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(toys: ModuleType, tmp_path: Path, moments: int) -> None:
    program = [sys.executable, str(Path(__file__).with_name("toy_study.py"))]
    toys.toy(tmp_path / "peace", seconds=0.01)
    rng, out = random.Random(moments), tmp_path / "run"
    for _ in range(moments):
        child = subprocess.Popen([*program, str(out), "0.01"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        try:
            child.wait(timeout=rng.uniform(0, 0.25))
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        child.stdout.close()
        if rng.random() < 0.3:
            for path in out.rglob("*.parquet"):  # and sometimes the disk loses the end of a file
                if rng.random() < 0.2:
                    path.write_bytes(path.read_bytes()[:-7])
    toys.toy(out, seconds=0.01)
    assert contents(out) == contents(tmp_path / "peace")


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    toys: ModuleType,
    tmp_path: Path,
    clean: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = toys.measure

    def pressed(job: object, config: object, models: object) -> object:
        if job.id == "job-05":  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return real(job, config, models)

    with monkeypatch.context() as patch:
        patch.setattr(toys, "measure", pressed)
        with pytest.raises(KeyboardInterrupt):
            runner.run(toys.study(), toys.source(), out=tmp_path / "run", threads=1)
    said = " ".join(capsys.readouterr().err.split())
    assert "interrupted: 6 of 12 jobs of toy are kept; the same command goes on from there" in said
    toys.toy(tmp_path / "run")
    assert contents(tmp_path / "run") == clean
    assert len((tmp_path / "run" / "jobs.jsonl").read_text().splitlines()) == 12


def test_failed_jobs_do_not_stop_the_others_and_are_tried_again(toys: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(
        JobsFailedError, match=r"2 of 12 jobs of toy failed.*ZeroDivisionError: job-03 was told to fail"
    ) as error:
        toys.toy(out, fail=("job-03", "job-07"))
    assert error.value.exit_code == 3
    done = runner.Run(out)
    assert done.tables["means"].height == 10
    entries = [json.loads(line) for line in (out / "jobs.jsonl").read_text().splitlines()]
    assert sum(entry["status"] == "failed" for entry in entries) == 2
    assert all("ZeroDivisionError" in entry["trace"] for entry in entries if entry["status"] == "failed")
    with pytest.raises(JobsFailedError):
        toys.toy(out, fail=("job-03", "job-07"))
    assert len((out / "jobs.jsonl").read_text().splitlines()) == 14


def test_if_every_job_fails_there_are_no_tables(toys: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(JobsFailedError, match="2 of 2 jobs"):
        toys.toy(tmp_path / "run", jobs=2, fail=("job-00", "job-01"))
    assert not (tmp_path / "run" / "tables").exists()


def test_a_result_that_is_not_as_declared_is_refused(
    toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys, "summarise", lambda tables, config: {"headlines": pl.DataFrame({"order": ["a"]})})
    with pytest.raises(
        VerificationError, match=r"'headlines' is not as declared.*'text' is missing.*'order' is String"
    ):
        toys.toy(tmp_path / "run")
    monkeypatch.setattr(toys, "summarise", lambda tables, config: {"surprise": pl.DataFrame({"order": ["a"]})})
    with pytest.raises(RunFolderError, match=r"nobody declared.*surprise"):
        toys.toy(tmp_path / "other")


def test_another_configuration_is_refused_with_both_sides_and_fresh_starts_over(
    toys: ModuleType, tmp_path: Path
) -> None:
    toys.toy(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"holds another run.*seed is 0 there, 5 is asked.*--fresh"):
        toys.toy(tmp_path / "run", seed=5)
    again = toys.toy(tmp_path / "run", seed=5, fresh=True)
    expected = np.random.default_rng(runner.seed_of(5, "job-00")).normal(size=40)
    assert (again.tables["draws"]["value"].to_numpy()[:40] == expected).all()


def test_a_refusal_makes_no_folder_and_leaves_an_old_run_alone(
    toys: ModuleType, tmp_path: Path, clean: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: object, lm: object) -> None:
        raise DataError("facts.jsonl is not in our format")

    toys.toy(tmp_path / "old")
    record = (tmp_path / "old" / "run.json").read_bytes()
    monkeypatch.setattr(toys, "plan", refuse)
    for place, fresh in (("runs/new", False), ("old", False), ("old", True)):
        with pytest.raises(DataError, match="not in our format"):
            toys.toy(tmp_path / place, fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "run.json").read_bytes() == record
    assert contents(tmp_path / "old") == clean


def test_unknown_names_get_the_nearest(toys: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'seed'"):
        toys.toy(tmp_path / "run", sed=1)
    with pytest.raises(OptionError, match="did you mean 'heads'"):
        runner.run("head", toys.source())


def test_a_truncated_table_is_made_again(toys: ModuleType, tmp_path: Path, clean: dict[str, bytes]) -> None:
    out = tmp_path / "run"
    toys.toy(out)
    table = out / "tables" / "draws.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"cannot read the table .*draws\.parquet"):
        read_table(table)
    toys.toy(out)
    assert contents(out) == clean
