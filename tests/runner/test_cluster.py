"""The same tables from one process and from a cluster, and when a worker is killed in the middle. Needs the extra `ray`."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
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


def test_no_cluster_is_said_in_one_line(toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands first in this file: once there is a cluster, a process stays with it."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    pytest.importorskip("ray", reason="ray is absent")
    for address in ("nonsense", "127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(InputError, match=f"no Ray cluster at '{address}'.*allowed.*try: start one") as caught:
            toys.toy(tmp_path / "there", ray=address)
        assert "\n" not in str(caught.value)


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


def _kill_one_worker(journal: Path, session: str, killed: list[int], after: int = 4) -> None:
    """Once so many jobs are done, end one worker process of this session, as a machine that goes away would."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not killed:
        done = journal.read_text().count("\n") if journal.exists() else 0
        for folder in Path("/proc").glob("[0-9]*") if done >= after else ():
            with suppress(OSError):  # processes come and go
                busy = b"ray::_Worker.do" in (folder / "cmdline").read_bytes()
                if busy and any(os.readlink(file).startswith(session) for file in (folder / "fd").iterdir()):
                    os.kill(int(folder.name), 9)
                    killed.append(int(folder.name))
                    return
        time.sleep(0.05)


def test_a_real_study_is_the_same_from_one_process_a_cluster_and_a_resumed_run(ray: Any, tmp_path: Path) -> None:
    """The heads study of the bundled model; on the cluster a worker process is killed, at home half the jobs are lost."""
    options: dict[str, Any] = {"limit": 2, "group_texts": 1, "group_sets": 1, "threads": 1, "quiet": True}
    runner.run("heads", "reference", out=tmp_path / "here", **options)
    killed: list[int] = []
    session = ray._private.worker.global_worker.node.get_session_dir_path()
    killer = threading.Thread(target=_kill_one_worker, args=(tmp_path / "there" / "jobs.jsonl", session, killed))
    killer.start()
    runner.run("heads", "reference", out=tmp_path / "there", ray="auto", **options)
    killer.join()
    assert len(killed) == 1
    shutil.copytree(tmp_path / "here", tmp_path / "resumed")
    for part in sorted((tmp_path / "resumed" / "parts").iterdir())[::2]:
        shutil.rmtree(part)
    shutil.rmtree(tmp_path / "resumed" / "tables")
    runner.run("heads", "reference", out=tmp_path / "resumed", **options)
    assert len(contents(tmp_path / "here")) > 15
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "here")


def test_a_model_in_memory_is_refused() -> None:
    source = runner.Source(name="m", identity={"content": {"weights": "0"}}, load=lambda revision: None)
    with pytest.raises(InputError, match="in memory cannot be sent"):
        cluster._portable(source)
