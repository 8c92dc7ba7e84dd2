"""A run: a study's jobs worked off into a run folder, then its tables. The only room that writes run folders.

A run can be killed at any moment and started again; the tables are the same, byte for byte on one machine, because jobs
are fixed by the plan, each has a seed and a thread count of its own, and all inference is done in one place at the end.
`run("all", ...)` gives every study a run folder of its own inside one parent folder.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from mnemoscope.axes import STUDIES
from mnemoscope.errors import InputError, JobsFailedError, MnemoscopeError, choose, listed
from mnemoscope.report.asked import QUESTIONS, told
from mnemoscope.report.html import visible
from mnemoscope.results.job import JSON, Job, seed_of
from mnemoscope.results.provenance import Provenance
from mnemoscope.results.store import keep_parent, read_all
from mnemoscope.runner.one import Order, planned, provenance_of, run_one, slug
from mnemoscope.runner.source import Source, source_of
from mnemoscope.runner.study import Study, configured, find

__all__ = ["Run", "Source", "Study", "run", "seed_of"]


@dataclass(frozen=True)
class Run:
    """A run folder on disk: `path`, `tables` (polars, by name; "study/name" in a run of all studies), `report()`."""

    path: Path

    @cached_property
    def tables(self) -> Mapping[str, pl.DataFrame]:
        """All tables, read when first asked for."""
        runs = read_all(self.path)
        if len(runs) == 1 and runs[0].path == self.path:
            return runs[0].tables
        return {f"{one.record['study']}/{name}": frame for one in runs for name, frame in one.tables.items()}

    def report(self) -> Path:
        """Build `report.html` and the figures from the tables alone; return its path."""
        from mnemoscope.report.page import write

        return write(self.path)

    def _repr_html_(self) -> str:
        from mnemoscope.report.page import framed

        return framed(self.path)


def run(
    study: str | Study,
    model: Any,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    device_map: str | None = None,
    bos: str | None = None,
    allow_pickle: bool | None = None,
    trust_remote_code: bool | None = None,
    threads: int | None = None,
    ray: str | None = None,
    keep: bool = False,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Run a study ("heads", "emergence", "recall", "icl" or "all") on a model, or go on with a run that was stopped.

    model     an LM, a hub id, a local folder, "reference", or (model, tokenizer)
    out       the run folder; default `runs/<study>-<model>-<hash of all that can change a number>`
    fresh     forget what the folder holds
    threads   for tensor arithmetic; part of the run's identity, like dtype and device
    ray       "auto" or an address: work the jobs off on a Ray cluster; same tables
    keep      leave other revisions that were downloaded for this run in the cache (with Ray they always stay)
    options   fields of the study's Config: seed, limit, data, thorough ...; OptionError names the nearest valid one

    Raises JobsFailedError when everything else is done and some jobs failed: the tables hold the others (`Run(path)`),
    and the same call tries the failed ones again. RunFolderError if the folder holds another run, or is locked.
    """
    loading = {
        "revision": revision,
        "dtype": dtype,
        "device": device,
        "device_map": device_map,
        "bos": bos,
        "allow_pickle": allow_pickle,
        "trust_remote_code": trust_remote_code,
    }
    source = source_of(model, **loading)
    given = {"study": study if isinstance(study, str) else study.name, "model": source.asked, **loading, **options}
    asked = {name: value for name, value in given.items() if value is not None}
    order = Order(
        out=None if out is None else Path(out),
        fresh=fresh,
        threads=threads or _threads(),
        ray=ray,
        keep=keep,
        console=Console(stderr=True, quiet=quiet),
        asked={name: _plain(value) for name, value in asked.items()},
    )
    if study == "all":
        return _run_all(source, options, order)
    chosen = find(study) if isinstance(study, str) else study
    config = configured(chosen, options)
    return Run(run_one(chosen, source, config, order, planned(chosen, source, config)))


def _run_all(source: Source, options: Mapping[str, Any], order: Order) -> Run:
    """Every study into a folder of its own; one that refuses this model does not keep the others from running.

    All are planned first: where every one refuses, no folder is made.
    """
    studies = tuple(find(name) for name in STUDIES)
    fields = {study.name: {field.name for field in dataclasses.fields(study.config)} for study in studies}
    for name in options:
        choose("option of any study", name, sorted({field for names in fields.values() for field in names}))
    own = {name: {key: value for key, value in options.items() if key in fields[name]} for name in fields}
    configs = {study.name: configured(study, own[study.name]) for study in studies}
    whole = Provenance(
        study="all",
        asked=order.asked,
        identity={
            name: provenance_of(study, source, configs[name], order).hash8
            for name, study in zip(fields, studies, strict=True)
        },
    )
    parent = order.out or Path("runs") / f"all-{slug(source.name)}-{whole.hash8}"
    plans, refused = _all_planned(studies, source, configs)
    if not plans:
        raise _refused_by_all(source.name, refused)
    failed: list[str] = []
    for study in studies:
        keep_parent(parent, whole, fields, {name: str(why) for name, why in refused.items()})
        order.console.print(f"[bold]{study.name}[/]: {QUESTIONS[study.name]}", highlight=False)
        place = dataclasses.replace(order, out=parent / study.name)
        try:
            if study.name not in plans:
                raise refused[study.name]
            _found(Run(run_one(study, source, configs[study.name], place, plans[study.name])), order)
        except JobsFailedError as error:
            failed.append(f"{study.name}: {error.found}")
        except MnemoscopeError as error:
            refused[study.name] = error
            order.console.print(f"[yellow]{study.name} was not run:[/] {error}", highlight=False)
    keep_parent(parent, whole, fields, {name: str(why) for name, why in refused.items()})
    if failed:
        raise JobsFailedError(f"jobs failed in {len(failed)} studies of {parent}", found=listed(failed))
    return Run(parent)


def _all_planned(
    studies: Sequence[Study], source: Source, configs: Mapping[str, Any]
) -> tuple[dict[str, tuple[Job, ...]], dict[str, MnemoscopeError]]:
    """Study -> jobs, and of the others why they refuse."""
    plans: dict[str, tuple[Job, ...]] = {}
    refused: dict[str, MnemoscopeError] = {}
    for study in studies:
        try:
            plans[study.name] = planned(study, source, configs[study.name])
        except MnemoscopeError as error:
            refused[study.name] = error
    return plans, refused


def _refused_by_all(model: str, refused: Mapping[str, MnemoscopeError]) -> MnemoscopeError:
    """One error for a run in which no study can do anything; a reason that all share stands by itself."""
    first, *others = refused.values()
    if all(str(one) == str(first) for one in others):
        return first
    return InputError(
        f"no study can be run on {model}", found=listed([f"{name}: {why}" for name, why in refused.items()])
    )


def _found(one: Run, order: Order) -> None:
    """The first headline of a study as soon as it is there."""
    found, _ = told(one.tables)
    if found:
        order.console.print(f"  {visible(found[0])}\n", markup=False, highlight=False)


def _plain(value: Any) -> JSON:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _threads() -> int:
    """What torch would use by default: OMP_NUM_THREADS, or the processors this process may run on."""
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return int(os.environ.get("OMP_NUM_THREADS") or len(allowed))
