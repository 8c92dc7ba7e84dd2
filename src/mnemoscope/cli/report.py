"""`mnemoscope report RUN`: the page again, from the tables alone."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mnemoscope.cli import options


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")], as_json: options.Json = False
) -> None:
    """Build RUN/report.html (again) from its tables; no model and no torch needed.

    Example: [cyan]mnemoscope report runs/heads-gpt2-1a2b3c4d[/cyan]
    """
    from mnemoscope.report.page import write

    page = write(run)
    print(json.dumps({"run": str(run), "report": str(page)}) if as_json else page)  # noqa: T201
