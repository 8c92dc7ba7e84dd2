"""Shared charts: the planted numbers are in the picture, at the places their axes say, in Vega's own rendering."""

import itertools
import re
from dataclasses import replace

import altair as alt
import polars as pl
import pytest
import vl_convert

from mnemoscope.report import charts
from mnemoscope.report.figures import still
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.report.theme import config, palette


def drawn(chart: object, data: pl.DataFrame) -> str:
    figure = Figure(id="f", title="t", caption="c", chart=chart.to_dict(), data=data)  # type: ignore[attr-defined]
    return vl_convert.vegalite_to_svg(still(figure), config=config("light"))


def labels(svg: str, role: str) -> list[str]:
    return re.findall(rf'<path aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="{role}"', svg)


def places(svg: str, role: str) -> list[tuple[float, float]]:
    found = re.findall(rf'aria-roledescription="{role}" transform="translate\(([-\d.]+),([-\d.]+)\)"', svg)
    return [(float(x), float(y)) for x, y in found]


def test_curves_rise_where_the_data_rise_and_log_steps_are_even() -> None:
    data = pl.DataFrame({"step": [0, 9, 99, 999], "estimate": [0.0, 0.25, 0.5, 1.0]})
    data = data.with_columns(low=pl.col("estimate") - 0.1, high=pl.col("estimate") + 0.1)
    svg = drawn(charts.curves("step", "estimate", log=True, ticks=(0, 10, 100)), data)
    at = places(svg, "point")
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(at)]
    assert gaps == pytest.approx([gaps[0]] * 3, rel=1e-3)  # symlog with constant 1: log(1 + step)
    heights = [at[0][1] - y for _, y in at]
    assert [h / heights[-1] for h in heights] == pytest.approx([0, 0.25, 0.5, 1], abs=1e-3)
    assert any("Step: 99; Estimate: 0.5; Low: 0.4; High: 0.6" in text for text in labels(svg, "point"))


def test_intervals_put_every_estimate_between_its_ends() -> None:
    data = pl.DataFrame({"what": ["b", "a"], "estimate": [0.2, -0.4], "low": [0.1, -0.5], "high": [0.4, -0.1]})
    svg = drawn(charts.intervals("what", title="coefficient"), data)
    (b, a) = places(svg, "point")
    assert a[0] < b[0]
    assert b[1] < a[1]  # rows keep the order of the data
    assert "coefficient" in svg


def test_a_matrix_shows_its_numbers_and_centres_its_colours() -> None:
    data = pl.DataFrame({"x": ["u", "v"], "y": ["u", "u"], "value": [-0.5, 0.5]})
    svg = drawn(charts.matrix("x", "y", "value", centred=True), data)
    assert ">−0.50<" in svg
    assert ">0.50<" in svg
    colours = re.findall(r'aria-roledescription="rect mark"[^>]*fill="([^"]+)"', svg)
    ends = [palette("light")["diverging"][i] for i in (0, -1)]
    assert colours == [f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:], 16)})" for c in ends]


def test_a_cell_without_a_number_is_hollow_and_not_0() -> None:
    data = pl.DataFrame({"x": ["u", "v", "w"], "y": ["u"] * 3, "value": [0.0, float("nan"), 1.0]})
    svg = drawn(charts.matrix("x", "y", "value"), data)
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*>', svg)
    assert ["fill" in cell for cell in cells] == [True, False, True]
    assert [charts.HOLLOW in cell for cell in cells] == [False, True, False]
    assert re.findall(r">([^<]+)</text>", svg)[:3] == ["0.00", "–", "1.00"]


def test_a_switch_filters_and_one_value_is_no_switch() -> None:
    data = pl.DataFrame({"kind": ["a", "b"], "x": [1.0, 2.0], "y": [3.0, 4.0]})
    chart = charts.dots("x", "y", x_title="ex", y_title="why").transform_filter(charts.chosen("kind"))
    svg = drawn(chart.add_params(charts.switch("kind", ["b", "a"])), data)
    assert labels(svg, "point") == ["ex: 2; why: 4"]
    assert "bind" not in chart.add_params(charts.switch("kind", ["a"])).to_dict()["params"][0]


def test_only_a_small_p_is_marked_and_none_is_not_small() -> None:
    data = pl.DataFrame({"x": ["a", "b", "c", "d"], "estimate": 0.5, "p_maxt": [0.01, float("nan"), 0.2, 0.04]})
    base = alt.Chart(MAIN).encode(x="x:N")
    svg = drawn(charts.marked(base, "datum.x != 'd'", 20), data)
    assert re.findall(r'aria-roledescription="point"[^>]*opacity="([\d.]+)"', svg) == ["1", "0", "0", "0"]


def test_an_undefined_head_is_not_drawn_below_chance(hands) -> None:
    from mnemoscope.report.head_map import head_map

    first = pl.col("head") == 0
    heads = hands.head_rows(1, 2).with_columns(
        chance=pl.lit(0.3), estimate=pl.when(first).then(float("nan")).otherwise(0.3), p_maxt=pl.lit(1.0)
    )
    figure = head_map(heads)
    params = [{**p, "value": "above chance"} if p["name"] == "shown" else p for p in figure.chart["params"]]
    chart = still(replace(figure, chart={**figure.chart, "params": params}))
    svg = vl_convert.vegalite_to_svg(chart, config=config("light"))
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*>', svg)
    assert ["fill" in cell for cell in cells] == [False, True, False, True]
    assert ["stroke=" in cell for cell in cells] == [True, False, True, False]
