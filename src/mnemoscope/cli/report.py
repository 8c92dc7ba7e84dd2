"""`mnemoscope report RUN`: the page again, from the tables alone."""

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]) -> None:
    """Build RUN/report.html (again) from its tables; no model and no torch needed.

    Example: [cyan]mnemoscope report runs/heads-gpt2-1a2b3c4d[/cyan]
    """
    from mnemoscope.report.page import write

    print(write(run))  # noqa: T201
