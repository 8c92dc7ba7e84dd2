"""The causal part of the icl study: transplants, ablations, sharpened attention (B7.6). Jobs, and the items that they are about.

Every job takes items of one task, each under its conditions. Transplants: all tasks with examples before and after. Ablations and
sharpening: tasks whose prompts have a relevant sentence among others. The control copy does the same on fewer items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from mnemoscope.data.prompt import Prompt
from mnemoscope.measures.prompt_groups import groups
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.icl import prompts as asked
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design, design_of

KINDS = ("transplant", "ablation", "sharpening")
TASKS = ("lines", "passages")  # of the built-in ones
ITEMS = {"trained": 64, "reinitialised": 12}  # by default
SLICE = 24  # items of one job of transplants; heads are chosen and judged on all items in one job
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One prompt of an item under every condition."""

    key: Mapping[str, Any]  # item, unit, draw
    under: Mapping[str, Prompt]


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Jobs of the causal part; `args["kind"]` is one of KINDS."""
    if lm.tokenizer is None:
        return ()
    made: list[Job] = []
    for task in asked.names(config, lm):
        if config.data is None and task not in TASKS:
            continue
        preset = asked.line_preset(config, lm) if task == "lines" else ""
        for copy in ("trained", "reinitialised"):
            args = {"copy": copy, "task": task, "preset": preset}
            design, items = items_of(config, lm, args)
            for first in range(0, len(items), SLICE):
                cut = {"first": first, "last": min(first + SLICE, len(items))}
                made.append(
                    Job(id=f"transplant-{copy}-{_slug(task)}-{first:05d}", args={"kind": "transplant", **args, **cut})
                )
            kinds = KINDS[1:] if sentences_in(lm, design, items) else ()
            made += [Job(id=f"{kind}-{copy}-{_slug(task)}", args={"kind": kind, **args}) for kind in kinds]
    return tuple(made)


def _slug(task: str) -> str:
    return "".join(c if c.isalnum() or c in "._=+-" else "-" for c in task)[:40]


def items_of(config: Config, lm: LM, args: Mapping[str, Any]) -> tuple[Design, tuple[Item, ...]]:
    """The design of a task, and its items: one draw of each, as many as ITEMS (thorough: all draws), evenly over the task's."""
    every = asked.prompts(config, lm, args["task"], args["preset"])
    design = design_of(args["task"], [prompt.labels for prompt in every])
    by: dict[tuple[str, int], dict[str, Prompt]] = {}
    for prompt in every:
        key = (str(prompt.labels["item"]), int(prompt.labels["draw"]))
        by.setdefault(key, {})[str(prompt.labels["condition"])] = prompt
    found = [_item(design, key, under) for key, under in by.items()]
    seen: set[str] = set()
    first = [item for item in found if config.thorough or not (item.key["item"] in seen or seen.add(item.key["item"]))]
    most = len(first) if config.thorough and args["copy"] == "trained" else ITEMS[args["copy"]]
    step = max(1, -(-len(first) // most))
    return design, tuple(first[::step])


def _item(design: Design, key: tuple[str, int], under: Mapping[str, Prompt]) -> Item:
    unit = str(under[design.before].labels.get(design.unit, key[0]))
    return Item(key={"item": key[0], "unit": unit, "draw": key[1]}, under=under)


def sentences_in(lm: LM, design: Design, items: Sequence[Item]) -> bool:
    """Whether the prompts tell of something relevant among other sentences, in both runs."""
    both = tokenize(lm, [items[0].under[condition] for condition in (design.before, design.after)])
    found = groups(lm, both)
    return all(place >= 0 and len(own) > 1 for place, own in zip(found.place, found.sentences, strict=True))


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one of them. Prompts are always counted on the run's own model."""
    from mnemoscope.studies.icl import cause_heads, cause_sharpening, cause_transplant  # they take the items from here

    design, items = items_of(config, models(), job.args)
    lm = models("reinitialised") if job.args["copy"] == "reinitialised" else models()
    work = {
        "transplant": cause_transplant.transplants,
        "ablation": cause_heads.ablations,
        "sharpening": cause_sharpening.sharpening,
    }
    return work[job.args["kind"]](job, config, lm, design, items[job.args.get("first", 0) : job.args.get("last")])


def place_of(job: Job) -> dict[str, str]:
    """The columns that all tables of this part begin with."""
    return {"copy": job.args["copy"], "task": job.args["task"]}
