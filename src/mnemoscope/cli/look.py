"""`mnemoscope look MODEL PROMPT`: one prompt, answered in seconds, in the terminal, as a page, or as JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from mnemoscope.cli import options
from mnemoscope.errors import OptionError

Token = Annotated[str | None, typer.Option(help="The token in question; default: the most probable one.")]
Foil = Annotated[str | None, typer.Option(help="What it is compared with, e.g. ' London'; mind the space.")]
FoilPrompt = Annotated[str | None, typer.Option(help="A prompt of as many tokens to patch from.")]


def look(
    model: options.Model,
    prompt: Annotated[str, typer.Argument(help="A text; with --ids, token ids.", metavar="PROMPT")],
    token: Token = None,
    foil: Foil = None,
    foil_prompt: FoilPrompt = None,
    top: Annotated[int, typer.Option(min=1, max=100, help="So many predictions and heads.")] = 8,
    html: Annotated[Path | None, typer.Option(help="Write the same as one offline page.", metavar="FILE")] = None,
    ids: Annotated[bool, typer.Option("--ids", help="PROMPT, token and foil are token ids: '1 403 407'.")] = False,
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    bos: options.Bos = "auto",
    allow_pickle: options.AllowPickle = False,
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """What comes next after a prompt, how it forms layer by layer, which heads push it and which are needed.

    Examples:

    [cyan]mnemoscope look gpt2 "The capital of France is" --foil " London"[/cyan]

    [cyan]mnemoscope look gpt2 "The capital of France is" --foil-prompt "The capital of England is" --html look.html[/cyan]
    """
    if html is not None:
        from mnemoscope.report.look import refuse_unwritable

        refuse_unwritable(html)
    asked, others = (_ids(prompt), (_id(token), _id(foil))) if ids else (prompt, (token, foil))
    contrast = None if foil_prompt is None else _ids(foil_prompt) if ids else foil_prompt
    with options.waiting(f"loading {model}"):
        lm = options.load_lm(
            model,
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            bos=bos,
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
        )
    with options.waiting("looking"):
        from mnemoscope.measures.one_prompt import look as measure

        found = measure(lm, asked, token=others[0], foil=others[1], foil_prompt=contrast, top=top)
    if html is not None:
        from mnemoscope.report.look import write

        write(found, html)
    if as_json:
        last = [row for row in found.attention if row.query == len(found.tokens) - 1]
        print(json.dumps(dataclasses.replace(found, attention=tuple(last)).to_dict()))  # noqa: T201
        return
    from mnemoscope.cli.look_screen import screen

    screen(found, top=top, page=html)


def _ids(text: str) -> list[int]:
    try:
        return [int(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise OptionError("--ids reads whole numbers", found=repr(text[:60]), allowed="'1 403 407'") from error


def _id(text: str | None) -> int | None:
    if text is None:
        return None
    found = _ids(text)
    if len(found) != 1:
        raise OptionError("--ids reads one id as token or foil", found=repr(text[:60]), allowed="'403'")
    return found[0]
