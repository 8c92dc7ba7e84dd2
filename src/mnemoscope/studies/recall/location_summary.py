"""Where answer and topic live, over topics: lens by layer and attribution by part, each over all and over known facts. No torch."""

import polars as pl

from mnemoscope.results.schema.recall_carriers import COMPONENTS, LENS, TARGETS
from mnemoscope.studies.recall.units import conditioned, means, rows, units


def lens(raw: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The table `lens`."""
    long = raw.with_columns(log10_rank=(1 + pl.col("rank")).log10()).unpivot(
        on=["log10_rank", "centred"],
        index=["copy", "relation", "topic", "template", "half", "layer", "token"],
        variable_name="measure",
        value_name="value",
    )
    return _table(LENS.schema, long, known, ["layer", "token", "measure"])


def components(raw: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The table `components`."""
    long = raw.unpivot(
        on=[f"to_{name}" for name in TARGETS],
        index=["copy", "relation", "topic", "template", "half", "layer", "head", "part", "name"],
        variable_name="target",
        value_name="value",
    ).with_columns(pl.col("target").str.strip_prefix("to_"))
    return _table(COMPONENTS.schema, long, known, ["layer", "head", "part", "name", "target"])


def _table(schema: dict, long: pl.DataFrame, known: pl.DataFrame, cells: list[str]) -> pl.DataFrame:
    parts: list[pl.DataFrame] = []
    for (copy,), frame in long.group_by("copy", maintain_order=True):
        for facts, some in conditioned(frame, known).items() if copy == "trained" else [("all", frame)]:
            if some.height:
                found = units(some, cells, "value")
                parts.append(rows(means(found), found.cells, copy=copy, facts=facts))
    table = pl.concat(parts)
    return table.select([pl.col(name).cast(dtype) for name, dtype in schema.items()])
