"""What the icl study infers, part by part: behaviour, similarity, probes, attention, then the claims. No torch."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.studies.icl.alignment_summary import alignment
from mnemoscope.studies.icl.behaviour_summary import behaviour
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.frames import pooled, tasks_of


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """All tables of inference from the tables of the jobs."""
    tasks = tasks_of(tables)
    aligned = [alignment(pooled(tables, task), config) for task in tasks]
    return {"icl_behaviour": behaviour(tasks), "icl_alignment": pl.concat(aligned)}
