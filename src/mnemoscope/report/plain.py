"""The section of a study that has no file of its own here: every table, as it is."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report import words
from mnemoscope.report.section import Block, Grid, Prose, Section

ELSEWHERE = ("claims", "headlines", "verification", "shown_prompts", "attention_rows", "shown_events")
MOST_ROWS = 2_000


def section(tables: Mapping[str, pl.DataFrame]) -> Section:
    """All tables but those that the page shows elsewhere."""
    grids: tuple[Block, ...] = tuple(
        Grid(
            id=name,
            title=words.label(name),
            caption=f"{frame.height:,} rows; tables/{name}.parquet has them all in full precision.",
            data=frame.head(MOST_ROWS),
        )
        for name, frame in sorted(tables.items())
        if name not in ELSEWHERE
    )
    return Section(id="tables", title="Tables", lead="", blocks=grids or (Prose(paragraphs=("There are no tables.",)),))
