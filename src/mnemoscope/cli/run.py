"""`mnemoscope run STUDY MODEL`: a study, as a run folder that can be resumed, and its report."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mnemoscope.axes import STUDIES
from mnemoscope.cli import options
from mnemoscope.data.jsonl import EXAMPLE, EXAMPLE_TRIPLE
from mnemoscope.errors import OptionError, RunFolderError, choose


def run(
    study: Annotated[str, typer.Argument(help="heads, emergence, recall, icl or all.", metavar="STUDY")],
    model: options.Model,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/STUDY-MODEL-HASH.")] = None,
    data: Annotated[str | None, typer.Option(help="Your own texts or prompts; see the lines above.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many documents or prompts.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random follows from it.")] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Published sizes instead of quick ones.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; do not resume.")] = False,
    budget: Annotated[str | None, typer.Option(help="Memory for one chunk of a sweep (1GiB).")] = None,
    revision: options.Revision = None,
    revisions: Annotated[
        str | None,
        typer.Option(
            help="Checkpoints for emergence: step{0,1,2,4,...,512}, a list, 'step*', a folder, pythia or olmo-2 (pythia:20), "
            "MODEL@... for other training seeds; default: all there are, thinned."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep downloaded checkpoints (else they go when done).")] = False,
    ray: Annotated[str | None, typer.Option(help="Work the jobs off on Ray: 'auto' or an address.")] = None,
    dtype: options.Dtype = "auto",
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    bos: options.Bos = "auto",
    allow_pickle: options.AllowPickle = False,
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Run a study: tables, a verdict on each published claim, and a page to look at.

    Killed at any moment and started again, the same command goes on where it stopped.

    Examples:

    [cyan]mnemoscope run all reference[/cyan]                                  every study on the bundled model

    [cyan]mnemoscope run heads gpt2 --limit 20[/cyan]                          fewer documents, sooner

    [cyan]mnemoscope run recall ./my-model --data facts.jsonl[/cyan]           your own prompts

    [cyan]mnemoscope run emergence EleutherAI/pythia-160m --revisions pythia:20[/cyan]

    Lines of your own data (JSON lines): prompts, of which only text is needed, with spans by role as words or as
    character ranges; or documents with triples:
    """
    choose("study", study, (*STUDIES, "all"))
    if lacking := absent() if study == "all" else tuple(set(absent()) & {study}):
        there = [name for name in STUDIES if name not in absent()]
        raise OptionError(f"this installation lacks the studies {', '.join(lacking)}", allowed=", ".join(there))
    refuse_below_file(out)
    asked = {
        "data": data,
        "limit": limit,
        "seed": seed,
        "thorough": thorough,
        "budget": budget,
        "revisions": revisions,
        "keep": keep,
    }
    loading = {
        "revision": revision,
        "dtype": None if dtype == "auto" else dtype,
        "device": device,
        "device_map": device_map,
        "bos": bos,
        "allow_pickle": allow_pickle or None,
        "trust_remote_code": trust_remote_code or None,
    }
    given = {name: value for name, value in {**asked, **loading}.items() if value not in (None, False)}
    finish(study, model, out=out, fresh=fresh, ray=ray, as_json=as_json, **given)


def refuse_below_file(out: Path | None) -> None:
    """Raise for a run folder that could never be made, before a model is loaded for it."""
    blocking = next(
        (path for path in ([out, *out.parents] if out else []) if path.exists() and not path.is_dir()), None
    )
    if blocking is not None:
        raise RunFolderError(
            f"cannot make the run folder {out}",
            found=f"{blocking} is no folder",
            allowed="a new or an old run folder",
            hint="--out",
        )


def absent() -> tuple[str, ...]:
    """Studies of the command line that this installation does not hold."""
    return tuple(name for name in STUDIES if not _there(f"mnemoscope.studies.{name}"))


def _there(package: str) -> bool:
    try:
        return find_spec(f"{package}.summarise") is not None
    except ModuleNotFoundError:
        return False


def finish(study: str, model: Any, *, as_json: bool, **options: Any) -> None:
    """Run to the end, build the page and print the headlines; failed jobs are said after what could be had."""
    from transformers.utils import logging

    from mnemoscope.cli.show import headlines
    from mnemoscope.runner import run as start

    logging.disable_progress_bar()  # ours says how far the run is
    console = Console(stderr=True, highlight=False)
    if isinstance(model, str):
        console.print(f"loading {model}", style="dim", markup=False)
    result = start(study, model, **options)
    console.print("making the page", style="dim")
    page = result.report()
    headlines(result.path, as_json=as_json, page=page, brief=study == "all")


LINES = "\n\n".join(f"    [green]{line.replace('[', chr(92) + '[')}[/green]" for line in (EXAMPLE, EXAMPLE_TRIPLE))
run.__doc__ = f"{run.__doc__}\n{LINES}\n"
