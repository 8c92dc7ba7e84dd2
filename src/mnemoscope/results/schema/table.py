"""A table is declared before it is filled: columns with type, unit and meaning, and a key that makes rows unique.

`validate` is the gate every table passes on its way to disk. It names *every* deviation at once, and it enforces two
rules of the house: no nulls (an undefined number is nan), and no nan estimate without a stated reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from mnemoscope.errors import VerificationError, listed

SCHEMA_VERSION = 2  # raised whenever a declared table changes; run folders of another version are refused


@dataclass(frozen=True)
class Column:
    """One column. `values` lists what a column of words may say; empty means anything."""

    name: str
    dtype: Any  # a polars type, as a class or an instance (their union cannot be annotated for beartype)
    unit: str
    doc: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: what a row is (`doc`), its columns in order, and the columns that identify a row."""

    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """Column names and polars types, in order."""
        return dict(pl.Schema({column.name: column.dtype for column in self.columns}))

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return pl.DataFrame(schema=self.schema)


def validate(name: str, table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with the declared columns in order, sorted by key; VerificationError names every deviation.

    A deviation is a missing, undeclared or differently typed column, a null, a word outside `values`, a key that is
    nan or that two rows share, and a nan in a column `estimate` whose row has an empty `reason`.
    """
    found = tuple(deviations(table, frame))
    if found:
        raise VerificationError(
            f"table {name!r} is not as declared",
            found=listed(found, most=20),
            allowed=", ".join(f"{c.name}: {_dtype(c)}" for c in table.columns),
            hint="correct what fills it, or the declaration in mnemoscope.results.schema",
        )
    return frame.select(list(table.schema)).sort(table.key, nulls_last=False, maintain_order=True)


def deviations(table: Table, frame: pl.DataFrame) -> Iterator[str]:
    """Everything in which `frame` differs from its declaration, in words."""
    declared, actual = table.schema, frame.schema
    yield from (f"column {name!r} is missing" for name in declared if name not in actual)
    yield from (f"column {name!r} is not declared" for name in actual if name not in declared)
    for column in table.columns:
        if column.name not in actual:
            continue
        if actual[column.name] != column.dtype:
            yield f"column {column.name!r} is {actual[column.name]}, not {_dtype(column)}"
        else:
            yield from _contents(column, frame[column.name])
    if all(name in actual for name in table.key):
        yield from _keys(table, frame)
    if {"estimate", "reason"} <= set(actual) and actual["estimate"].is_float() and actual["reason"] == pl.String:
        silent = frame.filter(pl.col("estimate").is_nan() & (pl.col("reason") == "")).height
        if silent:
            yield f"{silent} rows have a nan estimate and no reason"


def _contents(column: Column, series: pl.Series) -> Iterator[str]:
    if series.null_count():
        yield f"column {column.name!r} has {series.null_count()} nulls"
    if column.values:
        strange = sorted(set(series.drop_nulls().unique().to_list()) - set(column.values))
        if strange:
            yield f"column {column.name!r} says {strange[0]!r}, allowed are {', '.join(column.values)}"


def _keys(table: Table, frame: pl.DataFrame) -> Iterator[str]:
    keys = frame.select(table.key)
    for name in table.key:
        if keys.schema[name].is_float() and keys[name].is_nan().any():
            yield f"key {name!r} is nan in {int(keys[name].is_nan().sum())} rows"
    twice = keys.height - keys.unique().height
    if twice:
        example = keys.filter(keys.is_duplicated()).row(0, named=True)
        yield f"{twice} rows repeat a key, e.g. {example}"


def _dtype(column: Column) -> str:
    return str(pl.Schema({column.name: column.dtype})[column.name])
