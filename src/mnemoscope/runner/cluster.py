"""Working off a list of jobs on a Ray cluster: the same outcomes as `work.here`, in the order in which they end.

The driver alone writes to the run folder; workers get a job and send back tables. Each worker is a process that loads
the model once. If a worker dies, its job is given to another one, at most three times: jobs have no side effects, so
nothing is lost and nothing changes. Needs the extra `ray`, and a model that can be loaded by name.
"""

import socket
from collections.abc import Iterable, Iterator
from typing import Any

from mnemoscope.errors import InputError
from mnemoscope.results.job import Job
from mnemoscope.runner.source import Source, source_of
from mnemoscope.runner.study import Study
from mnemoscope.runner.work import Outcome, work

ATTEMPTS = 3
REACH = 10  # seconds within which a cluster has to answer at all


def on_ray(
    study: Study, jobs: Iterable[Job], config: Any, source: Source, threads: int, *, address: str
) -> Iterator[Outcome]:
    """Do the jobs on the cluster at `address` ("auto", "local", or ray://...), one per `threads` processors."""
    ray = _connected(address)
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    worker = ray.remote(num_cpus=threads, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(_Worker)
    pool = [worker.remote(study, config, _portable(source), threads) for _ in range(workers)]
    waiting, idle = list(jobs)[::-1], list(pool)
    running: dict[Any, tuple[Any, Job]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                hand, job = idle.pop(), waiting.pop()
                running[hand.do.remote(job)] = (hand, job)
            ready, _ = ray.wait(list(running))
            hand, job = running.pop(ready[0])
            idle.append(hand)
            yield _outcome(ray, ready[0], job)
    finally:
        for hand in pool:
            ray.kill(hand)


class _Worker:
    """A process that keeps the model between jobs."""

    def __init__(self, study: Study, config: Any, source: Source | dict[str, Any], threads: int) -> None:
        self.study, self.config, self.threads = study, config, threads
        self.models = (source if isinstance(source, Source) else source_of(**source)).models()

    def do(self, job: Job) -> Outcome:
        return work(self.study, job, self.config, self.models, self.threads)


def _outcome(ray: Any, reference: Any, job: Job) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # the worker died ATTEMPTS times
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Outcome(job=job, started="", seconds=0.0, tables={}, why=why, trace=str(error))


def _portable(source: Source) -> Source | dict[str, Any]:
    """What a worker needs to load the model: the arguments of `load`. A source without them is sent as it is."""
    if source.recipe is not None:
        return dict(source.recipe)
    if "content" in source.identity:
        raise InputError(
            "a model in memory cannot be sent to a cluster", found=source.name, allowed="a hub id or a folder"
        )
    return source


def _connected(address: str) -> Any:
    """Ray, connected to the cluster that was asked for, or to the one that this process already uses."""
    ray = _ray()
    if not ray.is_initialized():
        try:
            _answers(address)
            ray.init(address=address, log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster at {address!r}",
                found=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}",
                allowed="'auto' (the cluster this machine belongs to), HOST:PORT, ray://HOST:PORT, or 'local'",
                hint="start one: ray start --head; or --ray local for this machine's processors",
            ) from error
    return ray


def _answers(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=REACH).close()


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            "--ray needs Ray", found="it is not installed", hint="pip install 'mnemoscope[ray]'"
        ) from error
    return ray  # pyright: ignore[reportUnknownVariableType]
