"""The claims of methods P3.9 that rest on what was observed: rules fixed beforehand, and verdicts. No torch.

A claim about examples has two parts, both needed: against the same prompts without an example, and against the same prompts
behind neutral text of the example's length, because length alone changes pooled vectors and attention. Layers are not
chosen: similarity and probes are averaged over the upper half of the layers, attention ratios over all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, all_of, verdict
from mnemoscope.studies.icl.alignment_summary import BEYOND
from mnemoscope.studies.icl.behaviour_summary import estimated
from mnemoscope.studies.icl.config import PRIMARY, READ
from mnemoscope.studies.icl.design import NEUTRAL, SHUFFLED
from mnemoscope.studies.icl.frames import Task

BOTH = "against no example and against neutral text as long"
ALL = "against no example, neutral text as long, and the same change of a re-initialised copy"
ANSWERS = Rule(text=f"share of right answers, paired: rises by more than .02 {BOTH}", sesoi=SESOI["probability"])
LINE_ERROR = Rule(
    text="|error| over the error of answering the mean shown y, paired, by line: falls by more than .05 from 2 to 8 points "
    "and from "
    "8 shuffled to 8 true ones; unreadable answers cost the largest error",
    sesoi=0.05,
    side="less",
)
ALIGNMENT = Rule(
    text="partial rank correlation with the hypothesis, max-pooled relevant tokens, mean over the upper half of the layers: "
    "rises by "
    f"more than .05 {ALL}",
    sesoi=SESOI["alignment"],
)
PROBE = Rule(
    text="accuracy or R2 of a probe on the last token, items left out, mean over the upper half of the layers: rises by "
    "more than "
    f".05 {ALL}",
    sesoi=SESOI["probe"],
)
RATIO = Rule(
    text="log attention ratio to the relevant sentence minus its sentence null, mean over heads and layers: rises by more "
    "than .1 "
    f"nats {ALL}",
    sesoi=SESOI["log_ratio"],
)
LIES = Rule(
    text="share of answers with the true content, paired: falls by more than .02 under a deceitful persona, alone and behind the "
    "truthful instruction",
    sesoi=SESOI["probability"],
    side="less",
)
LOOKS_AWAY = Rule(
    text="log attention ratio to the relevant sentence minus its sentence null, mean over heads and layers: falls by more than .1 "
    "nats under a deceitful persona, alone and behind the truthful instruction",
    sesoi=SESOI["log_ratio"],
    side="less",
)
RESTORED = Rule(
    text="share with the true content, (example - none) under a deceitful persona minus the same under the neutral one: "
    "above .02, "
    "alone and behind the truthful instruction",
    sesoi=SESOI["probability"],
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number that a claim rests on, and the same on the re-initialised copy."""

    against: str
    found: Estimate
    control: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim with its parts; the first part's estimate is shown."""

    name: str
    rule: Rule
    parts: tuple[Part, ...]
    evidence: str
    precondition: str = ""

    def judged(self) -> Verdict:
        """All parts are needed."""
        if not self.parts:
            return Verdict(verdict="not testable", reason=self.precondition or "nothing was measured", mde=math.nan)
        if self.precondition:
            return Verdict(verdict="not testable", reason=self.precondition, mde=math.nan)
        return all_of(self._one(part) for part in self.parts)

    def _one(self, part: Part) -> Verdict:
        word = verdict(part.found, self.rule)
        return replace(word, reason=f"against {part.against}: {word.reason}")


def claims_of(tasks: Sequence[Task], tables: Mapping[str, pl.DataFrame]) -> tuple[Claim, ...]:
    """Every claim that the run's tasks can speak to, in order of number."""
    found: list[Claim] = []
    for task in tasks:
        if task.name == "persona":
            found += _persona(task, tables)
            continue
        if task.name == "lines":
            found.append(_line_error(task, tables))
        elif task.name != "simple":
            found.append(
                _paired(
                    f"C3.0 examples improve answers ({task.name})",
                    ANSWERS,
                    task,
                    tables,
                    "icl_behaviour",
                    measure="right",
                )
            )
        if task.name == "simple":
            continue
        found += _similarity(task, tables)
        found += [
            _paired(
                f"C3.3 {target.name} is decoded better ({task.name})",
                PROBE,
                task,
                tables,
                "icl_probes",
                target=target.name,
                labels="task",
                tokens=READ[0][0],
                pooling=READ[0][1],
                layer=-1,
            )
            for target in task.design.targets
        ]
        if "icl_ratios" in tables and tables["icl_ratios"].filter(pl.col("task") == task.name).height:
            found.append(
                _paired(
                    f"C3.4 attention to what is relevant rises ({task.name})",
                    RATIO,
                    task,
                    tables,
                    "icl_ratios",
                    layer=-1,
                    head=-1,
                )
            )
    return tuple(sorted(found, key=lambda claim: claim.name))


def _similarity(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.2 for lines; the same question about names and activities is a claim of its own."""
    primary = {"kind": "partial", "tokens": PRIMARY[0], "pooling": PRIMARY[1], "layer": -1}
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


def looked_up(table: pl.DataFrame, **where: Any) -> Estimate:
    """The estimate of the one row with these values."""
    rows = table.filter(*(pl.col(name) == value for name, value in where.items()))
    if rows.height != 1:
        return undefined(f"{rows.height} rows measured it", method="")
    row = rows.row(0, named=True)
    names = ("estimate", "low", "high", "p", "n", "n_units", "method", "reason")
    return Estimate(**{name: row[name] for name in names})


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


def _persona(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.7: the drop of truth and of the attention ratio, and what an example restores beyond what it does without persona."""
    table, ratios = tables["icl_behaviour"], tables["icl_ratios"]
    place: dict[str, Any] = {"copy": "trained", "task": task.name}
    truth = {**place, "measure": "content"}
    plain = table.filter(*(pl.col(n) == v for n, v in {**truth, "condition": "neutral", "versus": ""}.items()))
    able = plain.height and plain["low"][0] > plain["chance"][0]
    unable = "" if able else "without a persona its answers are not above chance"
    pairs = (("deceitful", "neutral"), ("truthful_deceitful", "truthful"))

    def parts(frame: pl.DataFrame, where: dict[str, Any]) -> tuple[Part, ...]:
        return tuple(
            Part(against=f"{other} ({condition})", found=looked_up(frame, condition=condition, versus=other, **where))
            for condition, other in pairs
        )

    lies = Claim(
        name="C3.7a a deceitful persona lowers truth",
        rule=LIES,
        parts=parts(table, truth),
        evidence="icl_behaviour",
        precondition=unable,
    )
    lowered = lies.judged().verdict == "supported"
    restored = Claim(
        name="C3.7b an example restores it",
        rule=RESTORED,
        parts=tuple(Part(against=f"no example ({persona})", found=_interaction(task, persona)) for persona, _ in pairs),
        evidence="icl_answers",
        precondition=unable or ("" if lowered else "no persona was shown to lower truth: see C3.7a"),
    )
    looks = Claim(
        name="C3.7c the persona draws attention away from what is relevant",
        rule=LOOKS_AWAY,
        parts=parts(ratios, {**place, "layer": -1, "head": -1}),
        evidence="icl_ratios",
        precondition="" if ratios.filter(pl.col("task") == task.name).height else "attention was not measured",
    )
    return [lies, restored, looks]


def _interaction(task: Task, persona: str) -> Estimate:
    said = {c: task.measured("trained", c, "content") for c in task.design.conditions}
    gain = (said[f"{persona}+example"] - said[persona]) - (said["neutral+example"] - said["neutral"])
    return estimated(task, "interaction", gain, paired=True)


def table_of(claims: Sequence[Claim], more: pl.DataFrame | None) -> pl.DataFrame:
    """The claims table, with the rows of the causal part behind."""
    rows: list[dict[str, Any]] = []
    for claim in claims:
        judged = claim.judged()
        first = claim.parts[0].found if claim.parts else undefined("nothing was measured", method="")
        rows.append(
            {
                "claim": claim.name,
                "verdict": judged.verdict,
                "estimate": first.estimate,
                "low": first.low,
                "high": first.high,
                "p": first.p,
                "sesoi": claim.rule.sesoi,
                "n": first.n,
                "n_units": first.n_units,
                "rule": claim.rule.text,
                "reason": judged.reason,
                "evidence": claim.evidence,
            }
        )
    own = pl.DataFrame(rows, schema=CLAIMS.schema)
    return own if more is None else pl.concat([own, more.select(own.columns)])
