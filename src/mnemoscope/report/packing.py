"""Large tables on the page: as JSON by column while they are small, and packed beyond, so that maps of large models fit.

A packed table is JSON by column too, gzipped and in base64; the page unpacks it when the chart is drawn or downloaded. A
column of words is `{"words": [...], "codes": [...]}`: every word once. Numbers have four significant digits there (six in
small tables); tables/*.parquet has them all.
"""

import base64
import gzip
import json
from typing import Any

import polars as pl

from mnemoscope.report.html import shortened, visible

CELLS = 60_000  # rows times columns up to which a table travels as it is: about half a megabyte
DIGITS, DIGITS_PACKED = 6, 4
LONGEST = 240  # characters of a string cell that enter the page; the parquet file has them all


def columns(frame: pl.DataFrame) -> dict[str, list[Any]]:
    """A table as JSON by column: floats to 6 significant digits, nan as null, long strings shortened."""
    return {visible(name): _column(frame[name], DIGITS) for name in frame.columns}


def travelling(frame: pl.DataFrame) -> dict[str, Any]:
    """What the page carries of a table: its columns, or `{"packed": text}` where they would be too many."""
    if frame.height * frame.width <= CELLS:
        return columns(frame)
    made = {visible(name): _packed(frame[name]) for name in frame.columns}
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return {"packed": base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()}


def _packed(series: pl.Series) -> Any:
    if series.dtype != pl.String:
        return _column(series, DIGITS_PACKED)
    words = series.unique(maintain_order=True)
    codes = series.replace_strict(words, range(len(words)), return_dtype=pl.Int64)
    return {"words": [_cell(word) for word in words], "codes": codes.to_list()}


def _column(series: pl.Series, digits: int) -> list[Any]:
    if series.dtype.is_float():
        finite = pl.Series([None], dtype=series.dtype)
        return series.round_sig_figs(digits).zip_with(series.is_finite(), finite).to_list()
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.to_list()
    return [_cell(value) for value in series.to_list()]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(shortened(value, LONGEST))
    if isinstance(value, list):
        return ", ".join(str(_cell(inner)) for inner in value)  # pyright: ignore[reportUnknownVariableType]
    return value
