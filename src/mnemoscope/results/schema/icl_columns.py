"""Columns that the tables of the icl study share."""

import polars as pl

from mnemoscope.results.schema.table import Column

COPIES = ("trained", "reinitialised")
COPY = Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES)


def estimate(unit: str, what: str) -> tuple[Column, ...]:
    """The columns of an estimate in this unit."""
    return (
        Column("estimate", pl.Float64, unit, what),
        Column("low", pl.Float64, "as estimate", "lower end of the 95% interval"),
        Column("high", pl.Float64, "as estimate", "upper end"),
        Column("p", pl.Float64, "", "uncorrected; nan where no test was made"),
    )


BEHIND = (
    Column("n", pl.Int64, "observations", "prompts, or pairs of prompts, behind the estimate"),
    Column("n_units", pl.Int64, "units", "independent units: lines, or items"),
    Column("method", pl.String, "", "how interval and p were made"),
    Column("reason", pl.String, "", "why the estimate is nan; else empty"),
)
