"""Curves over training of the emergence section: levels, losses, the relation index taken apart, ordinary induction.

Bands are 95% intervals, dashed lines chance or the null, dotted lines the re-initialised control, vertical lines onsets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, curves, rounded, said, switch
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.results.schema.emergence import HEAD_SCORES, VARIANTS

LEVELS = ("format", "pattern", "restricted", "legal", "right")
SHARES = ("format", "pattern", "restricted")
LOSSES = ("loss", "loss_reduction")
PANELS = {  # quantity without variant and gate, gates it has of its own
    "attends: pass rate": "pass_rate",
    "attends, above its distances": "excess_pass_rate",
    "writes, given passing": "index",
    "per opportunity, above null": "excess_per_opportunity",
    "fixed events, above null": "excess:held",
    "all opportunities, above null": "excess:free",
}
VARIANT_LABELS = {
    "ctx_src": "RI-ctx-src (what s holds)",
    "out": "RI-out (whole output)",
    "src": "RI-src (embedding of s)",
    "lit": "RI-lit (as published)",
}
GATES = {"argmax": "argmax at s", "tau": "tau = 2.2"}
HEADS = ("followed heads", "all heads")


def with_onsets(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Curves of the trained model, each with its onset and with the value of the re-initialised control."""
    rows = tables["curves"].drop("method", "reason")
    control = rows.filter(pl.col("copy") != "trained").select("quantity", "scope", control="estimate")
    trained = rows.filter(pl.col("copy") == "trained").drop("copy")
    onsets = tables.get("onsets")
    if onsets is None or not onsets.height:
        return trained.join(control, on=["quantity", "scope"], how="left").with_columns(onset=pl.lit(float("nan")))
    named = onsets.select("series", "quantity", "scope", onset="estimate")
    joined = trained.join(named, on=["series", "quantity", "scope"], how="left").join(
        control, on=["quantity", "scope"], how="left", coalesce=True
    )
    return joined.with_columns(pl.col("onset", "control").fill_null(float("nan")))


def steps_shown(steps: pl.Series) -> list[int]:
    """0 and the powers of ten within the data."""
    most = int(steps.max() or 0)  # pyright: ignore[reportArgumentType]
    return [0, *(10**k for k in range(len(str(most))) if 10**k <= most)]


def _drawn(
    data: pl.DataFrame, colour: str, order: Sequence[str], title: str, *, width: int = 620, height: int = 260
) -> Any:
    """Curves with bands over log steps; dashed the chance level, a line down where the onset is, dotted the control."""
    line = curves(
        "step", "estimate", colour=colour, order=order, log=True, ticks=steps_shown(data["step"]), x_title="training step",
        y_title=title, extra=[rounded("chance"), rounded("control"), said("n", "Q"), said("n_units", "Q", "Units")],
    )  # fmt: skip
    hue = alt.Color(f"{colour}:N", sort=list(order), title=None)
    across = alt.X("step:Q", axis=alt.Axis(values=steps_shown(data["step"]), format=",.0f"))
    chance = (
        alt.Chart().mark_line(strokeDash=[5, 4], opacity=0.7, strokeWidth=1.2).encode(x=across, y="chance:Q", color=hue)
    )
    control = alt.Chart().mark_line(strokeDash=[1, 4], opacity=0.9).encode(x=across, y="control:Q", color=hue)
    onset = (
        alt.Chart()
        .mark_rule(opacity=0.75, strokeWidth=1.2)
        .encode(
            x=alt.X("min(onset):Q"),
            color=hue,
            tooltip=[said(colour), alt.Tooltip("min(onset):Q", title="Onset", format=",.0f")],
        )
        .transform_filter("isValid(datum.onset)")
    )
    return alt.layer(line, chance, control, onset, data=MAIN).properties(width=width, height=height)


def levels(data: pl.DataFrame) -> Figure | None:
    """Format compliance and pattern discovery by task and number of shots."""
    rows = data.filter(pl.col("quantity").is_in(LEVELS)).with_columns(
        task=pl.col("scope").str.split("/").list.first(), shots=pl.col("scope").str.split("/").list.last()
    )
    if not rows.height:
        return None
    tasks = sorted(rows["task"].unique().to_list(), key=lambda name: (name != "all tasks", name))
    shots = sorted(rows["shots"].unique().to_list(), key=int, reverse=True)
    used = alt.param(name="used", expr=f"task == 'all tasks' ? '{shots[0]}' : shots")
    chart = (
        _drawn(rows, "quantity", SHARES, "share of prompts")
        .transform_filter(f"{chosen('task', 'series')} && datum.shots == used")
        .transform_filter(f"indexof({list(SHARES)}, datum.quantity) >= 0")
        .add_params(switch("task", tasks), switch("shots", shots, title="shots (one task)"), used, training_runs(rows))
    )
    return Figure(
        id="levels",
        title="Format, then pattern?",
        caption="Format: the answer is some legal label; pattern: it is the right one; restricted: the right one wins among legal "
        "labels. Bands are 95% intervals over prompt sets, dashed lines chance (format: a digit at random), dotted lines the "
        "re-initialised control, vertical lines onsets: the first of two checkpoints in a row whose lower limit is above chance "
        "plus a quarter of the final gain.",
        chart=chart.to_dict(),
        data=rows.select("series", "step", "quantity", "task", "shots", *_NUMBERS),
        alt="Curves of format compliance and accuracy over training steps.",
    )


_NUMBERS = ("estimate", "low", "high", "chance", "control", "onset", "n", "n_units")


def losses(data: pl.DataFrame) -> Figure | None:
    """Loss and loss reduction."""
    rows = data.filter(pl.col("quantity").is_in(LOSSES))
    if not rows.height:
        return None
    names = [name for name in reversed(LOSSES) if name in rows["quantity"].to_list()]
    chart = (
        _drawn(rows, "series", sorted(rows["series"].unique().to_list()), "nats per token")
        .transform_filter(chosen("quantity"))
        .add_params(switch("quantity", names))
    )
    return Figure(
        id="losses",
        title="Late tokens become easier than early ones",
        caption="Loss reduction: mean loss of tokens 490 to 510 minus mean loss of tokens 40 to 60, per document; below 0 the "
        "model uses what it has read. Bands over documents.",
        chart=chart.to_dict(),
        data=rows.select("series", "step", "quantity", *_NUMBERS),
        alt="Curves of loss and loss reduction over training steps.",
    )


def relations(data: pl.DataFrame) -> Figure | None:
    """The relation index, split into attending and writing, per opportunity, and on fixed events."""
    parts = [_panel(data, panel, kind) for panel, kind in PANELS.items()]
    rows = pl.concat([part for part in parts if part.height] or [data.clear()], how="diagonal")
    if not rows.height:
        return None
    corpora = sorted(rows["corpus"].unique().to_list(), key=lambda name: (name != "letters", name))
    variants = [name for name in ("ctx_src", "out", "src", "lit") if name in VARIANTS]
    panels = [name for name in PANELS if name in rows["panel"].to_list()]
    chart = (
        _drawn(rows, "heads", HEADS, "share", width=270, height=180)
        .transform_filter(chosen("corpus", "series"))
        .transform_filter("datum.variant == '' || datum.variant == variant")
        .transform_filter("datum.gate == '' || datum.gate == gate")
        .facet(facet=alt.Facet("panel:N", title=None, sort=panels), columns=2)
        .resolve_scale(y="independent")
        .add_params(
            switch("variant", variants, [VARIANT_LABELS[name] for name in variants]),
            switch("gate", list(GATES), list(GATES.values())),
            switch("corpus", corpora, title="text (relation)"),
            training_runs(rows),
        )
    )
    return Figure(
        id="relations",
        title="The relation index, taken apart",
        caption="A head word is attended to (pass rate; dashed: how often the same head attends as far back to positions that are "
        "no head words and no sinks), and the tail is promoted (share among visible tokens; dashed: matched null of same-type "
        "tokens). Per opportunity multiplies both. On fixed events (attended to at the last checkpoint, and "
        "all opportunities) only the writing can change. Followed heads are the strongest at the last checkpoint on every other "
        "document; their curves are from the documents between.",
        chart=chart.to_dict(),
        data=rows.select("series", "corpus", "panel", "variant", "gate", "heads", "step", *_NUMBERS),
        alt="Six panels of curves over training steps: pass rate, its excess, share given passing, per opportunity, fixed events.",
    )


def _panel(data: pl.DataFrame, panel: str, kind: str) -> pl.DataFrame:
    """Rows of one panel, with variant and gate ("" where a switch does not matter)."""
    name, _, fixed = kind.partition(":")
    parts = pl.col("quantity").str.split(":")
    rows = data.filter(parts.list.first() == name).with_columns(
        panel=pl.lit(panel),
        corpus=pl.col("scope").str.split("/").list.first(),
        heads=pl.col("scope").str.split("/").list.last(),
        gate=parts.list.last(),
        variant=pl.when(parts.list.len() == 3).then(parts.list.get(1, null_on_oob=True)).otherwise(pl.lit("")),
    )
    if fixed:
        return rows.filter(pl.col("gate") == fixed).with_columns(gate=pl.lit(""))
    return rows.filter(pl.col("gate").is_in(list(GATES)))


def induction(data: pl.DataFrame) -> Figure | None:
    """Prefix matching and copying of ordinary induction."""
    rows = data.filter(pl.col("quantity").is_in(HEAD_SCORES)).with_columns(
        heads=pl.col("scope").str.split("/").list.last()
    )
    if not rows.height:
        return None
    scores = [name for name in HEAD_SCORES if name in rows["quantity"].to_list()]
    chart = (
        _drawn(rows, "heads", HEADS, "score")
        .transform_filter(chosen("quantity", "series"))
        .add_params(switch("quantity", scores), training_runs(rows))
    )
    return Figure(
        id="induction",
        title="Ordinary induction heads",
        caption="On random tokens, repeated. Followed heads have the highest prefix matching at the last checkpoint on every other "
        "sequence; their curves are from the sequences between. Dashed: a head that attends evenly, or copies nothing.",
        chart=chart.to_dict(),
        data=rows.select("series", "step", "quantity", "heads", *_NUMBERS),
        alt="Curves of prefix matching and copying over training steps.",
    )


def training_runs(rows: pl.DataFrame) -> Any:
    """A switch for the training run; a constant where there is one."""
    return switch("series", sorted(rows["series"].unique().to_list()), title="training run")
