"""Claims about links per item: the ratio and right answers (C3.5), change inside and change of the answer (C3.6). No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mnemoscope.results.schema.icl_cause import ADJUSTED, STRATA
from mnemoscope.stats.verdict import Rule, verdict
from mnemoscope.studies.icl.cause_rows import Claimed, estimate_of, sentence
from mnemoscope.studies.icl.config import BRIEF
from mnemoscope.studies.icl.frames import Task
from mnemoscope.studies.icl.link_summary import OVER

SOUGHT = 0.1
LINKED = Rule(
    text="slope of the change in log probability of the right answer on the change inside (before to after examples), means of "
    "items and of conditions taken out, both in standard deviations, item-cluster bootstrap: above .1",
    sesoi=SOUGHT,
)
PREDICTS = Rule(
    text="point-biserial correlation of the excess log attention ratio (mean over heads and layers) with right or wrong, over "
    "prompts before and after examples, within condition and format, item bootstrap: above .1",
    sesoi=SOUGHT,
)


def link_claims(tables: Mapping[str, pl.DataFrame], tasks: Sequence[Task], gains: Mapping[str, str]) -> list[Claimed]:
    """C3.5 (ratio and accuracy) and C3.6 (change and change), per task."""
    table = tables["icl_links"].filter(pl.col("layer") == OVER)
    claims: list[Claimed] = []
    for task in tasks:
        own = table.filter(pl.col("task") == task.name)
        if task.name in BRIEF:
            continue
        claims += [_predicts(row) for row in own.filter(pl.col("within") == STRATA).iter_rows(named=True)]
        changed = own.filter(
            (pl.col("within") == ADJUSTED[1])
            & (pl.col("behaviour") == "logprob")
            & ~pl.col("about").is_in(["both", "line"])  # as in C3.2: averages and finer versions of the others
        )
        claims += [_goes_with(row, own, gains[task.name]) for row in changed.iter_rows(named=True)]
    return sorted(claims, key=lambda one: one.name)


def _predicts(row: Mapping[str, Any]) -> Claimed:
    name = f"C3.5 the attention ratio predicts right answers ({row['task']})"
    found = estimate_of(row)
    judged = verdict(found, PREDICTS)
    text = sentence(name, judged, found, "(correlation within condition and format)")
    return Claimed(name=name, found=found, judged=judged, rule=PREDICTS, evidence="icl_links", text=text)


def _goes_with(row: Mapping[str, Any], own: pl.DataFrame, obstacle: str) -> Claimed:
    name = f"C3.6 change in {row['inside']} ({row['about']}) goes with change in the answer ({row['task']})"
    found = estimate_of(row)
    judged = verdict(found, LINKED, precondition=obstacle)
    loose = own.filter(
        (pl.col("within") == ADJUSTED[0])
        & (pl.col("behaviour") == "logprob")
        & (pl.col("inside") == row["inside"])
        & (pl.col("about") == row["about"])
    )
    more = f"with the conditions' means left in {loose['estimate'][0]:.2g}" if loose.height else ""
    text = sentence(name, judged, found, "standard deviations per standard deviation", more)
    return Claimed(name=name, found=found, judged=judged, rule=LINKED, evidence="icl_links", text=text)
