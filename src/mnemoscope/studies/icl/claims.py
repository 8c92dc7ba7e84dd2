"""The claims of methods P3.9 that rest on what was observed: rules fixed beforehand, and verdicts. No torch.

A claim about examples has two parts, both needed: against the same prompts without an example, and against the same prompts
behind neutral text of the example's length, because length alone changes pooled vectors and attention. Layers are not
chosen: similarity and probes are averaged over the upper half of the layers, attention ratios over all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import Rule
from mnemoscope.studies.claim_row import claim_row
from mnemoscope.studies.icl.alignment_summary import BEYOND
from mnemoscope.studies.icl.claim_rules import ALIGNMENT, ANSWERS, LINE_ERROR, PROBE, RATIO, Claim, Part, looked_up
from mnemoscope.studies.icl.config import PRIMARY, READ
from mnemoscope.studies.icl.design import NEUTRAL, SHUFFLED
from mnemoscope.studies.icl.frames import Task
from mnemoscope.studies.icl.persona_claims import persona_claims


def claims_of(tasks: Sequence[Task], tables: Mapping[str, pl.DataFrame]) -> tuple[Claim, ...]:
    """Every claim that the run's tasks can speak to, in order of number."""
    found: list[Claim] = []
    for task in tasks:
        if task.name == "persona":
            found += persona_claims(task, tables)
        elif task.name != "simple":
            found += [
                _answers(task, tables),
                *_similarity(task, tables),
                *_decoded(task, tables),
                *_ratio(task, tables),
            ]
    return tuple(sorted(found, key=lambda claim: claim.name))


def _answers(task: Task, tables: Mapping[str, pl.DataFrame]) -> Claim:
    """C3.1 of lines; C3.0 of all other tasks."""
    if task.name == "lines":
        return _line_error(task, tables)
    name = f"C3.0 examples improve answers ({task.name})"
    return _paired(name, ANSWERS, task, tables, "icl_behaviour", measure="right")


def _decoded(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.3, a claim per target."""
    read = {"labels": "task", "tokens": READ[0][0], "pooling": READ[0][1], "layer": -1}
    return [
        _paired(
            f"C3.3 {target.name} is decoded better ({task.name})",
            PROBE,
            task,
            tables,
            "icl_probes",
            target=target.name,
            **read,
        )
        for target in task.design.targets
    ]


def _ratio(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.4, where the prompts tell relevant from other sentences."""
    if "icl_ratios" not in tables or not tables["icl_ratios"].filter(pl.col("task") == task.name).height:
        return []
    name = f"C3.4 attention to what is relevant rises ({task.name})"
    return [_paired(name, RATIO, task, tables, "icl_ratios", layer=-1, head=-1)]


def _similarity(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.2 for lines; the same question about names and activities is a claim of its own."""
    primary = {"distance": "cosine", "kind": "partial", "tokens": PRIMARY[0], "pooling": PRIMARY[1], "layer": -1}
    return [
        _paired(
            f"C3.2 similarity follows the {hypothesis.name} more ({task.name})",
            ALIGNMENT,
            task,
            tables,
            "icl_alignment",
            hypothesis=hypothesis.name,
            **primary,
        )
        for hypothesis in task.design.hypotheses
        if hypothesis.name not in ("both", "line")
    ]


def _paired(
    name: str, rule: Rule, task: Task, tables: Mapping[str, pl.DataFrame], evidence: str, **where: Any
) -> Claim:
    """After against before, and against the neutral prefix where there is one."""
    design, table = task.design, tables[evidence]
    versus = [design.before, *([NEUTRAL] if (design.after, NEUTRAL) in design.contrasts else [])]
    if evidence != "icl_behaviour":
        versus.append(f"{design.before}{BEYOND}")
    place = {"task": task.name, "condition": design.after, **where}
    parts = [
        Part(
            against=other,
            found=looked_up(table, copy="trained", versus=other, **place),
            control=looked_up(table, copy="reinitialised", versus=other, **place),
        )
        for other in versus
    ]
    return Claim(name=name, rule=rule, parts=tuple(parts), evidence=evidence)


def _line_error(task: Task, tables: Mapping[str, pl.DataFrame]) -> Claim:
    """C3.1, in units of the error of the mean shown y."""
    table = tables["icl_behaviour"]
    own = table.filter((pl.col("task") == task.name) & (pl.col("measure") == "error") & (pl.col("versus") == ""))
    base = float(own.filter((pl.col("condition") == task.design.after) & (pl.col("copy") == "trained"))["chance"][0])
    unread = looked_up(
        table, copy="trained", task=task.name, measure="parse failure", condition=task.design.after, versus=""
    )
    parts = [
        Part(
            against=other,
            found=_scaled(
                looked_up(table, copy="trained", task=task.name, measure="error", condition="k8", versus=other), base
            ),
            control=_scaled(
                looked_up(table, copy="reinitialised", task=task.name, measure="error", condition="k8", versus=other),
                base,
            ),
        )
        for other in ("k2", SHUFFLED)
    ]
    few = f"{unread.estimate:.0%} of the answers behind 8 points are no numbers" if unread.estimate > 0.5 else ""
    return Claim(
        name="C3.1 more points lower the error (lines)",
        rule=LINE_ERROR,
        parts=tuple(parts),
        evidence="icl_behaviour",
        precondition=few,
    )


def _scaled(one: Estimate, by: float) -> Estimate:
    return replace(one, estimate=one.estimate / by, low=one.low / by, high=one.high / by)


def table_of(claims: Sequence[Claim], more: pl.DataFrame | None) -> pl.DataFrame:
    """The claims table, with the rows of the causal part behind."""
    rows: list[dict[str, Any]] = []
    for claim in claims:
        first = claim.parts[0].found if claim.parts else undefined("nothing was measured", method="")
        rows.append(claim_row(claim.name, first, claim.rule, claim.judged(), claim.evidence))
    own = pl.DataFrame(rows, schema=CLAIMS.schema)
    return own if more is None else pl.concat([own, more.select(own.columns)])
