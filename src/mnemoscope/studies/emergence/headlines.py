"""What the run found, in sentences with numbers. No torch."""

import math
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from mnemoscope.results.schema.shared import HEADLINES
from mnemoscope.stats.onset import Onset
from mnemoscope.studies.emergence.claims import CONDITIONAL, FORMED, LEVELS, Run, lacks
from mnemoscope.studies.emergence.curves import RI

WORDS = {"loss_reduction": "loss reduction", "format": "format compliance", "pattern": "pattern discovery"}


def headlines(runs: Sequence[Run], tables: Mapping[str, pl.DataFrame], claims: pl.DataFrame) -> pl.DataFrame:
    """Per training run: the levels, the heads, what else rises then, who stays; the control; the verdicts."""
    texts: list[str] = []
    for run in runs:
        texts += _of_run(run, tables)
    texts += _control(tables.get("curves"))
    texts += [f"{row['claim']}: {row['verdict']}." for row in claims.iter_rows(named=True)]
    return pl.DataFrame({"order": range(len(texts)), "text": texts}, schema=HEADLINES.schema)


def _of_run(run: Run, tables: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    if not run.steps:
        yield f"{run.series}: no checkpoint has every measure."
        return
    where = f"{run.series}, {len(run.steps)} checkpoint{'s' * (len(run.steps) != 1)}, steps {run.steps[0]:,} to {run.steps[-1]:,}"
    found = "; ".join(f"{WORDS[name]} {_when(run.named[name][1])}" for name in LEVELS if name in run.named)
    if found:
        yield f"{where}: {found}."
    if missing := lacks(run, (*LEVELS, "prefix matching", FORMED)):
        yield f"{where}: no onset can be asked of {missing}."
    if "prefix matching" in run.named:
        heads = _followed(tables, run.series, "prefix_matching")
        yield f"Induction heads ({heads}): prefix matching {_when(run.named['prefix matching'][1])}."
    if FORMED in run.named:
        fixed = run.named.get(CONDITIONAL)
        yield (
            f"Strongest heads by relation index ({_followed(tables, run.series, 'ctx_src')}): per opportunity above its null "
            f"{_when(run.named[FORMED][1])}"
            + (f"; on fixed events what they write {_when(fixed[1])}" if fixed is not None else "")
            + "."
        )
    yield from _special(tables.get("specificity"), run.series)
    yield from _lasting(tables.get("persistence"), run)


def _when(found: Onset) -> str:
    if found.censored == "never":
        return "never appears within these checkpoints"
    if found.censored:
        return "is there at the first checkpoint already"
    low = "before the first" if math.isinf(found.low) else f"{found.low:,.0f}"
    high = "never" if math.isinf(found.high) else f"{found.high:,.0f}"
    return f"appears at step {found.step:,.0f} [{low}, {high}]"


def _followed(tables: Mapping[str, pl.DataFrame], series: str, score: str) -> str:
    rows = tables["followed"].filter((pl.col("series") == series) & (pl.col("score") == score)).sort("rank")
    names = [f"L{layer}H{head}" for layer, head in rows.select("layer", "head").iter_rows()]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _special(rows: pl.DataFrame | None, series: str) -> Iterator[str]:
    if rows is None:
        return
    mine = rows.filter((pl.col("series") == series) & (pl.col("level") == "pattern"))
    whole = mine.filter(pl.col("score") == "all scores")
    if whole.height:
        row = whole.row(0, named=True)
        each = mine.filter(pl.col("score") != "all scores").sort("score")
        parts = ", ".join(f"{score} {share:.0%}" for score, share in each.select("score", "estimate").iter_rows())
        yield (
            f"Around the onset of pattern discovery (steps {row['first_step']:,.0f} to {row['last_step']:,.0f}), "
            f"{row['estimate']:.0%} of all {row['n']} curves of heads have their onset ({parts}): what a coincidence has to exceed."
        )


def _lasting(rows: pl.DataFrame | None, run: Run) -> Iterator[str]:
    onset = run.named["pattern"][1] if "pattern" in run.named else None
    if rows is None or onset is None or onset.censored:
        return
    early, late = run.steps[onset.index], run.steps[-1]
    mine = rows.filter(
        (pl.col("series") == run.series) & (pl.col("score") == f"{RI}:ctx_src") & (pl.col("second") == late)
    )
    there = {row["first"]: row for row in mine.iter_rows(named=True)}
    if early in there and late in there:
        yield (
            f"The maps of semantic heads at step {early:,} and at the end correlate at {there[early]['estimate']:.2f} over "
            f"{there[early]['n']} heads (the last map with itself on other documents: {there[late]['estimate']:.2f}); "
            f"{there[early]['kept']:.0%} of the strongest heads are the same ({there[early]['kept_by_chance']:.0%} by chance)."
        )


def _control(curves: pl.DataFrame | None) -> Iterator[str]:
    if curves is None:
        return
    rows = curves.filter(
        (pl.col("copy") == "reinitialised")
        & pl.col("quantity").is_in(["format", "pattern"])
        & pl.col("scope").str.starts_with("all tasks")
    ).sort("quantity")
    if rows.height:
        parts = [f"{WORDS[row['quantity']]} {row['estimate']:.3f}" for row in rows.iter_rows(named=True)]
        yield f"Control, the same architecture with fresh weights: {', '.join(parts)}."
