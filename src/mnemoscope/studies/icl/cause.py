"""The causal part of the icl study: transplants, ablations, sharpened attention (B7.6). Its jobs, and what does them.

Every job takes items of one task, each under its conditions. Transplants: all tasks with examples before and after. Ablations and
sharpening: tasks whose prompts have a relevant sentence among others. The control copy does the same on fewer items.
"""

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.icl.asked import line_preset, names, slug
from mnemoscope.studies.icl.cause_heads import ablations
from mnemoscope.studies.icl.cause_items import items_of, sentences_in
from mnemoscope.studies.icl.cause_sharpening import sharpening
from mnemoscope.studies.icl.cause_transplant import transplants
from mnemoscope.studies.icl.config import Config

WORK: Final[Mapping[str, Callable[..., dict[str, pl.DataFrame]]]] = {
    "transplant": transplants,
    "ablation": ablations,
    "sharpening": sharpening,
}
KINDS = tuple(WORK)
TASKS = ("lines", "passages")  # of the built-in ones
SLICE = 24  # items of one job of transplants; heads are chosen and judged on all items in one job


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Jobs of the causal part; `args["kind"]` is one of KINDS."""
    if lm.tokenizer is None:
        return ()
    made: list[Job] = []
    for task in names(config, lm):
        if config.data is None and task not in TASKS:
            continue
        preset = line_preset(config, lm) if task == "lines" else ""
        for copy in ("trained", "reinitialised"):
            args = {"copy": copy, "task": task, "preset": preset}
            design, items = items_of(config, lm, args)
            for first in range(0, len(items), SLICE):
                cut = {"first": first, "last": min(first + SLICE, len(items))}
                made.append(
                    Job(id=f"transplant-{copy}-{slug(task)}-{first:05d}", args={"kind": "transplant", **args, **cut})
                )
            kinds = KINDS[1:] if sentences_in(lm, design, items) else ()
            made += [Job(id=f"{kind}-{copy}-{slug(task)}", args={"kind": kind, **args}) for kind in kinds]
    return tuple(made)


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one of them. Prompts are always counted on the run's own model."""
    design, items = items_of(config, models(), job.args)
    lm = models("reinitialised") if job.args["copy"] == "reinitialised" else models()
    return WORK[job.args["kind"]](job, config, lm, design, items[job.args.get("first", 0) : job.args.get("last")])
