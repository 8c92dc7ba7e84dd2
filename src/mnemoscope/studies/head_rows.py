"""Scores of all heads as rows of a table, one per unit and head."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.measures.induction import HeadScores
from mnemoscope.model.lm import LM
from mnemoscope.results.schema.table import Table


def head_rows(
    lm: LM, table: Table, score: str, found: HeadScores, units: Sequence[str], *, unit: str, **same: Any
) -> pl.DataFrame:
    """Rows of `table`; unit: the column that `units` go into; `same` is in every row. Heads that a layer lacks have no row."""
    place, layer, head = (axis.ravel() for axis in np.indices(found.values.shape))
    value = found.values.ravel()
    columns = {
        **{name: [it] * len(value) for name, it in same.items()},
        "layer": layer,
        "head": head,
        "score": [score] * len(value),
        unit: np.array(units, dtype=object)[place].astype(str),
        "value": value,
        "chance": found.chance[place],
        "n": np.where(np.isnan(value), 0, found.n[place]),
    }
    heads = np.array([0 if shape is None else shape.n_heads for shape in lm.shapes])
    frame = pl.DataFrame({name: columns[name] for name in table.schema}, schema=table.schema)
    return frame.filter(pl.Series(head < heads[layer]))
