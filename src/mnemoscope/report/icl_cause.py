"""What the page shows of the causal part of the icl study."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report.section import Block


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """Blocks of the causal part, in reading order."""
    return ()
