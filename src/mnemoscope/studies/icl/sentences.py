"""What the icl study found, in sentences that need no other table: answers, what changes inside, what causes the answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mnemoscope.stats.clusters import AGREE
from mnemoscope.stats.proportion import exact
from mnemoscope.studies.icl.alignment_summary import BEYOND
from mnemoscope.studies.icl.behaviour_summary import INTERACTION
from mnemoscope.studies.icl.config import PRIMARY, READ
from mnemoscope.studies.icl.design import DESIGNS, EXAMPLE, NEUTRAL, OUTPUT, PERSONAS, SHUFFLED, useless
from mnemoscope.studies.icl.frames import Task

Tables = Mapping[str, pl.DataFrame]
CONDITIONS = {
    "none": "without an example",
    "example": "behind a solved example",
    SHUFFLED: "behind an example with a shuffled answer",
    NEUTRAL: "behind neutral text as long as the example",
}
OF_LINES = {
    **{f"k{k}": f"with {k} points" for k in (2, 4, 8)},
    SHUFFLED: "with 8 points whose y are shuffled",
    NEUTRAL: "with 2 points behind neutral text as long as 8 points",
}
OF_PERSONAS: Mapping[str, str] = dict(
    zip(
        PERSONAS,
        ("without a persona", "told to be truthful", "told to be truthful, then to deceive", "told to deceive"),
        strict=True,
    )
)
SHARES = ("right", "content")


def row(table: pl.DataFrame | None, **where: Any) -> dict[str, Any] | None:
    """The one row with these values; None where there is none, or several."""
    if table is None:
        return None
    found = table.filter(*(pl.col(name) == value for name, value in where.items()))
    return found.row(0, named=True) if found.height == 1 else None


def number(one: Mapping[str, Any], *, share: bool = False, sign: bool = False) -> str:
    """Estimate and interval; in percent if a share."""
    values = [one[name] for name in ("estimate", "low", "high")]
    if math.isnan(values[0]):
        return f"undefined ({one['reason']})"
    form, times, unit = ("{:.0f}", 100, "%") if share else ("{:.2f}", 1, "")
    form = form.replace(":", ":+") if sign else form
    middle, low, high = (_unsigned_zero(form.format(times * v)) for v in values)
    return f"{middle}{unit} (no interval)" if math.isnan(values[1]) else f"{middle}{unit} [{low}, {high}]"


def _unsigned_zero(text: str) -> str:
    """Numbers that are 0 as far as they are shown have no minus."""
    return text.removeprefix("-") if float(text) == 0 else text


def condition(task: Task, name: str) -> str:
    """A condition in words."""
    if task.name == "lines":
        return OF_LINES.get(name, name)
    persona, _, more = name.partition("+")
    if task.name == "persona":
        return OF_PERSONAS.get(persona, persona) + (", behind an example" if more else "")
    return CONDITIONS.get(name, f"under {name!r}")


def answered(task: Task, table: pl.DataFrame) -> list[str]:
    """How the task was answered under every condition."""
    measure = "error" if task.name == "lines" else "content" if task.name == "persona" else "right"
    place = {"copy": "trained", "task": task.name, "measure": measure, "versus": ""}
    design = task.design
    order = dict.fromkeys((*((design.before, design.after) if task.name != "persona" else ()), *design.conditions))
    rows = {c: found for c in order if (found := row(table, condition=c, **place)) is not None}
    if not rows:
        return []
    unread = {c: row(table, condition=c, **{**place, "measure": "parse failure"}) for c in rows}
    said = "; ".join(f"{_said(one, measure, unread[c])} {condition(task, c)}" for c, one in rows.items())
    what = {
        "error": "mean distance of the answer from the true y",
        "content": "answers with the true activity",
        "right": "right answers",
    }[measure]
    named = f"{task.name[0].upper()}{task.name[1:]}"
    text = f"{named}: {what}{_guessing(task, measure, rows)}: {said}; {task.keys.height} prompts each."
    return [text, *_interaction(task, table)]


def _said(one: Mapping[str, Any], measure: str, unread: Mapping[str, Any] | None) -> str:
    """Estimate and interval. Errors that all agree have no spread to make an interval of: the number of lines that might differ.

    The table's interval there is that share of lines times the largest error there can be: a bound for the worst case, which
    beside intervals of errors that were made looks like one of them.
    """
    if measure != "error":
        return number(one, share=measure in SHARES)
    share = 0.0 if unread is None else unread["estimate"]
    if share == 1:
        return f"no number in any of {one['n']} prompts, counted as the largest error, {one['estimate']:.2f},"
    more = f" ({share:.0%} are no numbers, counted as the largest error)" if share > 0 else ""
    if one["method"] != AGREE:
        return f"{number(one)}{more}"
    most = exact(0, one["n_units"]).high
    return f"{one['estimate']:.2f} in all {one['n']} prompts (95%: of such lines at most {most:.0%} would differ){more}"


def _guessing(task: Task, measure: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What answers without knowledge are worth; of lines before and after, since more points have another mean."""
    known = {c: one["chance"] for c, one in rows.items() if not math.isnan(one["chance"])}
    if not known:
        return ""
    if measure != "error":
        return f" (guessing: {next(iter(known.values())):.0%})"
    ends = [c for c in (task.design.before, task.design.after) if c in known]
    said = ", ".join(f"{known[c]:.2f} {condition(task, c)}" for c in ends)
    return f" (answering the mean of the shown y: {said})"


def not_used(tasks: Sequence[Task], left_out: pl.DataFrame | None) -> list[str]:
    """What of the user's file was not asked, and labels that say nothing about which items are alike."""
    found: list[str] = []
    if left_out is not None and left_out.height:
        reasons = left_out.group_by("reason").len().sort("len", "reason", descending=[True, False])
        told = "; ".join(f"{reason} ({n})" for reason, n in reasons.rows())
        found.append(f"Left out, each named in the table icl_left_out: {told}.")
    for task in tasks:
        unfit = {} if task.name in DESIGNS else useless([one for c in task.design.conditions for one in task.labels[c]])
        if told := "; ".join(f"{label} ({why})" for label, why in unfit.items() if label != OUTPUT):
            found.append(f"Labels of {task.name} that make no groups of items, and are not read: {told}.")
    return found


def _interaction(task: Task, table: pl.DataFrame) -> list[str]:
    """What an example adds under a deceitful persona beyond what it adds without one."""
    where = {"copy": "trained", "task": task.name, "measure": "content"}
    found = row(table, **where, condition=f"deceitful{EXAMPLE}", versus=f"deceitful{INTERACTION}")
    if found is None:
        return []
    return [
        "Persona: what an example adds to the share of true answers under a deceitful persona, minus what it adds without one: "
        f"{number(found, share=True, sign=True)} (interaction, in points)."
    ]


def inside(task: Task, tables: Tables, verdicts: Mapping[str, str]) -> list[str]:
    """What changes inside from before to after, beside the re-initialised copy; which of these are claims that hold."""
    design = task.design
    place = {"copy": "trained", "task": task.name, "condition": design.after}
    similar = {"tokens": PRIMARY[0], "pooling": PRIMARY[1], "distance": "cosine", "kind": "partial", "layer": -1}
    read = {"tokens": READ[0][0], "pooling": READ[0][1], "labels": "task", "layer": -1}
    asked = [
        (f"similarity of prompts with the same {h.name}", "icl_alignment", {**similar, "hypothesis": h.name})
        for h in design.hypotheses
        if h.name not in ("both", "line")
    ]
    asked += [(f"a probe of {t.name}", "icl_probes", {**read, "target": t.name}) for t in design.targets]
    asked.append(("log attention to the relevant sentence over the others", "icl_ratios", {"layer": -1, "head": -1}))
    parts: list[str] = []
    for what, name, where in asked:
        found = row(tables.get(name), **place, **where, versus=design.before)
        beyond = row(tables.get(name), **place, **where, versus=f"{design.before}{BEYOND}")
        if found is not None:
            more = "" if beyond is None else f" ({number(beyond, sign=True)})"
            parts.append(f"{what} {number(found, sign=True)}{more}")
    if not parts:
        return []
    held = [
        name for name, word in verdicts.items() if word == "supported" and name.startswith(("C3.2", "C3.3", "C3.4"))
    ]
    held = [name.partition(" ")[2].rpartition(" (")[0] for name in held if name.endswith(f"({task.name})")]
    end = (
        f"More than neutral text and a re-initialised copy do: {', '.join(held)}"
        if held
        else "None exceeds all controls"
    )
    return [
        f"Inside, {condition(task, design.after)} against {condition(task, design.before)} ({task.name}; in brackets: beyond "
        "the same change in a re-initialised copy): "
        f"{'; '.join(parts)}. {end}."
    ]
