"""The gate of declared tables: every deviation is named; what passes comes out in one order."""

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from mnemoscope.axes import STUDIES
from mnemoscope.errors import VerificationError
from mnemoscope.results.parquet import parquet_bytes
from mnemoscope.results.schema.table import Column, Table, validate
from mnemoscope.runner.study import declared

TABLE = Table(
    doc="cells",
    columns=(
        Column("layer", pl.Int64, "", "layer"),
        Column("kind", pl.String, "", "kind", ("a", "b")),
        Column("estimate", pl.Float64, "", "value"),
        Column("reason", pl.String, "", "why nan"),
    ),
    key=("layer", "kind"),
)


def frame(**columns: list[object]) -> pl.DataFrame:
    good: dict[str, list[object]] = {"layer": [1, 0], "kind": ["a", "b"], "estimate": [0.5, 1.0], "reason": ["", ""]}
    return pl.DataFrame({**good, **columns})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (frame().drop("reason"), "'reason' is missing"),
        (frame(extra=[1, 2]), "'extra' is not declared"),
        (frame(layer=[1.0, 2.0]), "'layer' is Float64, not Int64"),
        (frame(kind=["a", None]), "'kind' has 1 nulls"),
        (frame(kind=["a", "c"]), "'kind' says 'c', allowed are a, b"),
        (frame(layer=[1, 1], kind=["a", "a"]), "1 rows repeat a key, e.g. {'layer': 1, 'kind': 'a'}"),
        (frame(estimate=[float("nan"), 1.0]), "1 rows have a nan estimate and no reason"),
    ],
)
def test_every_deviation_is_named(bad: pl.DataFrame, said: str) -> None:
    with pytest.raises(VerificationError) as error:
        validate("cells", TABLE, bad)
    assert said in str(error.value)


def test_all_deviations_at_once() -> None:
    with pytest.raises(VerificationError, match=r"'kind' is missing.*'extra' is not declared.*'layer' is String"):
        validate("cells", TABLE, frame(extra=[1, 2], layer=["x", "y"]).drop("kind"))


def test_nan_with_a_reason_passes_in_declared_order() -> None:
    out = validate(
        "cells", TABLE, frame(estimate=[float("nan"), 1.0], reason=["no data", ""]).select(reversed(frame().columns))
    )
    assert out.columns == list(TABLE.schema)
    assert out["layer"].to_list() == [0, 1]


@given(st.permutations(range(12)), st.integers(1, 11))
def test_bytes_are_a_function_of_the_rows(order: list[int], cut: int) -> None:
    table = Table(doc="", columns=(Column("a", pl.Int64, "", ""), Column("b", pl.String, "", "")), key=("a",))
    rows = pl.DataFrame({"a": order, "b": [str(i * i) for i in order]})
    pieces = pl.concat([rows[:cut], rows[cut:]], rechunk=False)
    reference = pl.DataFrame({"a": range(12), "b": [str(i * i) for i in range(12)]})
    assert parquet_bytes(validate("t", table, pieces)) == parquet_bytes(reference)


@pytest.mark.parametrize("study", STUDIES)
def test_declarations_are_sound(study: str) -> None:
    for name, table in declared(study).items():
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names), name
        assert set(table.key) <= set(names), name
        assert all(column.doc for column in table.columns), name
        assert validate(name, table, table.empty()).height == 0
