"""`mnemoscope demo`: every study on the bundled reference model, then the page; no network.

An installation that lacks a study, or the reference model, says so and shows what it has: the check, a look at one
prompt, and the studies that are there, on the reference model or on a tiny random one.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mnemoscope.axes import STUDIES
from mnemoscope.cli import options
from mnemoscope.cli.run import absent, finish
from mnemoscope.errors import LoadError

PROMPT = "The capital of France is"


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; do not resume.")] = False,
    as_json: options.Json = False,
) -> None:
    """All studies on the bundled model, minutes on a laptop; leaves a run folder and a page to open.

    Examples:

    [cyan]mnemoscope demo[/cyan]

    [cyan]mnemoscope demo --out /tmp/demo --fresh[/cyan]

    The same for any model:  [cyan]mnemoscope run all MODEL[/cyan]
    """
    lacking = absent()
    model = _bundled()
    console = Console(stderr=True, highlight=False)
    if model and not lacking:
        console.print(
            f"{', '.join(STUDIES)} on the bundled model, into {out}: some minutes. Ctrl-C keeps what is done, the same "
            "command goes on.",
            style="dim",
        )
        finish("all", model, out=out, fresh=fresh, as_json=as_json)
        return
    if lacking:
        console.print(f"This installation lacks the studies {', '.join(lacking)}; the others run.", style="yellow")
    if not model:
        console.print(
            "This installation lacks the reference model: a tiny random one stands in. Its numbers show how the tool "
            "works and say nothing about language.",
            style="yellow",
        )
    _shown(console, model, [study for study in STUDIES if study not in lacking], out=out, fresh=fresh, as_json=as_json)


def _bundled() -> str:
    from mnemoscope.model import bundled

    try:
        bundled.home()
    except LoadError:
        return ""
    return bundled.NAME


def _shown(console: Console, model: str, studies: list[str], *, out: Path, fresh: bool, as_json: bool) -> None:
    """Check, look, and the studies there are; on stderr what a script does not read."""
    from mnemoscope.cli.look_screen import screen
    from mnemoscope.engine.check import check
    from mnemoscope.measures.one_prompt import look

    lm, prompt = _loaded(model)
    if not as_json:
        Console(highlight=False, markup=False, soft_wrap=True).print(check(lm).table())
        screen(look(lm, prompt), top=8, page=None)
    for study in studies:
        console.print(f"\nrunning {study}", style="bold")
        finish(study, model or lm, out=out / study, fresh=fresh, as_json=as_json)


def _loaded(model: str) -> tuple[Any, str | list[int]]:
    """The model and a prompt for it: words, or token ids with a repetition where there is no tokenizer."""
    from mnemoscope.model.load import load
    from mnemoscope.model.tiny import tiny

    if model:
        return load(model), PROMPT
    return load((tiny("llama"), None)), [5, 17, 42, 9, 23, 5, 17, 42]
