"""`mnemoscope demo`: every study on the bundled reference model, then the page; no network."""

from pathlib import Path
from typing import Annotated

import typer

from mnemoscope.cli import options


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; do not resume.")] = False,
    as_json: options.Json = False,
) -> None:
    """All studies on the bundled model, minutes on a laptop; leaves a run folder and a page to open."""
    from mnemoscope.cli.run import finish

    finish("all", "reference", out=out, fresh=fresh, as_json=as_json)
