"""The charts that sections share: curves with bands, intervals, matrices, dots. Each is one chart over `MAIN`.

All take names of columns. `switch` makes a parameter that the reader sets with radio buttons; `chosen` filters the rows
by such parameters. Numbers stand on hover. Sections combine these; what only one study draws is in its own file.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from mnemoscope.report import words
from mnemoscope.report.section import MAIN

ONE_ROW = alt.InlineData(values=[{}])  # of marks that do not come from the data
HOLLOW = "#98a2ac"  # outline of a cell without a number
MOST_BUTTONS = 10  # options beyond which a list is easier to read than buttons


def switch(name: str, values: Sequence[str], labels: Sequence[str] | None = None, title: str | None = None) -> Any:
    """A parameter that the reader sets, with buttons or from a list if they are many; a constant where nothing can be chosen."""
    if len(values) < 2:
        return alt.param(name=name, value=values[0] if values else "")
    shown = list(labels or map(words.label, values))
    kind = "radio" if len(values) <= MOST_BUTTONS else "select"
    bind = alt.BindRadioSelect(input=kind, options=list(values), labels=shown, name=title or words.label(name))
    return alt.param(name=name, value=values[0], bind=bind)


def chosen(*names: str) -> str:
    """The filter that keeps the rows whose columns equal the parameters of the same names."""
    return " && ".join(f"datum.{name} == {name}" for name in names)


def rounded(name: str, title: str | None = None) -> Any:
    """A number in a tooltip: three significant digits."""
    return alt.Tooltip(f"{name}:Q", format=".3~g", title=title or words.label(name))


def said(name: str, kind: str = "N", title: str | None = None) -> Any:
    """A word or a whole number in a tooltip."""
    return alt.Tooltip(f"{name}:{kind}", title=title or words.label(name))


def line(**ends: int | float) -> Any:
    """A dashed line where the reader is to look from: x and y, and x2 and y2 for a slanted one. Once, not once per row."""
    places = {name: alt.datum(value) for name, value in ends.items()}
    return alt.Chart(ONE_ROW).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(**places)  # pyright: ignore[reportArgumentType]


def at_zero(axis: str) -> Any:
    """The line at 0 of an axis."""
    return line(**{axis: 0})


def curves(
    x: str,
    y: str,
    *,
    colour: str | None = None,
    order: Sequence[str] = (),
    low: str = "low",
    high: str = "high",
    log: bool = False,
    ticks: Sequence[int | float] = (),
    x_title: str = "",
    y_title: str = "",
    extra: Sequence[Any] = (),
) -> Any:
    """A line per value of `colour` over x, inside the band from `low` to `high`; `log` for training steps.

    ticks: where the x axis says a number; on a log axis give powers of ten (and 0) within the data.
    """
    scale = alt.Scale(type="symlog" if log else "linear", nice=False)
    axis = alt.Axis(values=list(ticks), format=",.0f") if ticks else alt.Axis()
    across = alt.X(f"{x}:Q", title=x_title or words.label(x), scale=scale, axis=axis)
    up = alt.Y(f"{y}:Q", title=y_title or words.label(y))
    hue: dict[str, Any] = (
        {} if colour is None else {"color": alt.Color(f"{colour}:N", sort=list(order) or None, title=None)}
    )
    tips = [said(x, "Q"), *([said(colour)] if colour else []), rounded(y), rounded(low), rounded(high), *extra]
    band = alt.Chart().mark_area(opacity=0.16).encode(x=across, y=alt.Y(f"{low}:Q"), y2=f"{high}:Q", **hue)
    line = alt.Chart().mark_line().encode(x=across, y=up, **hue)
    dots = alt.Chart().mark_point(size=28).encode(x=across, y=up, tooltip=tips, **hue)
    return alt.layer(band, line, dots, data=MAIN).properties(width=620, height=260)


def intervals(
    category: str,
    *,
    estimate: str = "estimate",
    low: str = "low",
    high: str = "high",
    colour: str | None = None,
    order: Sequence[str] = (),
    title: str = "",
    extra: Sequence[Any] = (),
) -> Any:
    """One row per category: a dot with its interval, and a line at 0. With `colour`, several dots in a row."""
    rows = alt.Y(f"{category}:N", title=None, sort=list(order) or None)
    side: dict[str, Any] = (
        {} if colour is None else {"yOffset": f"{colour}:N", "color": alt.Color(f"{colour}:N", title=None)}
    )
    tips = [
        said(category),
        *([said(colour)] if colour else []),
        rounded(estimate),
        rounded(low),
        rounded(high),
        *extra,
    ]
    zero = at_zero("x")
    bars = alt.Chart().mark_rule(strokeWidth=2).encode(x=alt.X(f"{low}:Q", title=title), x2=f"{high}:Q", y=rows, **side)
    dots = alt.Chart().mark_point(size=60).encode(x=f"{estimate}:Q", y=rows, tooltip=tips, **side)
    return alt.layer(zero, bars, dots, data=MAIN).properties(width=560, height=alt.Step(30 if colour is None else 17))


def matrix(
    x: str,
    y: str,
    value: str,
    *,
    centred: bool = False,
    numbers: bool = True,
    step: int = 44,
    extra: Sequence[Any] = (),
) -> Any:
    """Cells coloured by a value, with the number in each; `centred` colours about 0."""
    scale = alt.Scale(domainMid=0) if centred else alt.Scale(zero=True)
    slanted = alt.Axis(labelAngle=-40, labelAlign="right", labelOverlap=False)
    base = alt.Chart().encode(
        x=alt.X(f"{x}:N", title=None, sort=None, axis=slanted),
        y=alt.Y(f"{y}:N", title=None, sort=None),
        tooltip=[said(x), said(y), rounded(value), *extra],
    )
    cells = filled(base.mark_rect(invalid=None), value, scale=scale, title=None)
    layers = [cells]
    if numbers:
        dark = f"luminance(scale('color', datum['{value}'])) < 0.35"
        there = f"isValid(datum['{value}'])"
        ink = alt.when(f"!{there}").then(alt.value(HOLLOW)).when(dark).then(alt.value("white"))
        number = alt.when(there).then(alt.Text(f"{value}:Q", format=".2f"))
        layers.append(
            base.mark_text(fontSize=11).encode(
                text=number.otherwise(alt.value(words.MISSING)), color=ink.otherwise(alt.value("black"))
            )
        )
    return alt.layer(*layers, data=MAIN).properties(width=alt.Step(step), height=alt.Step(step))


def filled(base: Any, name: str, **colour: Any) -> Any:
    """Cells coloured by a number, with options of `alt.Color`. A cell without one is hollow: any colour would say a number."""
    outline = alt.when(f"isValid(datum['{name}'])").then(alt.value("transparent")).otherwise(alt.value(HOLLOW))
    return base.encode(color=alt.Color(f"{name}:Q", **colour), stroke=outline, strokeWidth=alt.value(0.5))


def marked(base: Any, test: str, step: int) -> Any:
    """Discs on the cells of a map (of `step` pixels) where `test` holds and the corrected p is below .05; none without a p.

    White in a dark ring, seen on every colour of a scale.
    """
    small = "isValid(datum.p_maxt) && datum.p_maxt < 0.05"  # no p arrives as null, which is below every number
    shown = alt.when(f"{small} && {test}").then(alt.value(1)).otherwise(alt.value(0))
    disc: dict[str, Any] = {"filled": True, "fill": "white", "stroke": "#111417", "strokeWidth": 1}
    return base.mark_point(size=max(6, 1.2 * step), **disc).encode(opacity=shown)


def dots(x: str, y: str, *, x_title: str, y_title: str, colour: str | None = None, extra: Sequence[Any] = ()) -> Any:
    """One dot per row of the data; a click on a dot of a head picks the head."""
    hue: dict[str, Any] = {} if colour is None else {"color": alt.Color(f"{colour}:N", title=None)}
    return (
        alt.Chart(MAIN)
        .mark_point(size=44, opacity=0.75, cursor="pointer")
        .encode(
            x=alt.X(f"{x}:Q", title=x_title),
            y=alt.Y(f"{y}:Q", title=y_title),
            tooltip=[*extra, rounded(x, x_title), rounded(y, y_title)],
            **hue,
        )
        .properties(width=560, height=300)
    )
