"""What a section is made of. Values only; `blocks.py` turns them into HTML.

Prose    paragraphs
Figure   one chart over one data set: interactive in the page, SVG and PNG beside it, CSV from it
Grid     a table to read, sort and download
Tokens   prompts token by token, with the attention of any head drawn on them
Drawing  a picture made of our own SVG, with its numbers as data
"""

from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.html import Safe

MAIN = alt.NamedData(name="main")  # the data of a figure: `alt.Chart(MAIN)`


@dataclass(frozen=True, kw_only=True)
class Prose:
    """Paragraphs of plain text."""

    paragraphs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One chart. `id` names its files; `chart` is a Vega-Lite specification over `MAIN` (`chart.to_dict()`).

    `alt` says in a sentence what one sees, for those who do not see it. A click on a mark whose datum has `layer`
    and `head` picks that head in the section's token view. `first`: the rows that are drawn before anybody touches a
    switch, for the files beside the page, where the data are large; default all.
    """

    id: str
    title: str
    caption: str
    chart: dict[str, Any]
    data: pl.DataFrame
    alt: str = ""
    first: pl.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table: the first `most` rows are shown, all can be. `labels` renames columns; `picks` makes rows choose heads."""

    id: str
    title: str
    caption: str
    data: pl.DataFrame
    labels: dict[str, str] = field(default_factory=dict[str, str])
    most: int = 12
    picks: bool = False


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Prompts with attention: tables `shown_prompts`, `attention_rows`, and `shown_events` if there is one.

    Whoever picks a head (in a map, in a table) sees its best event first.
    """

    id: str
    title: str
    caption: str
    prompts: pl.DataFrame
    rows: pl.DataFrame
    named: tuple[tuple[int, int], ...] = ()  # (layer, head) that the study names, offered first
    events: pl.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture of ours, with the numbers in it as `data` for the download. Use currentColor and var(--c0...c6)."""

    id: str
    title: str
    caption: str
    svg: Safe
    data: pl.DataFrame


Block = Prose | Figure | Grid | Tokens | Drawing


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study on the page: its headlines stand above the blocks."""

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]
