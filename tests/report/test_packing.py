"""A table enters the page as its numbers: rounded to six digits, undefined as nothing, text as text; packed where it is large."""

import base64
import gzip
import json
import math

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from mnemoscope.report.packing import CELLS, columns, travelling


@given(st.lists(st.floats(), max_size=8))
def test_numbers_keep_six_digits_and_what_is_not_finite_is_nothing(values: list[float]) -> None:
    made = columns(pl.DataFrame({"x": values}, schema={"x": pl.Float64}))["x"]
    assert json.loads(json.dumps(made)) == made
    for value, shown in zip(values, made, strict=True):
        if math.isfinite(value):
            assert shown == pytest.approx(value, rel=5e-6, abs=1e-300)
        else:
            assert shown is None


def test_other_types_come_as_they_are() -> None:
    frame = pl.DataFrame({"n": [1, 2], "ok": [True, False], "text": ["a\u202e", "b" * 300], "list": [[1, 2], []]})
    assert columns(frame) == {
        "n": [1, 2],
        "ok": [True, False],
        "text": ["a⟨U+202E⟩", "b" * 240 + "… (+60 characters)"],
        "list": ["1, 2", ""],
    }


def unpacked(found: dict[str, str]) -> dict[str, list[object]]:
    """What the page's script does with a packed table."""
    made = json.loads(gzip.decompress(base64.b64decode(found["packed"])))
    return {
        name: column if isinstance(column, list) else [column["words"][i] for i in column["codes"]]
        for name, column in made.items()
    }


def test_a_large_table_is_packed_and_comes_back() -> None:
    rng = np.random.default_rng(0)
    height = CELLS // 4 + 1
    words = np.array(["trained", "re\u202einitialised", "x" * 300, ""])[rng.integers(0, 4, height)]
    values = np.where(rng.random(height) < 0.1, np.nan, rng.normal(size=height))
    frame = pl.DataFrame({"copy": words, "head": rng.integers(0, 32, height), "value": values, "ok": values > 0})
    found = travelling(frame)
    assert list(found) == ["packed"]
    whole, back = columns(frame), unpacked(found)
    assert list(back) == list(whole)
    assert {name: back[name] for name in ("copy", "head", "ok")} == {
        name: whole[name] for name in ("copy", "head", "ok")
    }
    for got, meant in zip(back["value"], whole["value"], strict=True):
        assert (got is None) == (meant is None)
        assert got is None or got == pytest.approx(meant, rel=6e-4)  # four significant digits
    assert len(found["packed"]) < len(json.dumps(whole)) / 3


def test_a_small_table_travels_as_it_is() -> None:
    frame = pl.DataFrame({"packed": [1.5, 2.5], "word": ["a", "b"]})
    assert travelling(frame) == {"packed": [1.5, 2.5], "word": ["a", "b"]}


def test_packing_is_the_same_every_time() -> None:
    frame = pl.DataFrame({"a": range(CELLS + 1)})
    assert travelling(frame) == travelling(frame)
