"""The same tables from one process and from a cluster, and when a worker is killed in the middle. Needs the extra `ray`."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mnemoscope.runner as runner
from mnemoscope.errors import InputError
from mnemoscope.runner import cluster

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


@pytest.fixture(scope="module")
def ray(toys: ModuleType) -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is absent")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(toys)
    yield ray
    ray.shutdown()


def test_a_cluster_makes_the_same_tables(toys: ModuleType, ray: Any, tmp_path: Path) -> None:
    toys.toy(tmp_path / "here")
    toys.toy(tmp_path / "there", ray="auto")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert len((tmp_path / "there" / "jobs.jsonl").read_text().splitlines()) == 12


def test_a_worker_killed_in_the_middle_loses_and_changes_nothing(
    toys: ModuleType, ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.toy(tmp_path / "here")
    real, marker = toys.measure, tmp_path / "killed"

    def killed_once(job: Any, config: Any, models: Any) -> Any:
        if job.id == "job-05" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        return real(job, config, models)

    monkeypatch.setattr(toys, "measure", killed_once)
    toys.toy(tmp_path / "there", ray="auto")
    assert marker.exists()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_failed_jobs_are_reported_as_at_home(toys: ModuleType, ray: Any, tmp_path: Path) -> None:
    with pytest.raises(runner.JobsFailedError, match="1 of 12 jobs of toy failed"):
        toys.toy(tmp_path / "there", ray="auto", fail=("job-03",))


def test_a_model_in_memory_is_refused() -> None:
    source = runner.Source(name="m", identity={"content": {"weights": "0"}}, load=lambda revision: None)
    with pytest.raises(InputError, match="in memory cannot be sent"):
        cluster._portable(source)
