"""Working off a list of jobs in this process, with a progress bar. `cluster.py` does the same on Ray."""

import sys
import time
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from mnemoscope.results.job import JSON, Job
from mnemoscope.runner.source import Models, Source
from mnemoscope.runner.study import Study


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: its tables, or the error (`why` on one line, `trace` in full)."""

    job: Job
    started: str
    seconds: float
    tables: dict[str, pl.DataFrame]
    why: str = ""
    trace: str = ""

    def entry(self) -> dict[str, JSON]:
        """The line in the journal."""
        times: dict[str, JSON] = {"job": self.job.id, "started": self.started, "seconds": round(self.seconds, 3)}
        if self.why:
            return {**times, "status": "failed", "error": self.why, "trace": self.trace}
        return {**times, "status": "done", "rows": {name: frame.height for name, frame in self.tables.items()}}


def work(study: Study, job: Job, config: Any, models: Models, threads: int) -> Outcome:
    """Do one job. Whatever it raises is its outcome: the other jobs go on."""
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    try:
        set_threads(threads)
        models.begin()
        tables = study.measure(job, config, models)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(
            job=job,
            started=started,
            seconds=time.perf_counter() - clock,
            tables={},
            why=why,
            trace=traceback.format_exc(limit=-12),
        )
    return Outcome(job=job, started=started, seconds=time.perf_counter() - clock, tables=tables)


def here(
    study: Study, jobs: Iterable[Job], config: Any, source: Source, threads: int, *, keep: bool = True
) -> Iterator[Outcome]:
    """Do the jobs one after the other in this process. `keep` False: downloads go as soon as they are done with."""
    models = source.models(keep=keep)
    try:
        for job in jobs:
            yield work(study, job, config, models, threads)
    finally:
        models.close()


def set_threads(threads: int) -> None:
    """Set the thread count of tensor arithmetic, on which the last bits of a sum depend."""
    torch = sys.modules.get("torch")  # a study that has not loaded torch does not need it loaded for this
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class _Rate(ProgressColumn):
    """Jobs per minute, over the jobs of this session."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{60 * speed:.3g} jobs/min", style="progress.data.speed")


@contextmanager
def progress(console: Console, what: str, total: int, done: int) -> Generator[Progress]:
    """A bar with count, rate, remaining time and the field `now` on the console; `advance(task 0)` after each job.

    Where nothing can be redrawn (a pipe, a log file) a line about every tenth of the jobs stands in for it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("jobs"),
        _Rate(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        TextColumn("[dim]{task.fields[now]}", table_column=Column(overflow="ellipsis")),  # shortened if need be
    )
    bar = Progress(*columns, console=console) if console.is_terminal else _Lines(*columns, console=console)
    with bar:
        bar.add_task(what, total=total, completed=done, now="")
        yield bar


@contextmanager
def concluding(console: Console, what: str) -> Generator[None]:
    """While tables and claims are made, which takes minutes of large runs: a spinner, or a line where nothing can be redrawn."""
    text = f"{what}  tables and claims"
    if not console.is_terminal:
        console.print(text)
        yield
        return
    with console.status(text):
        yield


class _Lines(Progress):
    """Progress for what is not a terminal."""

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        task = self.tasks[task_id]
        step = max(1, int((task.total or 0) // 10))
        if int(task.completed) % step == 0 and not task.finished:
            left = "" if task.time_remaining is None else f", about {task.time_remaining:.0f} s left"
            self.console.print(f"{task.description}  {int(task.completed)}/{int(task.total or 0)} jobs{left}")
