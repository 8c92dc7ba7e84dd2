"""Stub: filled by the steps about MLPs and the last layer."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.studies.recall.config import Config


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """Nothing yet."""
    return {}
