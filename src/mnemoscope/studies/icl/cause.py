"""The causal part of the icl study: transplants, ablations, sharpened attention (B7.6)."""

from collections.abc import Callable

import polars as pl

from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.icl.config import Config

KINDS = ("transplant", "ablation", "sharpening")


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Jobs of the causal part; `args["kind"]` is one of KINDS."""
    return ()


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one of them."""
    raise NotImplementedError(job.id)
