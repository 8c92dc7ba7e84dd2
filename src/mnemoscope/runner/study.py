"""A study as the runner sees it: a name, a configuration and three functions. No base class, no registry.

    plan(config, lm) -> tuple[Job, ...]                     what to do, in jobs of at most a minute
    measure(job, config, models) -> {table: rows}           sufficient statistics, per document or item
    summarise(tables, config) -> {table: rows}              all inference; no torch; claims and headlines among them

`models(revision=None)` gives the run's model, another revision of it, or, for "reinitialised", its control copy.
A study's `Config` is a frozen dataclass of JSON-able fields; those named `seed`, `limit`, `data`, `budget`,
`thorough` are filled by the options of the same names where it has them.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import polars as pl

from mnemoscope.axes import STUDIES
from mnemoscope.errors import InputError, choose
from mnemoscope.results.job import Job, canonical
from mnemoscope.results.schema import shared
from mnemoscope.results.schema.table import Table

Tables = Mapping[str, pl.DataFrame]
Models = Callable[..., Any]  # models(revision=None) -> LM


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's parts, found by `find` or put together by hand. `tables` declares all that it writes."""

    name: str
    config: type[Any]
    plan: Callable[[Any, Any], tuple[Job, ...]]
    measure: Callable[[Job, Any, Models], dict[str, pl.DataFrame]]
    summarise: Callable[[Tables, Any], dict[str, pl.DataFrame]]
    tables: Mapping[str, Table]


def find(name: str) -> Study:
    """The study of that name; OptionError names the nearest one."""
    choose("study", name, STUDIES)
    parts = {part: import_module(f"mnemoscope.studies.{name}.{part}") for part in _PARTS}
    return Study(
        name=name,
        config=parts["config"].Config,
        plan=parts["prompts"].plan,
        measure=parts["measure"].measure,
        summarise=parts["summarise"].summarise,
        tables=declared(name),
    )


def declared(name: str) -> dict[str, Table]:
    """All tables that a study may write: its own and the shared ones."""
    return {**shared.TABLES, **import_module(f"mnemoscope.results.schema.{name}").TABLES}


def configured(study: Study, options: Mapping[str, Any]) -> Any:
    """The study's configuration with these options; OptionError for a name it has not, InputError for a bad value."""
    names = tuple(field.name for field in dataclasses.fields(study.config))
    for name in options:
        choose(f"option of study {study.name!r}", name, names)
    config = study.config(**options)
    try:
        canonical(dataclasses.asdict(config))
    except (TypeError, ValueError) as error:
        raise InputError(f"an option of study {study.name!r} is not plain text or number", found=str(error)) from error
    return config


_PARTS = ("config", "prompts", "measure", "summarise")
