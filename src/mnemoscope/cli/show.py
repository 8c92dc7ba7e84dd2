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

FIRST: dict[
    str, tuple[str, dict[str, str]]
] = {  # what a study's name shows: a table, and the rows that are looked at first where the reader asks for none
    "heads": ("heads", {"copy": "trained", "corpus": "random", "score": "prefix_matching"}),
    "emergence": ("onsets", {}),
    "recall": ("effects", {"copy": "trained", "facts": "all", "shots": "0", "method": "interchange"}),
    "icl": ("icl_behaviour", {"copy": "trained"}),
}
RELATION_SCORE = "ri_ctx_src"  # of the heads study, where a relation is asked for
MOST_HEADLINES = 3  # of a study, behind a run of all studies
VERDICT_STYLE = {"supported": "green", "contradicted": "red", "undetermined": "yellow", "not testable": "dim"}


def show(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")],
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables, or studies for what one looks at first; none: the headlines.", metavar="[TABLE ...]"
        ),
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="Rows to keep: COLUMN=VALUE; may be repeated.")] = None,
    relation: Annotated[str | None, typer.Option(help="Short for --where relation=...")] = None,
    sort: Annotated[
        str | None, typer.Option(help="Largest first by this column; default: estimate, above chance or by size.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="So many rows.")] = 20,
    as_json: options.Json = False,
) -> None:
    """Headlines and verdicts of a run, or the rows of its tables.

    Examples:

    [cyan]mnemoscope show runs/demo[/cyan]

    [cyan]mnemoscope show runs/demo heads --relation USED-FOR --top 10[/cyan]

    [cyan]mnemoscope show runs/demo heads --where score=copying --sort estimate[/cyan]

    [cyan]mnemoscope show runs/demo recall/lens icl_recovery --json[/cyan]
    """
    if not tables:
        headlines(run, as_json=as_json)
        return
    wanted = [*(where or []), *([f"relation={relation}"] if relation else [])]
    found = {name: _chosen(frame, conditions, sort, top) for name, frame, conditions in _tables(run, tables, wanted)}
    if as_json:
        print(json.dumps({name: _plain(frame.to_dicts()) for name, frame in found.items()}))  # noqa: T201
        return
    for name, frame in found.items():
        _print(name, frame)


def headlines(run: Path, *, as_json: bool = False, page: Path | None = None, brief: bool = False) -> None:
    """What a run found, in words with numbers, and the verdict on every claim; if `brief`, the first and how many."""
    from mnemoscope.report.asked import told
    from mnemoscope.results.store import read_all

    studies = {str(one.record["study"]): one.tables for one in read_all(run)}
    claims = {name: tables["claims"] for name, tables in studies.items() if "claims" in tables}
    if as_json:
        said = {name: [text for part in told(tables) for text in part] for name, tables in studies.items()}
        verdicts = {name: _plain(frame.to_dicts()) for name, frame in claims.items()}
        record = {"run": str(run), "headlines": said, "claims": verdicts, "report": str(page or run / "report.html")}
        print(json.dumps(record))  # noqa: T201
        return
    console = Console(highlight=False)
    for name, tables in studies.items():
        console.print(f"[bold]{name}[/bold]")
        found = told(tables)[0]
        for line in found[:MOST_HEADLINES] if brief else found:
            console.print(f"  {visible(line)}", markup=False)
        if name in claims:
            _verdicts(console, claims[name], brief=brief)
    more = f"\nmore    mnemoscope show {run}" if brief else ""
    console.print(Text(f"tables  {run}\npage    {page or run / 'report.html'}{more}"))


def _verdicts(console: Console, claims: pl.DataFrame, *, brief: bool) -> None:
    """A line per claim; if `brief`, how many came out how."""
    if brief:
        counts = ((verdict, int((claims["verdict"] == verdict).sum())) for verdict in VERDICT_STYLE)
        console.print(f"  claims: {', '.join(f'{count} {verdict}' for verdict, count in counts if count)}", style="dim")
        return
    from mnemoscope.report.claims import in_order

    for row in in_order(claims):
        verdict = Text(f"  {row['verdict']:>13}", style=VERDICT_STYLE[row["verdict"]])
        console.print(verdict.append(f"  {visible(row['claim'])}", style="default"))


def _tables(run: Path, names: list[str], wanted: list[str]) -> list[tuple[str, pl.DataFrame, list[str]]]:
    """(name, table, conditions) of what was asked for; a study's name adds the conditions of `FIRST` that fit."""
    from mnemoscope.results.store import read_all

    everything: dict[str, pl.DataFrame] = {}
    runs = read_all(run)
    studies = {str(one.record["study"]): one.tables for one in runs}
    for one in runs:
        for name, frame in one.tables.items():
            everything[name if len(runs) == 1 else f"{one.record['study']}/{name}"] = frame
    chosen: list[tuple[str, pl.DataFrame, list[str]]] = []
    for name in names:
        if name in studies and FIRST[name][0] in studies[name]:
            frame = studies[name][FIRST[name][0]]
            chosen.append((FIRST[name][0], frame, _first(name, frame, wanted)))
            continue
        matches = [key for key in everything if key == name or key.endswith(f"/{name}")]
        keys = matches or [choose("table", name, (*everything, *studies))]
        chosen += [(key, everything[key], wanted) for key in keys]
    return chosen


def _first(study: str, frame: pl.DataFrame, wanted: list[str]) -> list[str]:
    """What was asked for, and of the study's first conditions those on other columns that leave rows."""
    asked = {condition.partition("=")[0] for condition in wanted}
    first = dict(FIRST[study][1])
    if study == "heads" and "relation" in asked:
        first |= {"score": RELATION_SCORE, "corpus": ""}
    fitting = [
        f"{column}={value}"
        for column, value in first.items()
        if column not in asked and column in frame.columns and value in frame[column].cast(pl.String)
    ]
    return [*wanted, *fitting]


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
    return frame.head(top) if by is None else _ranked(frame, by, plain=sort is not None).head(top)


def _ranked(frame: pl.DataFrame, by: str, *, plain: bool) -> pl.DataFrame:
    """Largest first; unless `plain`, by distance from chance or 0, and what is undefined or was not tested behind."""
    key = pl.col(by).fill_nan(None) if frame.schema[by].is_float() else pl.col(by)
    if plain:
        return frame.sort(key, descending=True, nulls_last=True, maintain_order=True)
    size = key - pl.col("chance").fill_nan(0) if "chance" in frame.columns else key.abs()
    tested = pl.col("reason") == "" if "reason" in frame.columns else pl.lit(True)
    return frame.sort(tested, size, descending=True, nulls_last=True, maintain_order=True)


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON has them: an undefined number is null, its reason stands beside it."""
    return [{key: None if isinstance(v, float) and v != v else v for key, v in row.items()} for row in rows]


def _print(name: str, frame: pl.DataFrame) -> None:
    """As many columns as there is room for; what is the same in every row stands below, once."""
    console = Console(highlight=False)
    same = [column for column in frame.columns if frame.height > 1 and frame[column].n_unique() == 1]
    table = Table(title=name, title_justify="left", box=None, header_style="bold", pad_edge=False)
    cells = {column: [_cell(value) for value in frame[column]] for column in frame.columns if column not in same}
    shown = _fitting(cells, console.width)
    for column in shown:
        table.add_column(column, justify="right" if frame.schema[column].is_numeric() else "left", overflow="fold")
    for row in zip(*(cells[column] for column in shown), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)
    for column in same:
        if str(frame[column][0]):
            console.print(Text(f"{column}: {_cell(frame[column][0])}", style="dim"))
    if left := [column for column in cells if column not in shown]:
        console.print(Text(f"not shown for want of room (--json has all): {', '.join(left)}", style="dim"))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else visible(str(value))


def _fitting(cells: dict[str, list[str]], width: int) -> list[str]:
    """The first columns that fit side by side; at least one."""
    shown: list[str] = []
    for column, values in cells.items():
        width -= max(map(len, (column, *values))) + 2
        if shown and width < 0:
            break
        shown.append(column)
    return shown
