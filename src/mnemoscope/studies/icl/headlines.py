"""The study in sentences with numbers: how each task was answered, then every claim beside its control. No torch."""

from collections.abc import Mapping, Sequence

import polars as pl

from mnemoscope.results.schema.shared import HEADLINES
from mnemoscope.stats.estimate import Estimate
from mnemoscope.studies.icl.claims import Claim, looked_up
from mnemoscope.studies.icl.design import Design
from mnemoscope.studies.icl.frames import Task


def headlines(
    tasks: Sequence[Task],
    claims: Sequence[Claim],
    tables: Mapping[str, pl.DataFrame],
    more: Sequence[str],
) -> pl.DataFrame:
    """Sentences with numbers: behaviour of each task first, then every claim with its control, then the causal part."""
    texts = [text for task in tasks for text in _behaved(task, tables["icl_behaviour"])]
    texts += [_said(claim) for claim in claims]
    texts += more
    return pl.DataFrame({"order": range(len(texts)), "text": texts}, schema=HEADLINES.schema)


def _behaved(task: Task, table: pl.DataFrame) -> list[str]:
    design: Design = task.design
    measure = "error" if task.name == "lines" else "content" if task.name == "persona" else "right"
    words = {"error": "mean |error|", "content": "true content", "right": "right answers"}[measure]
    place = {"copy": "trained", "task": task.name, "measure": measure}
    conditions = (
        design.conditions
        if task.name == "persona"
        else tuple(dict.fromkeys((design.before, design.after, *design.conditions)))
    )
    parts = [f"{c} {_number(looked_up(table, condition=c, versus='', **place))}" for c in conditions]
    if not parts:
        return []
    chance = table.filter(*(pl.col(n) == v for n, v in place.items()), pl.col("versus") == "")["chance"]
    known = [x for x in chance.to_list() if x == x]
    versus = f" (without reading {known[0]:.3g})" if known else ""
    return [f"{task.name}: {words}, {'; '.join(parts)}{versus}; {task.keys.height} prompts each."]


def _number(one: Estimate) -> str:
    return f"{one.estimate:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _said(claim: Claim) -> str:
    judged = claim.judged()
    if judged.verdict == "not testable":
        return f"{claim.name}: not testable ({judged.reason})."
    parts = "; ".join(f"{_number(part.found)} against {part.against}" for part in claim.parts)
    control = claim.parts[0].control
    other = (
        f"; re-initialised copy {control.estimate:.3g}"
        if control is not None and control.estimate == control.estimate
        else ""
    )
    return f"{claim.name}: {judged.verdict}, {parts}{other}."
