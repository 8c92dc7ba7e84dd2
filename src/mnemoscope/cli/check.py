"""`mnemoscope check MODEL`: what can be measured on this model, proven on its own weights."""

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console

from mnemoscope.cli import options
from mnemoscope.errors import OptionError
from mnemoscope.results.look import finite


def check(
    model: Annotated[str, typer.Argument(help="A hub id, a local folder, or 'reference'.", metavar="[MODEL]")] = "",
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    bos: options.Bos = "auto",
    allow_pickle: options.AllowPickle = False,
    trust_remote_code: options.TrustRemoteCode = False,
    all_classes: Annotated[bool, typer.Option("--all-classes", help="A tiny model of every decoder class.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Prove the identities that every number rests on, and say which capabilities a model has.

    Example: [cyan]mnemoscope check gpt2[/cyan]
    """
    if all_classes:
        from mnemoscope.engine.walk import models_page

        print(models_page(), end="")  # noqa: T201
        return
    if not model:
        raise OptionError("check needs a model", allowed="a hub id, a local folder, 'reference', or --all-classes")
    from mnemoscope.engine.check import check as prove

    with options.waiting(f"checking {model}"):
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
        report = prove(lm)
    if as_json:
        lines = [dataclasses.asdict(line) | {"ok": line.ok} for line in report.lines]
        found = dataclasses.asdict(report) | {"ok": report.ok, "lines": lines}
        print(json.dumps(finite(found)))  # noqa: T201
    else:
        Console(highlight=False, markup=False, soft_wrap=True).print(report.table())
    if not report.ok:
        raise typer.Exit(2)
