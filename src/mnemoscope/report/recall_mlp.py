"""The parts of the recall section about MLPs, function application and the last layer."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report.section import Block


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """None yet."""
    return ()
