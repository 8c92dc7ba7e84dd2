"""Stub: filled by the steps about MLPs and the last layer."""

from collections.abc import Callable

import polars as pl

from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.recall.config import Config


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """None yet."""
    return ()


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Nothing yet."""
    return {}
