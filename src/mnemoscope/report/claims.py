"""The claims table: verdict, estimate with its interval drawn to scale, and what the verdict rests on."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mnemoscope.report import words
from mnemoscope.report.html import Child, Safe, element, joined, shortened
from mnemoscope.results.store import Finished

SIGNS = {"supported": "✓", "contradicted": "✕", "undetermined": "?", "not testable": "–"}
WIDTH, HEIGHT = 132, 22
NUMBERS = ("Estimate [95% interval]", "p", "n (units)")


def claims_table(runs: Iterable[Finished]) -> Safe:
    """One table over all studies, in their order; a sentence where there is no claim."""
    rows = [
        _row(claim, str(run.record["study"]))
        for run in runs
        if "claims" in run.tables
        for claim in run.tables["claims"].iter_rows(named=True)
    ]
    if not rows:
        return element("p", "No study of this run has decided on a claim.", class_="muted")
    names = ("Claim", "Verdict", "Estimate [95% interval]", "", "p", "n (units)", "Rule", "Evidence")
    heads = [element("th", name, scope="col", class_="number" if name in NUMBERS else None) for name in names]
    return joined(
        (
            element(
                "div",
                element("table", element("thead", element("tr", *heads)), element("tbody", *rows)),
                class_="scroll",
            ),
            element(
                "p",
                "Rules were fixed before the data were seen. Supported: the interval lies above the smallest effect of "
                "interest (dashed line); contradicted: it lies below; otherwise undetermined. Dot and bar: estimate and "
                "95% interval, each on a scale of its own; the solid line is 0.",
                class_="note",
            ),
        )
    )


def _row(claim: Mapping[str, Any], study: str) -> Safe:
    verdict = str(claim["verdict"])
    pill = element(
        "span",
        element("b", SIGNS.get(verdict, "?"), aria_hidden="true"),
        f" {verdict}",
        class_=f"pill {verdict.replace(' ', '-')}",
    )
    reason: tuple[Child, ...] = (
        (element("div", shortened(claim["reason"]), class_="muted small"),) if claim["reason"] else ()
    )
    estimate, interval = words.estimate(claim["estimate"], claim["low"], claim["high"])
    span = element("span", f" {interval}" if not math.isnan(claim["low"]) else "", class_="muted")
    counts = f"{words.count(claim['n'])} ({words.count(claim['n_units'])})"
    link = element("a", claim["evidence"], href=f"#{study}") if claim["evidence"] else words.MISSING
    return element(
        "tr",
        element("td", shortened(claim["claim"]), *reason, class_="claim"),
        element("td", pill),
        element("td", estimate, span, class_="number nowrap"),
        element("td", forest(claim)),
        element("td", words.p_value(claim["p"]), class_="number nowrap"),
        element("td", counts, class_="number nowrap"),
        element("td", shortened(claim["rule"]), class_="small muted rule"),
        element("td", link, class_="small"),
    )


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
