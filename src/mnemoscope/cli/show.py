"""`mnemoscope show RUN [TABLE ...]`: the headlines of a run, or its tables, in the terminal."""

import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnemoscope.cli import options
from mnemoscope.errors import OptionError, choose, listed
from mnemoscope.report.html import visible

VERDICT_STYLE = {"supported": "green", "contradicted": "red", "undetermined": "yellow", "not testable": "dim"}


def show(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables; none: the headlines.", metavar="[TABLE ...]")
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="Rows to keep: COLUMN=VALUE; may be repeated.")] = None,
    relation: Annotated[str | None, typer.Option(help="Short for --where relation=...")] = None,
    sort: Annotated[str | None, typer.Option(help="Largest first by this column; default: estimate.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many rows.")] = 20,
    as_json: options.Json = False,
) -> None:
    """Headlines and verdicts of a run, or the rows of its tables.

    Examples:  [cyan]mnemoscope show runs/demo[/cyan]   [cyan]mnemoscope show runs/demo heads --relation USED-FOR --top 10[/cyan]
    """
    if not tables:
        headlines(run, as_json=as_json)
        return
    wanted = [*(where or []), *([f"relation={relation}"] if relation else [])]
    found = {name: _chosen(frame, wanted, sort, top) for name, frame in _tables(run, tables).items()}
    if as_json:
        print(json.dumps({name: _plain(frame.to_dicts()) for name, frame in found.items()}))  # noqa: T201
        return
    for name, frame in found.items():
        _print(name, frame)


def headlines(run: Path, *, as_json: bool = False, page: Path | None = None) -> None:
    """What a run found, in words with numbers, and the verdict on every claim."""
    from mnemoscope.results.store import read_all

    studies = {str(one.record["study"]): one.tables for one in read_all(run)}
    said = {name: _texts(tables) for name, tables in studies.items()}
    claims = {name: tables["claims"] for name, tables in studies.items() if "claims" in tables}
    if as_json:
        verdicts = {name: _plain(frame.to_dicts()) for name, frame in claims.items()}
        record = {"run": str(run), "headlines": said, "claims": verdicts, "report": str(page or run / "report.html")}
        print(json.dumps(record))  # noqa: T201
        return
    console = Console()
    for name, lines in said.items():
        console.print(f"[bold]{name}[/bold]")
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False)
        for row in claims[name].iter_rows(named=True) if name in claims else ():
            style = VERDICT_STYLE[row["verdict"]]
            console.print(f"  [{style}]{row['verdict']:>13}[/]  {row['claim']}", highlight=False)
    console.print(f"tables  {run}\npage    {page or run / 'report.html'}", highlight=False)


def _texts(tables: Any) -> list[str]:
    return tables["headlines"].sort("order")["text"].to_list() if "headlines" in tables else []


def _tables(run: Path, names: list[str]) -> dict[str, pl.DataFrame]:
    from mnemoscope.results.store import read_all

    everything: dict[str, pl.DataFrame] = {}
    runs = read_all(run)
    for one in runs:
        for name, frame in one.tables.items():
            everything[name if len(runs) == 1 else f"{one.record['study']}/{name}"] = frame
    chosen: dict[str, pl.DataFrame] = {}
    for name in names:
        matches = [key for key in everything if key == name or key.endswith(f"/{name}")]
        for key in matches or [choose("table", name, tuple(everything))]:
            chosen[key] = everything[key]
    return chosen


def _chosen(frame: pl.DataFrame, wanted: list[str], sort: str | None, top: int) -> pl.DataFrame:
    for condition in wanted:
        column, _, value = condition.partition("=")
        choose("column", column, frame.columns)
        kept = frame.filter(pl.col(column).cast(pl.String) == value)
        if kept.is_empty():
            there = sorted(frame[column].cast(pl.String).unique().to_list())
            raise OptionError(f"no row has {condition}", allowed=listed(there))
        frame = kept
    by = choose("column", sort, frame.columns) if sort else "estimate" if "estimate" in frame.columns else None
    if by is not None:
        frame = frame.sort(pl.col(by).fill_nan(None), descending=True, nulls_last=True, maintain_order=True)
    return frame.head(top)


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON has them: an undefined number is null, its reason stands beside it."""
    return [{key: None if isinstance(v, float) and v != v else v for key, v in row.items()} for row in rows]


def _print(name: str, frame: pl.DataFrame) -> None:
    """Columns that say the same in every row stand above the table, once."""
    same = [column for column in frame.columns if frame.height > 1 and frame[column].n_unique() == 1]
    table = Table(title=name, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column, dtype in frame.drop(same).schema.items():
        table.add_column(column, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.drop(same).iter_rows():
        table.add_row(*(Text(f"{cell:.4g}" if isinstance(cell, float) else visible(str(cell))) for cell in row))
    console = Console(highlight=False)
    console.print(table)
    for column in same:
        console.print(Text(f"{column}: {visible(str(frame[column][0]))}", style="dim"))
