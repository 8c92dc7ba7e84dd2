"""Colours and chart defaults, once for the page, the charts in it and the figures beside it.

Categories are Okabe and Ito's colour-blind-safe set (its yellow darkened); sequential maps rise in lightness in one hue,
so that they survive greyscale; diverging maps run from orange over neutral to blue. Dark mode has maps of its own, in
which "nothing" is the page's background. Colour is never the only carrier: numbers stand on hover and in the tables.
"""

from typing import Any, Final, Literal, cast

Mode = Literal["light", "dark"]
FONT = 'Inter, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif'

CATEGORY = {
    "light": ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8f6a00", "#56b4e9", "#6b6f76"],
    "dark": ["#56b4e9", "#f0884a", "#3fc79a", "#e0a0c4", "#e6c353", "#9fd3f5", "#9aa3ad"],
}
SEQUENTIAL = {
    "light": ["#f3f6f8", "#d3e3ef", "#a4c9e1", "#67a5cf", "#3580b8", "#175b97", "#0b3567"],
    "dark": ["#1d232a", "#1f3f5e", "#245f90", "#3a83b8", "#67a9d4", "#a5cfe9", "#eaf5fc"],
}
DIVERGING = {
    "light": ["#9a4a06", "#d17a22", "#f0bf86", "#f5f4f1", "#9fc8e3", "#3f86bf", "#14508c"],
    "dark": ["#ffc48a", "#d98a3d", "#8a5320", "#23282e", "#27587f", "#4a97cf", "#b5ddf7"],
}
INK = {
    "light": {"ink": "#1a1d21", "muted": "#5d6670", "line": "#e4e7ea", "page": "#ffffff", "mark": "#111417"},
    "dark": {"ink": "#e7eaed", "muted": "#98a2ac", "line": "#2b323a", "page": "#14181c", "mark": "#f4f6f8"},
}
STEPS = len(SEQUENTIAL["light"])


def palette(mode: Mode) -> dict[str, list[str]]:
    """The value of a chart's parameter `palette`: charts that change their kind of scale take colours from it."""
    return {"sequential": SEQUENTIAL[mode], "diverging": DIVERGING[mode]}


BANDS: Final = {
    "grid": False,
    "labelAngle": 0,
    "ticks": False,
    "domain": False,
    "labelOverlap": "greedy",
    "labelSeparation": 5,
    "labelPadding": 7,
}
SYMBOLS: Final = {
    "gradientThickness": 10,
    "gradientLength": 160,
    "symbolStrokeWidth": 0,
    "symbolOpacity": 1,
    "symbolSize": 60,
    "labelLimit": 240,
}


def config(mode: Mode) -> dict[str, Any]:
    """The Vega-Lite configuration of every chart."""
    ink, muted, line = INK[mode]["ink"], INK[mode]["muted"], INK[mode]["line"]
    words = {"labelFont": FONT, "titleFont": FONT, "labelColor": muted, "titleColor": muted}
    sizes = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500}
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "scale": {"invalid": {"color": {"value": "transparent"}}},  # else the colour of 0
        "mark": {"color": CATEGORY[mode][0]},
        "axis": {**words, **sizes, "domainColor": line, "tickColor": line, "gridColor": line, "titlePadding": 8},
        "axisQuantitative": {"tickCount": 6},
        "axisBand": BANDS,
        "legend": {
            **words,
            **sizes,
            **SYMBOLS,
            "symbolBaseFillColor": muted,
            "symbolBaseStrokeColor": muted,
        },
        "header": {**words, **sizes, "titleFontSize": 12},
        "title": {"font": FONT, "color": ink, "fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 10},
        "text": {"font": FONT, "color": ink},
        "rule": {"color": muted},
        "line": {"strokeWidth": 2},
        "point": {"filled": True, "size": 36, "color": CATEGORY[mode][0]},
        "circle": {"color": CATEGORY[mode][0]},
        "bar": {"color": CATEGORY[mode][0]},
        "errorbar": {"color": muted},
        "range": {
            "category": CATEGORY[mode],
            "heatmap": SEQUENTIAL[mode],
            "ramp": SEQUENTIAL[mode],
            "ordinal": SEQUENTIAL[mode][2:],
            "diverging": DIVERGING[mode],
        },
    }


def in_rgb(chart: Any) -> Any:
    """A specification whose colour scales mix their colours in RGB: Vega's own mixing runs through hues that are not ours."""
    if isinstance(chart, list):
        return [in_rgb(part) for part in cast(list[Any], chart)]
    if not isinstance(chart, dict):
        return chart
    parts = {key: in_rgb(part) for key, part in cast(dict[str, Any], chart).items()}
    if isinstance(parts.get("color"), dict):
        colour = cast(dict[str, Any], parts["color"])
        if colour.get("type") == "quantitative":
            parts["color"] = {**colour, "scale": {"interpolate": "rgb", **(colour.get("scale") or {})}}
    return parts


def variables() -> str:
    """CSS custom properties of both modes."""
    return f":root{{{_block('light')}}}:root[data-mode=dark]{{{_block('dark')}}}"


def css_colours(mode: Mode) -> dict[str, str]:
    """The page's colours by the name of their variable: ink muted line page mark accent wash c0 ... c6."""
    categories = {f"c{i}": colour for i, colour in enumerate(CATEGORY[mode])}
    wash = {"light": "#f6f8f9", "dark": "#1b2026"}[mode]
    return {**INK[mode], **categories, "accent": CATEGORY[mode][0], "wash": wash}


def _block(mode: Mode) -> str:
    return f"color-scheme:{mode};" + "".join(f"--{name}:{colour};" for name, colour in css_colours(mode).items())
