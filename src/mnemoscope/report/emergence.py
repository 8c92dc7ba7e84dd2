"""The section of the emergence study: what appears when, what rises with it, and whether early heads are the late heads.

Curves over log steps (`emergence_curves.py`); all onsets on one axis, with how many of all heads rise in the same window; the
map of heads at every checkpoint against every other; the numbers.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report import words
from mnemoscope.report.charts import chosen, filled, rounded, said, switch
from mnemoscope.report.emergence_curves import (
    LOSSES,
    SHARES,
    induction,
    levels,
    losses,
    relations,
    steps_shown,
    training_runs,
    with_onsets,
)
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose, Section


def section(tables: Mapping[str, pl.DataFrame]) -> Section:
    """The section, with what the tables have to show."""
    shown = tables.get("curves")
    blocks: list[Block] = []
    if shown is None or not shown.height:
        blocks.append(Prose(paragraphs=("There are no curves: nothing was measured.",)))
    else:
        data = with_onsets(tables)
        of_curves = (draw(data) for draw in (levels, losses, relations, induction))
        made = (*of_curves, timing(tables), windows(tables), maps(tables))
        blocks += [block for block in made if block is not None]
        blocks += _grids(tables)
    return Section(
        id="emergence",
        title="Emergence",
        lead="When in training does in-context learning appear, level by level, and do semantic heads appear with it?",
        blocks=tuple(blocks),
    )


def timing(tables: Mapping[str, pl.DataFrame]) -> Figure | None:
    """Every onset with its interval, on one axis of steps."""
    rows = tables.get("onsets")
    if rows is None or not rows.height:
        return None
    rows = rows.filter(pl.col("censored") != "never").filter(
        pl.col("scope").str.ends_with("followed heads") | pl.col("quantity").is_in([*LOSSES, *SHARES])
    )
    if not rows.height:
        return None
    ends = tables["curves"].filter(pl.col("step") >= 0)["step"]
    first, last = float(ends.min() or 0), float(ends.max() or 0)  # pyright: ignore[reportArgumentType]
    rows = _placed(rows, first, last)
    tips = [
        *(said("name"), said("series"), rounded("estimate"), rounded("low"), rounded("high")),
        *(said("censored"), said("n_units", "Q")),
    ]
    place = alt.Y(
        "name:N", title=None, sort=rows["name"].unique(maintain_order=True).to_list(), axis=alt.Axis(labelLimit=420)
    )
    base: dict[str, Any] = {"y": place, "color": alt.Color("series:N", title=None), "tooltip": tips}
    scale = alt.Scale(type="symlog", nice=False, domain=[first, last])
    axis = alt.Axis(values=steps_shown(ends), format=",.0f")
    bars = alt.Chart().mark_rule(strokeWidth=2).encode(
        x=alt.X("left:Q", title="training step", scale=scale, axis=axis), x2="right:Q", **base
    )  # fmt: skip
    dots = alt.Chart().mark_point(size=60, filled=True).encode(x=alt.X("estimate:Q", scale=scale), **base)
    return Figure(
        id="onsets",
        title="What appears when",
        caption="Onsets with 95% intervals from resampling units, never narrower than the neighbouring checkpoints. An interval "
        "that reaches an end of the axis is open there; a dot at its beginning was there already. What "
        "never appears is in the table below.",
        chart=alt.layer(bars, dots, data=MAIN).properties(width=420, height=alt.Step(20)).to_dict(),
        data=rows.drop("method", "reason"),
        alt="One line per quantity with its onset and interval on an axis of training steps.",
    )


def _placed(rows: pl.DataFrame, first: float, last: float) -> pl.DataFrame:
    """Onsets with the name that is shown and an interval that stays on the axis; open where it would leave it."""
    return rows.with_columns(
        name=(pl.col("quantity") + " · " + pl.col("scope"))
        .str.replace(r"/(\d+)$", ", ${1} shots")
        .str.replace("/", ", ")
        .str.replace_all("[_:]", " "),
        left=pl.col("low").clip(first, last),
        right=pl.col("high").clip(first, last),
        open=pl.when(pl.col("low").is_infinite() | pl.col("high").is_infinite())
        .then(pl.lit("open"))
        .otherwise(pl.lit("")),
    ).sort("estimate", "name")


def windows(tables: Mapping[str, pl.DataFrame]) -> Figure | None:
    """Share of all head curves that rise around the onset of a level."""
    rows = tables.get("specificity")
    if rows is None or not rows.height:
        return None
    names = [name for name in ("pattern", "format", "loss_reduction") if name in rows["level"].to_list()]
    rows = rows.with_columns(label=pl.col("score").str.replace_all("[_:]", " "))
    order = rows["label"].unique(maintain_order=True).to_list()
    place = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=320))
    tips = [
        said("label"),
        rounded("estimate"),
        rounded("low"),
        rounded("high"),
        said("n", "Q", "Heads"),
        said("first_step", "Q"),
    ]
    bars = alt.Chart().mark_bar(height=12).encode(
        x=alt.X("estimate:Q", title="share of heads with an onset then", scale=alt.Scale(domain=[0, 1])), y=place, tooltip=tips
    )  # fmt: skip
    ends = alt.Chart().mark_tick(thickness=3, height=12).encode(x="estimate:Q", y=place)  # a share of 0 is seen too
    spans = alt.Chart().mark_rule().encode(x="low:Q", x2="high:Q", y=place)
    chart = (
        alt.layer(bars, ends, spans, data=MAIN)
        .transform_filter(chosen("level", "series"))
        .add_params(switch("level", names), training_runs(rows))
        .properties(width=440, height=alt.Step(22))
    )
    return Figure(
        id="windows",
        title="How special is a coincidence?",
        caption="Of all heads of the model, how many have their onset within one checkpoint of the level's: if most heads change "
        "then, that some head does says nothing.",
        chart=chart.to_dict(),
        data=rows.drop("method", "reason"),
        alt="Bars: share of heads with an onset in the window, by score.",
    )


def maps(tables: Mapping[str, pl.DataFrame]) -> Figure | None:
    """Every checkpoint's map of heads against every other's."""
    rows = tables.get("persistence")
    if rows is None or not rows.height:
        return None
    scores = rows["score"].unique(maintain_order=True).to_list()
    scores = sorted(scores, key=lambda name: ("ctx_src" not in name, name))
    steps = sorted(rows["first"].unique().to_list())
    size = max(16, min(34, 560 // len(steps)))
    kinds = {"estimate": "rank correlation", "within_layer": "within layers", "kept": "strongest heads kept"}
    axis = alt.Axis(labelAngle=-60, format=",.0f")
    base = alt.Chart(MAIN).encode(
        x=alt.X("second:O", title="step", axis=axis),
        y=alt.Y("first:O", title="step", axis=alt.Axis(format=",.0f")),
        tooltip=[said("first"), said("second"), *(rounded(name) for name in (*kinds, "kept_by_chance"))],
    )
    chart = (
        filled(base.mark_rect(invalid=None), "drawn", title=None, scale=alt.Scale(domainMid=0))
        .transform_filter(chosen("score", "series"))
        .transform_calculate(drawn="datum[shown]")
        .add_params(
            switch("score", scores, [words.label(name.replace(":", " ")) for name in scores]),
            switch("shown", list(kinds), list(kinds.values())),
            training_runs(rows),
        )
        .properties(width=alt.Step(size), height=alt.Step(size))
    )
    return Figure(
        id="persistence",
        title="Are early heads the late heads?",
        caption="Each cell compares the map of heads at two checkpoints, measured on different halves of the documents or "
        "sequences; the diagonal is therefore the reliability of a map, and the most that can be expected of its row and column.",
        chart=chart.to_dict(),
        data=rows.drop("reason"),
        alt="Matrix of rank correlations between the maps of heads of all checkpoints.",
    )


def _short_hashes(rows: pl.DataFrame) -> pl.DataFrame:
    """The first twelve characters of each hash; the table has the rest."""
    return rows.with_columns(pl.col("weights").str.head(12)) if "weights" in rows.columns else rows


def _grids(tables: Mapping[str, pl.DataFrame]) -> list[Block]:
    """Onsets and their differences in numbers, the followed heads, and what was measured of each checkpoint."""
    shown = (
        ("onsets", "onset-table", "Onsets", "Censored: already there at the first checkpoint, or never.", ("method",)),
        (
            "onset_differences",
            "differences",
            "Differences of onsets",
            "First minus second, in checkpoints.",
            ("method",),
        ),
        ("followed", "followed", "Followed heads", "Chosen at the last checkpoint on every other unit.", ()),
        ("checkpoints", "checkpoints", "Checkpoints", "What was measured of each, and what could not be.", ()),
    )
    return [
        Grid(id=place, title=title, caption=caption, data=_short_hashes(tables[name].drop(*without)))
        for name, place, title, caption, without in shown
        if name in tables and tables[name].height
    ]
