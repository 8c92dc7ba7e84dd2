"""A table enters the page as its numbers: rounded to six digits, undefined as nothing, text as text."""

import json
import math

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given

from mnemoscope.report.blocks import columns, rendered
from mnemoscope.report.html import Safe
from mnemoscope.report.section import Drawing, Grid, Prose


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


def test_a_grid_shows_the_first_rows_and_carries_all() -> None:
    frame = pl.DataFrame({"name": ["<a>", "b", "c"], "value": [0.9431, float("nan"), -0.00001], "n": [1234, 5, 6]})
    markup = rendered(Grid(id="g", title="T", caption="C", data=frame, most=2, labels={"n": "tokens"}), "s").markup
    assert '<td class="text">&lt;a&gt;</td><td class="number">0.943</td><td class="number">1,234</td>' in markup
    assert '<td class="number">–</td>' in markup
    assert markup.count("<tr") == 3
    assert ">tokens</button>" in markup
    assert '"value":[0.9431,null,-1e-05]' in markup


def test_drawings_and_prose() -> None:
    drawing = Drawing(id="d", title="T", caption="C", svg=Safe("<svg></svg>"), data=pl.DataFrame({"x": [1]}))
    assert "<svg></svg>" in rendered(drawing, "s").markup
    assert rendered(Prose(paragraphs=("a < b", "c")), "s").markup == "<p>a &lt; b</p><p>c</p>"
