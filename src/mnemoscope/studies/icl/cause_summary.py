"""What the causal part infers: links per item (B7.5) and the effects of interventions. No torch."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.studies.icl.config import Config


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """Tables of the causal part; "claims" among them (rows to be added to the study's), "headlines" as a list of rows.

    `tables` holds the raw tables of all jobs and the tables that the first part has inferred.
    """
    return {}
