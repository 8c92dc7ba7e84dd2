"""The door of the command line: one command per file, one place that turns errors into one line and an exit code.

Exit codes: 0, 2 bad input or a refused capability, 3 finished with failed jobs, 130 interrupted.
"""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import typer

from mnemoscope.cli import check, data, demo, doctor, look, report, run, show
from mnemoscope.errors import MnemoscopeError, OptionError, choose

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
VERSION = ("--version", "-V")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(execute(list(sys.argv[1:] if args is None else args)))


def execute(args: list[str]) -> int:
    """Run one command; errors become one line on stderr."""
    try:
        if args and args[0] in VERSION:
            from mnemoscope import __version__

            print(__version__)  # noqa: T201
            return 0
        if args and not args[0].startswith("-"):
            choose("command", args[0], COMMANDS)
        code = app(args, standalone_mode=False, prog_name="mnemoscope")
        sys.stdout.flush()
        if code == 130:  # typer's own word for an interrupt
            return _said("interrupted", 130)
        return code if isinstance(code, int) else 0
    except MnemoscopeError as error:
        return _said(f"{type(error).__name__}: {error}", error.exit_code)
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _said("interrupted", 130)
    except BrokenPipeError:  # whoever read our output has seen enough
        _silence()
        return 0
    except OSError as error:
        where = f" | found: {error.filename}" if error.filename else ""
        return _said(f"{type(error).__name__}: {error.strerror or error}{where} | try: another path, or free space", 2)


def _usage(error: typer.TyperException) -> int:
    """A command line that cannot be read: an unknown option or command gets the nearest name, anything else its help."""
    known: dict[str, Any] = vars(error)
    context, option = known.get("ctx"), known.get("option_name")
    if context is None:
        return _said(f"OptionError: {_line(error)}", 2)
    if not _line(error):  # no arguments: the help was printed
        return 2
    help_ = f"{context.command_path} --help"
    try:
        if option:
            names: set[str] = {name for param in context.command.params for name in param.opts}
            choose("option", str(option), sorted(name for name in names if name.startswith("-")))
        if unknown := re.match("No such command '(.*?)'", _line(error)):
            commands = cast("dict[str, Any]", vars(context.command)["commands"])
            choose("command", unknown[1], list(commands))
        raise OptionError(_line(error), hint=help_)
    except OptionError as said:
        return _said(f"OptionError: {said}", 2)


def _line(error: typer.TyperException) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _said(line: str, code: int) -> int:
    try:
        print(line, file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
    except OSError:  # the disk behind stdout is full: nothing more can be said there
        _silence()
    return code


def _silence() -> None:
    """Let what is still buffered for stdout go nowhere."""
    with suppress(OSError):  # stdout is no file: nothing is flushed when we leave
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
