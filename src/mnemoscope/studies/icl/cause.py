"""The causal part of the icl study: transplants, ablations, sharpened attention (B7.6). Its jobs, and what does them.

Every job takes some items of one task, each under its conditions; what needs all of them (which heads, their means) is found
once, and is the same in all jobs (`cause_selection`). Transplants: all tasks with examples before and after. Ablations and
sharpening: tasks whose prompts have a relevant sentence among others. The control copy does the same on fewer items.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from mnemoscope.measures.sharpening import GAINS
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.schema.icl_cause import PLACES, SENTENCES, SOURCES
from mnemoscope.studies.icl.asked import length, line_preset, names, slug
from mnemoscope.studies.icl.cause_heads import ablations
from mnemoscope.studies.icl.cause_items import Item, items_of, sentences_in
from mnemoscope.studies.icl.cause_selection import RANDOM_SETS
from mnemoscope.studies.icl.cause_sharpening import sharpening
from mnemoscope.studies.icl.cause_transplant import transplants
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design

WORK: Final[Mapping[str, Callable[..., dict[str, pl.DataFrame]]]] = {
    "transplant": transplants,
    "ablation": ablations,
    "sharpening": sharpening,
}
KINDS = tuple(WORK)
TASKS = ("lines", "passages")  # of the built-in ones
MINUTE = 4e12  # tokens times (parameters + OVERHEAD) of patched runs: about a minute of two processor cores
OVERHEAD = 2.5e6  # parameters whose arithmetic takes as long as all the rest that is done for a token
FEWEST, MOST = 4, 64  # items of one job


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
            for kind in KINDS if sentences_in(lm, design, items) else KINDS[:1]:
                size = items_per_job(lm, kind, design, items)
                for first in range(0, len(items), size):
                    cut = {"first": first, "last": min(first + size, len(items))}
                    made.append(Job(id=f"{kind}-{copy}-{slug(task)}-{first:05d}", args={"kind": kind, **args, **cut}))
    return tuple(made)


def items_per_job(lm: LM, kind: str, design: Design, items: Sequence[Item]) -> int:
    """Items of one job, by the work that an item is on this model; from FEWEST to MOST.

    work = runs x tokens x (parameters + OVERHEAD); runs: patched ones of an item, at most; tokens: of its longer run. Below
    FEWEST a job's own checks would cost as much as what it is for.
    """
    heads = sum(shape.n_heads for shape in lm.shapes if shape is not None)
    runs = {
        "transplant": len(SOURCES) * len(PLACES) * lm.n_layers,
        "ablation": 2 * (RANDOM_SETS + 3) + heads,
        "sharpening": 2 * lm.n_layers * 2 * len(SENTENCES) * len(GAINS),
    }
    tokens = max(length(lm, items[0].under[condition].text) for condition in (design.before, design.after))
    work = runs[kind] * tokens * (sum(p.numel() for p in lm.model.parameters()) + OVERHEAD)
    return int(min(max(MINUTE / work, FEWEST), MOST))


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one of them. Prompts are always counted on the run's own model."""
    design, items = items_of(config, models(), job.args)
    lm = models("reinitialised") if job.args["copy"] == "reinitialised" else models()
    return WORK[job.args["kind"]](job, config, lm, design, items)
