"""The items that transplants, ablations and sharpened attention are made on, each under all its conditions (B7.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnemoscope.data.prompt import Prompt
from mnemoscope.measures.prompt_groups import groups
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.icl.asked import prompts
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design, design_of

ITEMS = {"trained": 64, "reinitialised": 12}  # by default
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One prompt of an item under every condition."""

    key: Mapping[str, Any]  # item, unit, draw
    under: Mapping[str, Prompt]


def items_of(config: Config, lm: LM, args: Mapping[str, Any]) -> tuple[Design, tuple[Item, ...]]:
    """The design of a task, and its items: one draw of each, as many as ITEMS (thorough: all draws), evenly over the task's."""
    every = prompts(config, lm, args["task"], args["preset"])
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


def place_of(job: Job) -> dict[str, str]:
    """The columns that all tables of this part begin with."""
    return {"copy": job.args["copy"], "task": job.args["task"]}


def part(job: Job) -> slice:
    """Which of its task's items, or of what belongs to them, a job takes."""
    return slice(job.args["first"], job.args["last"])
