"""One study's run: planned, worked off into its folder, made into tables."""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mnemoscope.errors import JobsFailedError, listed
from mnemoscope.results.job import JSON, Job, distinct
from mnemoscope.results.provenance import Provenance, environment, file_hashes, own_version, versions
from mnemoscope.results.store import RunFolder, opened
from mnemoscope.runner.source import Source
from mnemoscope.runner.study import Study
from mnemoscope.runner.work import Outcome, concluding, here, progress


@dataclass(frozen=True, kw_only=True)
class Order:
    """How to run, as opposed to what: nothing in here but `threads` can change a table."""

    out: Path | None
    fresh: bool
    threads: int
    ray: str | None
    keep: bool
    console: Console
    asked: Mapping[str, JSON]


def planned(study: Study, source: Source, config: Any) -> tuple[Job, ...]:
    """The jobs of a study. Whatever it refuses is told here, before there is a run folder."""
    return distinct(study.plan(config, source.load(None)))


def run_one(study: Study, source: Source, config: Any, order: Order, plan: tuple[Job, ...]) -> Path:
    """Work a plan off into its run folder, or go on with what is there; returns the folder.

    Raises JobsFailedError when everything else is done and some jobs failed.
    """
    provenance = provenance_of(study, source, config, order)
    path = order.out or Path("runs") / f"{study.name}-{slug(source.name)}-{provenance.hash8}"
    with opened(path, provenance, fresh=order.fresh) as folder:
        for note in folder.notes:
            order.console.print(f"[yellow]{note}[/]", highlight=False)
        if folder.finished(plan):
            order.console.print(f"{study.name}: already finished in {path}", highlight=False)
            return path
        folder.state(state="running", jobs={"planned": len(plan)})
        failed = _worked_off(study, source, config, order, folder, plan)
        with concluding(order.console, study.name):
            _finalised(study, config, folder, plan, failed)
    if failed:
        raise JobsFailedError(
            f"{len(failed)} of {len(plan)} jobs of {study.name} failed",
            found=listed([f"{job}: {why}" for job, why in failed.items()], most=3),
            hint=f"see {path / 'jobs.jsonl'}; the same command tries them again, the other results are kept",
        )
    return path


def _worked_off(
    study: Study, source: Source, config: Any, order: Order, folder: RunFolder, plan: tuple[Job, ...]
) -> dict[str, str]:
    """Do the jobs that are not done; keep what they measured, in the order in which they end. Returns the failures."""
    done = folder.done(plan)
    todo = tuple(job for job in plan if job.id not in done)
    if order.ray:
        from mnemoscope.runner.cluster import on_ray

        outcomes = on_ray(study, todo, config, source, order.threads, address=order.ray)
    else:
        outcomes = here(study, todo, config, source, order.threads, keep=order.keep)
    failed: dict[str, str] = {}
    finished = len(done)
    try:
        with progress(order.console, study.name, len(plan), finished) as bar:
            for outcome in outcomes:
                _kept(folder, outcome, failed)
                finished += not outcome.why
                bar.update(bar.task_ids[0], now=outcome.job.id)
                bar.advance(bar.task_ids[0])
    except KeyboardInterrupt:
        again = f"the same command goes on from there (run folder {shlex.quote(str(folder.path))})"
        order.console.print(
            f"interrupted: {finished} of {len(plan)} jobs of {study.name} are kept; {again}", highlight=False
        )
        raise
    return dict(sorted(failed.items()))


def _kept(folder: RunFolder, outcome: Outcome, failed: dict[str, str]) -> None:
    if outcome.why:
        failed[outcome.job.id] = outcome.why
    else:
        folder.keep(outcome.job, outcome.tables)
    folder.log(outcome.entry())


def _finalised(study: Study, config: Any, folder: RunFolder, plan: tuple[Job, ...], failed: Mapping[str, str]) -> None:
    """Make the tables out of what is there. If everything failed there is nothing to infer from."""
    counts: dict[str, JSON] = {"planned": len(plan), "done": len(plan) - len(failed), "failed": len(failed)}
    if failed and len(failed) == len(plan):
        folder.state(state="failed", failed_jobs=dict(failed), jobs=counts)
        return
    raw = folder.measured(plan, study.tables)
    try:
        inferred = study.summarise(raw, config)
    except Exception as error:
        if not failed:
            raise
        folder.state(state="failed", failed_jobs=dict(failed), jobs=counts)
        raise JobsFailedError(
            f"{len(failed)} of {len(plan)} jobs of {study.name} failed, and the others are not enough to go on",
            found=listed([*(f"{job}: {why}" for job, why in failed.items()), str(error)], most=3),
            hint=f"see {folder.path / 'jobs.jsonl'}; the same command tries them again",
        ) from error
    folder.finalise({**raw, **inferred}, study.tables, failed_jobs=dict(failed), jobs=counts)


def provenance_of(study: Study, source: Source, config: Any, order: Order) -> Provenance:
    """What makes this run another one than its neighbours, and on what it was made."""
    fields: dict[str, JSON] = dataclasses.asdict(config)
    data = fields.get("data")
    files = file_hashes([Path(data)]) if isinstance(data, str) and Path(data).exists() else {}
    return Provenance(
        study=study.name,
        asked=order.asked,
        identity={
            "config": fields,
            "model": dict(source.identity),
            "data": files,
            "threads": order.threads,
            "versions": {"mnemoscope": own_version(), **versions()},
        },
        environment=environment(str(source.identity.get("device", "cpu"))),
    )


def slug(name: str) -> str:
    """A name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
