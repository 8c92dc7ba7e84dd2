"""`mnemoscope data list|show|fetch`: the built-in and external data sets."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mnemoscope.cli import options

app = typer.Typer(no_args_is_help=True, help="Built-in and external data sets.")
Name = Annotated[str, typer.Argument(help="A data set of `mnemoscope data list`.")]


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """Every data set: what it is, who reads it, where it comes from, under which licence."""
    from mnemoscope.data.catalogue import CATALOGUE

    rows = [entry.to_dict() for entry in CATALOGUE]
    if as_json:
        print(json.dumps(rows))  # noqa: T201
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


@app.command("show")
def show(name: Name, limit: Annotated[int, typer.Option(min=1, help="So many items.")] = 5) -> None:
    """The first items of a data set or of a file of yours, as the studies will read them."""
    from mnemoscope.data.catalogue import preview

    for line in preview(name, limit):
        print(line)  # noqa: T201


@app.command("fetch")
def fetch(name: Name) -> None:
    """Where to get an external data set and how to pass it on; downloads nothing without being told where from."""
    from mnemoscope.data.catalogue import instructions

    print(instructions(name))  # noqa: T201
