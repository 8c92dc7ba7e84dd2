"""How the page calls the two copies of a model. Tables keep their value, which has no hyphen. No torch."""

from collections.abc import Mapping

import polars as pl

COPIES = ("trained", "re-initialised")
NAMING = ("copy", "checkpoint")  # columns in which the control is named


def spelled(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables in the page's words, as far as they name the control."""
    return {
        name: table.with_columns(
            pl.col(column).replace("reinitialised", COPIES[1]) for column in NAMING if column in table.columns
        )
        for name, table in tables.items()
    }
