"""Behaviour per condition, and its paired change between conditions of the same prompts. No torch."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema.icl import BEHAVIOUR
from mnemoscope.stats.clusters import bounded_mean, clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.studies.icl.design import EXAMPLE, PERSONAS
from mnemoscope.studies.icl.frames import Task

COLUMNS = {
    "right": "right",
    "content": "content",
    "error": "error",
    "parse failure": "unread",
    "logprob": "logprob",
    "margin": "margin",
}
SHARES = ("right", "content", "parse failure")
INTERACTION = ", beyond the same without a persona"  # behind the persona in `versus`


def behaviour(tasks: tuple[Task, ...]) -> pl.DataFrame:
    """icl_behaviour: every measure that a task has."""
    rows: list[dict[str, Any]] = []
    for task in tasks:
        for copy in task.copies():
            for measure in COLUMNS:
                every = {c: task.measured(copy, c, COLUMNS[measure]) for c in task.design.conditions}
                values = {
                    c: v for c, v in every.items() if not np.isnan(v).all()
                }  # the control is not asked everything
                place = {"copy": copy, "task": task.name, "measure": measure}
                for condition, own in values.items():
                    chance = _chance(task, measure, condition)
                    rows.append(
                        {**place, "condition": condition, "versus": "", "chance": chance}
                        | cells(estimated(task, measure, own))
                    )
                for condition, versus in task.design.contrasts:
                    if not {condition, versus} <= set(values):
                        continue
                    found = change(task, copy, measure, condition, versus)
                    rows.append({**place, "condition": condition, "versus": versus, "chance": math.nan} | cells(found))
                rows += _interactions(task, measure, values, place)
    return pl.DataFrame(rows, schema=BEHAVIOUR.schema)


def _interactions(
    task: Task, measure: str, said: Mapping[str, Float[np.ndarray, " prompt"]], place: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What an example changes under a persona minus what it changes without one, prompt by prompt (C3.7)."""
    for persona in PERSONAS[1:] if task.name == "persona" else ():
        if {persona, f"{persona}{EXAMPLE}", PERSONAS[0], f"{PERSONAS[0]}{EXAMPLE}"} <= set(said):
            gain = (said[f"{persona}{EXAMPLE}"] - said[persona]) - (said[f"{PERSONAS[0]}{EXAMPLE}"] - said[PERSONAS[0]])
            found = estimated(task, measure, gain, differences=2)
            named = {"condition": f"{persona}{EXAMPLE}", "versus": f"{persona}{INTERACTION}", "chance": math.nan}
            yield {**place, **named, **cells(found)}


def change(task: Task, copy: str, measure: str, condition: str, versus: str) -> Estimate:
    """Paired change of a measure from `versus` to `condition`, over units."""
    column = COLUMNS[measure]
    return estimated(
        task, measure, task.measured(copy, condition, column) - task.measured(copy, versus, column), differences=1
    )


def estimated(task: Task, measure: str, values: Float[np.ndarray, " prompt"], *, differences: int = 0) -> Estimate:
    """Mean over prompts, clustered by the task's unit. Shares and errors know their limits: all right is not certainty.

    `differences`: how many differences the values are: 1 a change, 2 a difference of changes.
    """
    there = ~np.isnan(values)
    if not there.any():
        return undefined("no prompt has this measure", method="mean")
    most = _most(task, measure)
    if math.isnan(most):
        return clustered_mean(values[there], task.units[there])
    limits = (-differences * most, differences * most) if differences else (0.0, most)
    return bounded_mean(values[there], task.units[there], limits=limits)


def _most(task: Task, measure: str) -> float:
    """Largest value of a measure that has one: of a share 1, of an error on lines where it is clipped."""
    if measure in SHARES:
        return 1.0
    return float(task.label("span").max()) if measure == "error" and task.name == "lines" else math.nan


def cells(found: Estimate) -> dict[str, Any]:
    """The columns of an estimate."""
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "n": found.n,
        "n_units": found.n_units,
        "method": found.method,
        "reason": found.reason,
    }


def _chance(task: Task, measure: str, condition: str) -> float:
    """Content: a random sentence of the passage; error: answering the mean of the shown y; else nan."""
    if measure == "content" and task.name in ("passages", "persona"):
        return float(np.mean([1 / (1 + one["distractors"]) for one in task.labels[condition]]))
    if measure == "error" and task.name == "lines":
        mean, true = (task.label(name, condition).astype(float) for name in ("mean_y", "y"))
        return float(np.abs(mean - true).mean())
    return math.nan
