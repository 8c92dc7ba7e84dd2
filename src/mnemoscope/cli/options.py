"""Options that several commands share, each declared once, and how a command gets its model."""

import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnemoscope.errors import OptionError, choose, listed

if TYPE_CHECKING:
    from typer import Context

    from mnemoscope.model.lm import LM
else:
    Context = typer.Context.__mro__[1]  # what typer hands over is an instance of this class

Model = Annotated[str, typer.Argument(help="A hub id, a local folder, or 'reference' (bundled).", metavar="MODEL")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model; a step of the reference.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float64.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: what torch finds.")]
DeviceMap = Annotated[str | None, typer.Option(help="'auto' spreads a model that is larger than one card.")]
Bos = Annotated[str, typer.Option(help="Begin-of-sequence token: auto (what the tokenizer does), yes or no.")]
AllowPickle = Annotated[bool, typer.Option("--allow-pickle", help="Read .bin weights (weights_only).")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]


def _defaults(context: Context, file: Path | None) -> Path | None:
    """Read a TOML file of option names into the command's defaults; unknown names are refused, all at once."""
    if file is None:
        return None
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise OptionError(
            f"--config {file} cannot be read", found=str(error), allowed="a TOML file of options"
        ) from error
    known = {flag.lstrip("-"): str(p.name) for p in context.command.params for flag in p.opts if flag.startswith("--")}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise OptionError(f"--config {file} has unknown names", found=listed(unknown), allowed=", ".join(sorted(known)))
    context.default_map = {**(context.default_map or {}), **{known[key]: value for key, value in values.items()}}
    return file


Config = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file of these options.", is_eager=True, callback=_defaults),
]


def load_lm(
    model: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str | None = None,
    device_map: str | None = None,
    bos: str = "auto",
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> "LM":
    """Load the model that a command line names."""
    from transformers.utils import logging

    from mnemoscope.model.load import load

    logging.disable_progress_bar()  # one spinner of ours instead
    choose("--dtype", dtype, ("auto", "float32", "bfloat16", "float16", "float64"))
    choose("--bos", bos, ("auto", "yes", "no"))
    return load(
        model,
        revision=revision,
        dtype=None if dtype == "auto" else dtype,
        device=device,
        device_map=device_map,
        bos=bos,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )


@contextmanager
def waiting(what: str) -> Generator[None]:
    """A spinner on stderr while something takes its time; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
