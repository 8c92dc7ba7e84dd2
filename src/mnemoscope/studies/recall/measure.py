"""What a job of the recall study measures: one row per prompt and place. All inference is in `summarise`."""

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.recall import (
    activation,
    application,
    carriers,
    knowledge,
    last_layer,
    location,
    mitigation,
    selection,
    shown,
)
from mnemoscope.studies.recall.config import Config

Step = Callable[[Job, Config, Callable[..., LM]], dict[str, pl.DataFrame]]


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one job of the plan."""
    return STEPS[job.args["kind"]](job, config, models)


def _listing(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    return knowledge.listing(models(), config, job.args["chosen"], job.args["obstacle"])


def _selection(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    copy = job.args["copy"]
    lm = models("reinitialised") if copy == "reinitialised" else models()
    return {"selection": selection.table(lm, config, job.args["names"], copy)}


STEPS: Final[Mapping[str, Step]] = {
    "listing": _listing,
    "knowledge": knowledge.measure,
    "selection": _selection,
    "location": location.measure,
    "interchange": carriers.measure_interchange,
    "paths": carriers.measure_paths,
    "shown": shown.measure,
    "activation": activation.measure,
    "application": application.measure,
    "last_layer": last_layer.measure,
    "mitigation": mitigation.measure,
}
