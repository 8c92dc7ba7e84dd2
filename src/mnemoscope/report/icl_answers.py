"""What the causal pictures of the icl study share: which answers are shown, and how they are named."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from mnemoscope.report.charts import switch

OVER = -1  # layer: the mean that claims rest on
WORDS = {"logprob": "log probability", "margin": "margin over the distractors"}


def shown(frame: pl.DataFrame) -> pl.DataFrame:
    """With the column that the reader chooses by: task and what is read of its answers; a margin nobody has is left out."""
    number = "estimate" if "estimate" in frame.columns else "effect"
    there = frame.with_columns(some=pl.col(number).is_finite().any().over("task", "measure"))
    kept = there.filter(pl.col("some") | (pl.col("measure") == "logprob")).drop("some")
    named = pl.col("measure").replace(WORDS)
    return kept.with_columns(shown=pl.col("task") + ": " + named)


def asked(data: pl.DataFrame, first: str) -> Any:
    """The switch between answers; those that the claim rests on first."""
    there = (
        data.select("shown", "measure")
        .unique(maintain_order=True)
        .sort(pl.col("measure") != first, maintain_order=True)
    )
    return switch("shown", there["shown"].to_list(), title="Answers")


def first_of(values: pl.Series, wanted: str) -> Sequence[str]:
    """The values that occur, the wanted one in front."""
    there = values.unique(maintain_order=True).to_list()
    return [v for v in (wanted,) if v in there] + [v for v in there if v != wanted]
