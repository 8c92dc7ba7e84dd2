"""The door of the command line: one command per file, one place that turns errors into one line and an exit code.

Exit codes: 0, 2 bad input or a refused capability, 3 finished with failed jobs, 130 interrupted.
"""

import sys
from collections.abc import Sequence

import typer

from mnemoscope.cli import check, data, demo, doctor, look, report, run, show
from mnemoscope.errors import MnemoscopeError, choose

app = typer.Typer(
    name="mnemoscope",
    help="A microscope for memory and in-context learning inside causal language models.",
    epilog='Start with:  mnemoscope demo   |   mnemoscope look gpt2 "The capital of France is"',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
app.command("look")(look.look)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("show")(show.show)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")

COMMANDS = ("look", "demo", "check", "run", "report", "show", "doctor", "data")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(execute(list(sys.argv[1:] if args is None else args)))


def execute(args: list[str]) -> int:
    """Run one command; errors become one line on stderr."""
    try:
        if args and not args[0].startswith("-"):
            choose("command", args[0], COMMANDS)
        code = app(args, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except MnemoscopeError as error:
        return _said(f"{type(error).__name__}: {error}", error.exit_code)
    except typer.TyperException as error:
        return _said(f"{type(error).__name__}: {error.format_message()}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _said("interrupted", 130)
    except OSError as error:
        where = f" | found: {error.filename}" if error.filename else ""
        return _said(f"{type(error).__name__}: {error.strerror or error}{where} | try: another path, or free space", 2)


def _said(line: str, code: int) -> int:
    print(line, file=sys.stderr)  # noqa: T201
    return code
