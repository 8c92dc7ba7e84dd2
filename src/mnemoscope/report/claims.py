"""The claims table: verdict, estimate with its interval drawn to scale, and what the verdict rests on.

A claim takes two rows: the numbers, and its rule in one line that opens to the whole rule and how it came out. The link
leads to the table the verdict was decided on, which stands at the end of its study's section.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from mnemoscope.report import words
from mnemoscope.report.asked import study_name
from mnemoscope.report.copies import spelled
from mnemoscope.report.html import Child, Safe, element, joined, shortened
from mnemoscope.report.section import Grid
from mnemoscope.results.store import Finished

SIGNS = {"supported": "✓", "contradicted": "✕", "undetermined": "?", "not testable": "–"}
WIDTH, HEIGHT = 132, 22
COLUMNS = (
    "Claim",
    "Verdict",
    "Estimate [95% interval]",
    "",
    "Smallest effect of interest",
    "p",
    "n (units)",
    "Evidence",
)
NUMBERS = ("Estimate [95% interval]", "Smallest effect of interest", "p", "n (units)")
NOTE = (
    "Rules were fixed before the data were seen. Supported: the whole interval lies beyond the smallest effect of interest "
    "(dashed line). Contradicted: it lies wholly short of it. Undetermined: it straddles. Not testable: a precondition "
    "failed. Dot and bar: estimate and 95% interval, each on a scale of its own; the solid line is 0. A claim of several "
    "parts shows the numbers of one and is decided by all. Units are what counts as independent: documents, topics or items."
)
LONGEST_RULE = 2_000  # characters; a rule is never cut in practice
MOST_ROWS = 400  # of an evidence table in the page; the parquet file has them all


def claims_table(runs: Iterable[Finished]) -> Safe:
    """One table over all studies, in their order; a sentence where there is no claim."""
    decided = [(run, run.tables["claims"]) for run in runs if "claims" in run.tables and run.tables["claims"].height]
    if not decided:
        return element("p", "No study of this run has decided on a claim.", class_="muted")
    rows: list[Safe] = []
    for run, claims in decided:
        study = str(run.record["study"])
        if len(decided) > 1:
            rows.append(_study_row(study, claims))
        rows += [_row(claim, study, evidence(run)) for claim in in_order(claims)]
    heads = [element("th", name, scope="col", class_="number" if name in NUMBERS else None) for name in COLUMNS]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="claims")
    return joined((element("p", NOTE, class_="note"), element("div", table, class_="scroll")))


def in_order(claims: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a claims table as people count them: C3.2 before C3.10."""
    return sorted(claims.iter_rows(named=True), key=lambda row: words.counted(str(row["claim"])))


def evidence(run: Finished) -> tuple[str, ...]:
    """Names of the tables that the claims of a run were decided on, as far as they are there, in order of mention."""
    named = run.tables["claims"]["evidence"].to_list() if "claims" in run.tables else []
    return tuple(dict.fromkeys(name for name in named if name in run.tables and run.tables[name].height))


def evidence_grid(run: Finished, name: str) -> Grid:
    """An evidence table as the page shows it: its first rows, to read, sort and download."""
    frame = spelled({name: run.tables[name]})[name]
    rest = f"The first {MOST_ROWS} of {frame.height:,} rows" if frame.height > MOST_ROWS else f"{frame.height:,} rows"
    return Grid(
        id=f"evidence-{name}",
        title="",
        caption=f"{rest}; tables/{name}.parquet has all of it in full precision.",
        data=frame.head(MOST_ROWS),
        most=8,
    )


def _study_row(study: str, claims: pl.DataFrame) -> Safe:
    """The heading of a study's claims, with how many came out how."""
    counts = ((verdict, int((claims["verdict"] == verdict).sum())) for verdict in SIGNS)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
    name = element("a", study_name(study), href=f"#{study}")
    head = element("th", name, element("span", said), colspan=len(COLUMNS), scope="colgroup")
    return element("tr", head, class_="group")


def _row(claim: Mapping[str, Any], study: str, there: Sequence[str]) -> Safe:
    verdict = str(claim["verdict"])
    sign = element("b", SIGNS.get(verdict, "?"), aria_hidden="true")
    pill = element("span", sign, f" {verdict}", class_=f"pill {verdict.replace(' ', '-')}")
    estimate, interval = words.estimate(claim["estimate"], claim["low"], claim["high"])
    span = element("span", f" {interval}" if not math.isnan(claim["low"]) else "", class_="muted")
    counts = f"{words.count(claim['n'])} ({words.count(claim['n_units'])})"
    numbers = element(
        "tr",
        element("td", shortened(claim["claim"]), class_="claim"),
        element("td", pill),
        element("td", estimate, span, class_="number nowrap"),
        element("td", forest(claim)),
        element("td", words.short(claim["sesoi"]), class_="number nowrap"),
        element("td", words.p_value(claim["p"]), class_="number nowrap"),
        element("td", counts, class_="number nowrap"),
        element("td", _link(str(claim["evidence"]), study, there), class_="small"),
    )
    return joined((numbers, _behind(claim)))


def _link(name: str, study: str, there: Sequence[str]) -> Child:
    """To the evidence table where the page holds it, else to the study; a dash where none is named."""
    if not name:
        return words.MISSING
    return element("a", name, href=f"#{study}-evidence-{name}" if name in there else f"#{study}")


def _behind(claim: Mapping[str, Any]) -> Safe:
    """The second row: the rule, in one line until it is opened, and how it came out."""
    rule, reason = shortened(str(claim["rule"]), LONGEST_RULE), shortened(str(claim["reason"]), LONGEST_RULE)
    outcome: tuple[Child, ...] = (element("p", f"Outcome: {reason}"),) if reason else ()
    why: tuple[Child, ...] = ()
    if claim["verdict"] == "not testable" and reason:
        why, outcome = (element("p", reason.removeprefix("not testable: "), class_="why"),), ()
    opened = element("details", element("summary", f"Rule: {rule}"), *outcome)
    return element("tr", element("td", *why, opened, colspan=len(COLUMNS)), class_="behind")


def forest(claim: Mapping[str, Any]) -> Safe:
    """Estimate, interval, zero and smallest effect of interest on one axis; nothing where a number is missing."""
    points = [claim["estimate"], claim["low"], claim["high"]]
    if any(math.isnan(value) for value in points):
        return Safe("")
    ends = [value for value in (*points, claim["sesoi"], 0.0) if math.isfinite(value)]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or 1.0

    def x(value: float | int) -> float:
        clipped = min(max(value, low - room), high + room)
        return round((clipped - low + room) / (high - low + 2 * room) * WIDTH, 1)

    middle = HEIGHT / 2
    dashed = "" if math.isnan(claim["sesoi"]) else _line(x(claim["sesoi"]), 2, x(claim["sesoi"]), HEIGHT - 2, "sesoi")
    spoken = (
        f"estimate {words.number(points[0])}, interval {words.interval(points[1], points[2])}, "
        f"smallest effect of interest {words.number(claim['sesoi'])}"
    )
    drawing = (
        _line(x(0), 2, x(0), HEIGHT - 2, "zero")
        + dashed
        + _line(x(points[1]), middle, x(points[2]), middle, "bar")
        + f'<circle cx="{x(points[0])}" cy="{middle}" r="3.6"/>'
    )
    return element(
        "svg",
        element("title", spoken),
        Safe(drawing),
        class_="forest",
        width=WIDTH,
        height=HEIGHT,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )


def _line(x1: float | int, y1: float | int, x2: float | int, y2: float | int, name: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{name}"/>'
