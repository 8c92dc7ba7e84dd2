"""The trust block: what was verified, what was refused or fell back, and how to get the same numbers again."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mnemoscope.report import words
from mnemoscope.report.asked import command, study_name
from mnemoscope.report.blocks import rendered
from mnemoscope.report.html import Safe, element, joined, shortened
from mnemoscope.report.section import Grid
from mnemoscope.results.store import Finished

TOLERANCE = (
    "Tolerance: three times the noise floor, which is how far evaluations of this model that are equal in mathematics (alone, "
    "batched, padded, from a cache) differ; or 32 rounding steps of the largest logit where that is more. A fast path that "
    "misses it is not used, and that is said here."
)
SAME = (
    "With the versions above and on one machine the tables come out the same byte for byte; on another machine, up to the last "
    "bits of sums. Everything random follows from the seed."
)


def trust(runs: Sequence[Finished]) -> Safe:
    """For every run: verification, failures and notes, what was left out, versions and seeds, the command to reproduce it."""
    return joined(
        (
            element("p", TOLERANCE, class_="note spaced"),
            *(_one(run, alone=len(runs) == 1) for run in runs),
            _again(runs),
        )
    )


def _one(run: Finished, *, alone: bool) -> Safe:
    heading = Safe("") if alone else element("h3", study_name(run.record["study"]))
    facts = element("dl", *(_fact(name, value) for name, value in _settings(run)), class_="facts dense")
    settings = element("details", element("summary", "Versions and settings"), facts)
    return element("div", heading, _verification(run), _troubles(run), *_left_out(run), settings)


def _again(runs: Sequence[Finished]) -> Safe:
    commands = "\n".join(dict.fromkeys(exactly(run.record) for run in runs))
    return joined(
        (element("h3", "To reproduce"), element("pre", element("code", commands)), element("p", SAME, class_="note"))
    )


def exactly(record: Mapping[str, Any]) -> str:
    """The command line of a run with what it leaves to the machine: the number of threads, and the commit of a hub model."""
    identity, asked = record["identity"], record.get("asked", {})
    threads, content = identity.get("threads"), identity.get("model", {}).get("content", {})
    pinned = f" --revision {content['commit']}" if "commit" in content and not asked.get("revision") else ""
    return f"{f'OMP_NUM_THREADS={threads} ' if threads else ''}{command(record)}{pinned}"


def _left_out(run: Finished) -> list[Safe]:
    """Tables of what could not be asked or was refused, with reasons."""
    study = str(run.record["study"])
    there = sorted(name for name, frame in run.tables.items() if name.endswith("left_out") and frame.height)
    return [
        rendered(
            Grid(id=f"trust-{name}", title="Left out", caption=f"tables/{name}.parquet", data=run.tables[name]), study
        )
        for name in there
    ]


def _verification(run: Finished) -> Safe:
    table = run.tables.get("verification")
    if table is None or not table.height:
        return element("p", "This run recorded no numerical verification.", class_="muted")
    bad = table.filter(~table["ok"]).height
    verdict = "Every identity that was checked holds." if not bad else f"{bad} of {table.height} checks do not hold."
    names = ("Identity", "Checked in", "Largest difference", "Tolerance there", "Noise floor", "Values compared", "")
    numeric = names[2:6]
    heads = [element("th", name, scope="col", class_="number" if name in numeric else None) for name in names]
    rows = [_check(row) for row in worst(table).head(60).iter_rows(named=True)]
    body = element("table", element("thead", element("tr", *heads)), element("tbody", *rows))
    slow = table.filter((pl.col("detail") != "") & pl.col("ok"))
    fell = (
        f"{slow.height} of {table.height} computations did without the fast path, or something was refused; the last column "
        "says why."
        if slow.height
        else "Nothing fell back to a slower path, nothing was refused."
    )
    said = element("p", verdict, class_="warning" if bad else None)
    return joined((said, element("p", fell, class_="muted"), element("div", body, class_="scroll")))


def worst(table: pl.DataFrame) -> pl.DataFrame:
    """One row per identity and outcome: the check that came closest to its tolerance, or furthest beyond it."""
    closeness = (pl.col("error") / pl.col("tolerance")).fill_nan(float("inf"))
    ordered = table.with_columns(closeness=closeness).sort("closeness", descending=True, maintain_order=True)
    groups = ordered.group_by("check", "ok", "detail", maintain_order=True)
    return groups.agg(
        pl.col("where").first(),
        pl.len().alias("places"),
        pl.col("error").first(),
        pl.col("tolerance").first(),
        pl.col("floor").fill_nan(None).max(),
        pl.col("n").sum(),
    ).sort("ok", "check", "detail")


def _check(row: Mapping[str, Any]) -> Safe:
    return element(
        "tr",
        element("td", row["check"]),
        element("td", row["where"] if row["places"] == 1 else f"{row['places']} places"),
        element("td", words.number(row["error"], 2), class_="number"),
        element("td", words.number(row["tolerance"], 2), class_="number"),
        element("td", words.number(row["floor"], 2), class_="number"),
        element("td", words.count(row["n"]), class_="number"),
        element("td", ("holds" if row["ok"] else "does not hold") + (f"; {row['detail']}" if row["detail"] else "")),
    )


def _troubles(run: Finished) -> Safe:
    record = run.record
    jobs = record.get("jobs", {})
    lines = [f"Job {name} failed: {why}" for name, why in record.get("failed_jobs", {}).items()]
    if record.get("state") != "finished":
        lines.insert(0, f"This run is not finished (state: {record.get('state')}).")
    if jobs.get("failed"):
        lines.insert(0, f"{jobs['failed']} of {jobs['planned']} jobs failed; the tables hold the others.")
    lines += [f"Repaired: {note}" for note in run.notes]
    return joined(element("p", shortened(line, 400), class_="warning") for line in lines[:40])


def _settings(run: Finished) -> list[tuple[str, str]]:
    identity, environment = run.record["identity"], run.record.get("environment", {})
    versions = {**identity.get("versions", {}), "python": environment.get("python", "")}
    config = {name: value for name, value in identity.get("config", {}).items() if value is not None}
    seconds = sum(float(entry.get("seconds", 0)) for entry in run.journal)
    return [
        ("Run", f"{run.record['hash']}, tables version {run.record['schema']}"),
        ("Jobs", f"{len(run.journal)} in {words.number(seconds)} s, {identity.get('threads', '?')} threads"),
        ("Machine", f"{environment.get('processor', '')}, {environment.get('system', '')}"),
        *((name, str(value)) for name, value in versions.items()),
        *((name, str(value)) for name, value in config.items()),
    ]


def _fact(name: str, value: str) -> Safe:
    return element("div", element("dt", name), element("dd", shortened(value, 160)))
