"""Blocks of a section as HTML, each with its numbers as a JSON island that the page's scripts draw from."""

from dataclasses import replace
from typing import Any

from mnemoscope.report import words
from mnemoscope.report.html import Child, Safe, element, island, joined, shortened
from mnemoscope.report.packing import LONGEST, columns, travelling
from mnemoscope.report.section import Block, Drawing, Figure, Grid, Prose, Tokens
from mnemoscope.report.theme import in_rgb
from mnemoscope.report.tokens import token_view

MOST_ROWS = 2_000  # of a table to read that enter the page
P_VALUES = -1  # instead of a number of decimals: written as p values are


def rendered(block: Block, section: str) -> Safe:
    """One block; `section` makes its identifiers unique on the page."""
    match block:
        case Prose():
            return joined(element("p", text) for text in block.paragraphs)
        case Figure():
            return _figure(block, f"{section}-{block.id}")
        case Grid():
            return _grid(block, f"{section}-{block.id}")
        case Tokens():
            return token_view(block, f"{section}-{block.id}")
        case Drawing():
            return _framed(
                "drawing",
                f"{section}-{block.id}",
                block,
                element("div", element("div", block.svg, class_="canvas"), class_="scroll"),
                island(f"{section}-{block.id}-data", columns(block.data)),
            )


def _figure(figure: Figure, identifier: str) -> Safe:
    if not figure.data.height:
        nothing = element("p", "The tables of this run have no row for this picture.", class_="muted")
        return _framed("", identifier, figure, nothing)
    return _framed(
        "chart",
        identifier,
        figure,
        element("form", class_="switches"),
        element(
            "div", element("div", class_="canvas", role="img", aria_label=figure.alt or figure.title), class_="scroll"
        ),
        island(f"{identifier}-spec", in_rgb(figure.chart)),
        island(f"{identifier}-data", travelling(figure.data)),
    )


def _framed(kind: str, identifier: str, block: Figure | Grid | Drawing, *inside: Child) -> Safe:
    """A figure element: title, content, caption, and an empty row where the script puts the downloads."""
    return element(
        "figure",
        element("h4", block.title) if block.title else Safe(""),
        *inside,
        element("figcaption", block.caption),
        element("div", class_="downloads"),
        class_=kind or None,
        id=identifier,
        data_name=identifier,
    )


def _grid(grid: Grid, identifier: str) -> Safe:
    frame = grid.data.head(MOST_ROWS)
    floats = [name for name in frame.columns if frame.schema[name].is_float()]
    places = {name: P_VALUES if _is_p(name) else words.places(frame[name].to_list()) for name in floats}
    heads = [_heading(name, grid, places.get(name)) for name in frame.columns]
    rows = [
        element(
            "tr", *(_shown(value, places.get(name)) for name, value in row.items()), tabindex=0 if grid.picks else None
        )
        for row in frame.head(grid.most).iter_rows(named=True)
    ]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), data_most=grid.most)
    rest = f" The first {MOST_ROWS:,} of {grid.data.height:,} rows; tables/*.parquet has all."
    return _framed(
        "grid picks" if grid.picks else "grid",
        identifier,
        replace(grid, caption=grid.caption + (rest if grid.data.height > MOST_ROWS else "")),
        element("div", table, class_="scroll"),
        island(f"{identifier}-data", columns(frame)),
    )


def _heading(name: str, grid: Grid, places: int | None) -> Safe:
    kind = "number" if grid.data.schema[name].is_numeric() else "text"
    button = element("button", grid.labels.get(name, words.label(name)), type="button")
    return element("th", button, class_=kind, scope="col", data_column=name, data_places=places)


def _is_p(name: str) -> bool:
    return name == "p" or name.startswith("p_")


def _shown(value: Any, places: int | None) -> Safe:
    if places == P_VALUES:
        return element("td", words.p_value(value), class_="number")
    if places is not None:
        return element("td", words.fixed(value, places), class_="number")
    if isinstance(value, int) and not isinstance(value, bool):
        return element("td", words.count(value), class_="number")
    return element("td", shortened(str(value), LONGEST), class_="text")
