"""Blocks as HTML: a table shows its first rows and carries the others, drawings and prose stand as they are."""

import polars as pl

from mnemoscope.report.blocks import MOST_ROWS, rendered
from mnemoscope.report.html import Safe
from mnemoscope.report.section import Drawing, Grid, Prose


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


def test_a_long_table_says_that_it_was_cut() -> None:
    frame = pl.DataFrame({"n": range(MOST_ROWS + 5)})
    markup = rendered(Grid(id="g", title="T", caption="C.", data=frame), "s").markup
    assert f"C. The first 2,000 of {MOST_ROWS + 5:,} rows; tables/*.parquet has all." in markup
    assert f",{MOST_ROWS - 1}]" in markup
    assert f",{MOST_ROWS}," not in markup
