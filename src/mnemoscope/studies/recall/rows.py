"""Measurements as columns: who was asked, place by place. Sufficient statistics only; no inference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Shaped

from mnemoscope.results.schema.table import Table
from mnemoscope.studies.recall.question import Ask


def grid(
    table: Table,
    places: Mapping[str, Sequence[Any]],
    prompts: Mapping[str, Sequence[Any]],
    values: Mapping[str, Shaped[np.ndarray, "place prompt"]],
    **same: Any,
) -> pl.DataFrame:
    """One row per place and prompt: columns of places and prompts repeated, `values` [place, prompt], `same` everywhere."""
    n_places, n_prompts = (len(next(iter(columns.values()))) for columns in (places, prompts))
    columns: dict[str, Any] = {name: np.repeat(np.array(column), n_prompts) for name, column in places.items()}
    columns |= {name: np.tile(np.array(column), n_places) for name, column in prompts.items()}
    columns |= {name: np.asarray(value).reshape(-1) for name, value in values.items()}
    frame = pl.DataFrame(columns).with_columns(**{name: pl.lit(value) for name, value in same.items()})
    return frame.select([pl.col(name).cast(dtype) for name, dtype in table.schema.items()])


def who(asks: Sequence[Ask]) -> dict[str, list[Any]]:
    """The columns that identify prompts."""
    names = ("relation", "topic", "half", "template")
    return {name: [getattr(ask, name) for ask in asks] for name in names}
