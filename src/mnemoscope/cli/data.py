"""`mnemoscope data list|show|fetch`: the built-in and external data sets."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mnemoscope.cli import options

app = typer.Typer(no_args_is_help=True, help="Built-in and external data sets.")
Name = Annotated[str, typer.Argument(help="A data set of `mnemoscope data list`, or a file.")]


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """Every data set: what it is, who reads it, where it comes from, under which licence.

    Example: [cyan]mnemoscope data list --json[/cyan]
    """
    from mnemoscope.data.catalogue import CATALOGUE

    rows = [entry.to_dict() for entry in CATALOGUE]
    if as_json:
        print(json.dumps(rows))  # noqa: T201
        return
    table = Table(*rows[0], box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


@app.command("show")
def show(
    name: Name, limit: Annotated[int, typer.Option(min=1, help="So many items.")] = 5, as_json: options.Json = False
) -> None:
    """The first items of a data set or of a file of yours, as the studies will read them.

    Examples:

    [cyan]mnemoscope data show letters --limit 2[/cyan]

    [cyan]mnemoscope data show ./facts.jsonl[/cyan]
    """
    from mnemoscope.data.catalogue import preview

    lines = list(preview(name, limit))
    print(json.dumps(lines) if as_json else "\n".join(lines))  # noqa: T201


@app.command("fetch")
def fetch(
    name: Name,
    to: Annotated[Path | None, typer.Option(help="Download into this folder.", metavar="FOLDER")] = None,
    as_json: options.Json = False,
) -> None:
    """Get an external data set at its pinned version with --to FOLDER; without, only say where it is.

    Example: [cyan]mnemoscope data fetch lre --to data/lre[/cyan]
    """
    from mnemoscope.data import catalogue

    if to is None:
        found = catalogue.instructions(name)
        print(json.dumps({"name": name, "how": found}) if as_json else found)  # noqa: T201
        return
    catalogue.entry(name)
    with options.waiting(f"fetching {name}"):
        files = [str(path) for path in catalogue.fetch(name, to)]
    print(json.dumps({"name": name, "files": files}) if as_json else "\n".join(files))  # noqa: T201
