"""The prompts of a run: every task under every condition, for the model and its control copy, in the order that jobs count them."""

from dataclasses import asdict
from math import isnan

import numpy as np

from mnemoscope.data.lines import PRESETS, read
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import choose
from mnemoscope.measures.answering import answered
from mnemoscope.measures.prompt_groups import groups
from mnemoscope.model.batch import tokenize
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.results.job import canonical
from mnemoscope.studies.icl import own_tasks, tasks
from mnemoscope.studies.icl.config import LINE_PRESETS, Config
from mnemoscope.studies.icl.design import design_of

TRIED = 32  # prompts on which a model shows whether it can read decimals
CONTROL_TASKS = ("lines", "passages")  # of the re-initialised copy; a user's own task always


def names(config: Config, lm: LM) -> tuple[str, ...]:
    """Tasks of this run: the built-in ones, or those of the user's file."""
    return config.tasks if config.data is None else tuple(own_of(config, lm).tasks)


def prompts(config: Config, lm: LM, task: str, preset: str = "", *, copy: str = "trained") -> tuple[Prompt, ...]:
    """All prompts of a task, in the order that jobs count them; the same whenever they are asked for.

    The control copy is asked before and after only, and not at all in tasks that no claim about insides rests on.
    """

    def find() -> tuple[Prompt, ...]:
        if config.data is not None:
            return own_of(config, lm).tasks[task]
        return tasks.asked(config, task, lambda text: length(lm, text), preset=preset or "decimals")

    every = lm.once(f"icl prompts {task} {preset} {canonical(asdict(config))}", find)
    if copy == "trained":
        return every
    if config.data is None and task not in CONTROL_TASKS:
        return ()
    design = design_of(task, [p.labels for p in every])
    return tuple(p for p in every if p.labels["condition"] in (design.before, design.after))


def length(lm: LM, text: str) -> int:
    """Tokens of a text."""
    return len(encode(lm.tokenizer, text, lm.bos).ids)


def line_preset(config: Config, lm: LM) -> str:
    """The preset of the line task. "auto": decimals, unless the model beats the mean y on small integers and not on decimals.

    Judged on 32 prompts with 8 points: mean error of the greedy answer against that of answering the mean shown y.
    """
    if choose("line preset", config.lines, LINE_PRESETS) != "auto":
        return config.lines
    return lm.once(f"icl line preset {config.seed}", lambda: _tried(config, lm))


def _tried(config: Config, lm: LM) -> str:
    if _reads(config, lm, "decimals") or not _reads(config, lm, "small_integers"):
        return "decimals"
    return "small_integers"


def _reads(config: Config, lm: LM, preset: str) -> bool:
    own = tasks.asked(config, "lines", lambda text: length(lm, text), preset=preset)
    own = [p for p in own if p.labels["condition"] == "k8"][:: max(1, len(own) // 5 // TRIED)][:TRIED]
    said = [read(one.said) for one in answered(lm, own, candidates=False)]
    true = np.array([float(p.labels["y"]) for p in own])
    mean = np.abs(np.array([float(p.labels["mean_y"]) for p in own]) - true)
    most = PRESETS[preset].span
    errors = [most if isnan(y) else min(abs(y - t), most) for y, t in zip(said, true, strict=True)]
    return float(np.mean(errors)) < float(mean.mean())


def own_of(config: Config, lm: LM) -> own_tasks.Own:
    """The user's tasks, whose groups of tokens are known to be whole: refused here, before anything runs."""

    def find() -> own_tasks.Own:
        found = own_tasks.users(config, lambda text: length(lm, text))
        for every in found.tasks.values():
            groups(lm, tokenize(lm, every))
        return found

    return lm.once(f"icl user tasks {canonical(asdict(config))}", find)


def slug(task: str) -> str:
    """A task's name in the names of jobs."""
    return "".join(c if c.isalnum() or c in "._=+-" else "-" for c in task)[:40]
