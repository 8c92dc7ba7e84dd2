"""A run of all studies: one complete run folder per study in one parent, and a refusal stops nobody else."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mnemoscope.runner as runner
from mnemoscope.errors import InputError, JobsFailedError, OptionError, RunFolderError, UnsupportedError
from mnemoscope.report.asked import QUESTIONS
from mnemoscope.results.store import read_all


@pytest.fixture
def two_studies(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """recall and heads are both the toy; each refuses with the reason it is told."""
    told: dict[str, Any] = {}

    def refusing(name: str) -> Any:
        def plan(config: Any, lm: Any) -> Any:
            if name in told:
                raise UnsupportedError(told[name], found="none")
            return toys.plan(config, lm)

        return dataclasses.replace(toys.study(), name=name, plan=plan)

    studies = {name: refusing(name) for name in ("recall", "heads")}
    monkeypatch.setattr(runner, "STUDIES", tuple(studies))
    monkeypatch.setattr(runner, "find", studies.__getitem__)
    return told


def run_all(toys: ModuleType, out: Path, **options: Any) -> runner.Run:
    return runner.run("all", toys.source(), out=out, quiet=True, threads=1, **options)


def test_each_study_has_a_run_of_its_own(toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path) -> None:
    done = run_all(toys, tmp_path / "all", jobs=3)
    assert sorted(done.tables) == [f"{s}/{t}" for s in ("heads", "recall") for t in ("draws", "headlines", "means")]
    assert [run.record["study"] for run in read_all(tmp_path / "all")] == ["recall", "heads"]
    alone = toys.toy(tmp_path / "alone", jobs=3)
    assert (tmp_path / "all" / "heads" / "tables" / "draws.parquet").read_bytes() == (
        alone.path / "tables" / "draws.parquet"
    ).read_bytes()
    with pytest.raises(RunFolderError, match="holds a run of one study"):
        run_all(toys, tmp_path / "alone")


def test_a_refusal_is_kept_and_the_others_run(toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path) -> None:
    two_studies["recall"] = "recall needs attention"
    done = run_all(toys, tmp_path / "all", jobs=3)
    assert {name.split("/")[0] for name in done.tables} == {"heads"}
    record = json.loads((tmp_path / "all" / "run.json").read_text())
    assert record["refused"] == {"recall": "recall needs attention | found: none"}
    assert not (tmp_path / "all" / "recall").exists()
    two_studies.clear()
    assert len(read_all(run_all(toys, tmp_path / "all", jobs=3).path)) == 2
    assert json.loads((tmp_path / "all" / "run.json").read_text())["refused"] == {}


def test_refused_by_every_study_it_leaves_no_folder(
    toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path
) -> None:
    run_all(toys, tmp_path / "old", jobs=3)
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    two_studies.update(recall="it needs attention", heads="it needs attention")
    for place in ("new/all", "old"):
        with pytest.raises(UnsupportedError, match=r"^it needs attention | found: none$"):
            run_all(toys, tmp_path / place, jobs=3)
    two_studies["heads"] = "it needs heads"
    with pytest.raises(
        InputError, match=r"no study can be run on toymodel.*recall: it needs attention.*heads: it needs heads"
    ):
        run_all(toys, tmp_path / "old", jobs=3, fresh=True)
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()} == before


def test_failures_are_summed_up_at_the_end(toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(JobsFailedError, match="jobs failed in 2 studies") as error:
        run_all(toys, tmp_path / "all", jobs=3, fail=("job-01",))
    assert error.value.exit_code == 3
    assert runner.Run(tmp_path / "all").tables["heads/means"].height == 2


def test_an_option_that_no_study_has(toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'jobs'"):
        run_all(toys, tmp_path / "all", job=3)
    assert not (tmp_path / "all").exists()


def test_what_is_asked_how_far_it_is_and_what_was_found_are_said_as_it_goes(
    toys: ModuleType, two_studies: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = runner.run("all", toys.source(), out=tmp_path / "all", threads=1, jobs=30)
    said = " ".join(capsys.readouterr().err.split())
    found = str(done.tables["heads/headlines"]["text"][0])  # both are the toy: the same sentence twice
    order = [f"recall: {QUESTIONS['recall']}", "recall 3/30 jobs", "30/30 jobs", found, f"heads: {QUESTIONS['heads']}"]
    places = [*map(said.find, order), said.rfind(found)]
    assert -1 not in places, said
    assert places == sorted(set(places)), said
