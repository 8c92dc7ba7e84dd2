"""Layer by layer: which prompts become alike, the distances between items, and what a probe reads (section of the icl study)."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, rounded, said, switch
from mnemoscope.report.section import MAIN, Figure

PRIMARY = {"tokens": "relevant", "pooling": "max"}  # the vectors that carry the claims about similarity


def ordered(conditions: Sequence[str]) -> list[str]:
    """Before, after, controls."""
    first = ("none", "k2", "k4", "k8", "example", "shuffled", "neutral")
    return [c for c in first if c in conditions] + [c for c in conditions if c not in first]


def first(values: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """What is wanted first, then the others."""
    return [v for v in wanted if v in values] + [v for v in values if v not in wanted]


def similarity(frame: pl.DataFrame) -> Figure:
    """Alignment per layer under every condition, with its permutation band and ceiling."""
    own = frame.filter(
        (pl.col("copy") == "trained")
        & (pl.col("versus") == "")
        & (pl.col("layer") >= 0)
        & (pl.col("tokens") == PRIMARY["tokens"])
        & (pl.col("pooling") == PRIMARY["pooling"])
    )
    data = own.with_columns(shown=pl.col("task") + ": " + pl.col("hypothesis")).drop("method", "copy", "versus")
    keys = first(data["shown"].unique(maintain_order=True).to_list(), ("lines: slope", "passages: activities"))
    chart = (
        _alignment(ordered(data["condition"].unique().to_list()))
        .transform_filter(chosen("shown", "kind", "distance"))
        .properties(width=620, height=300)
        .add_params(
            switch("shown", keys, title="Hypothesis"),
            switch("kind", ["partial", "spearman", "tau-a"]),
            switch("distance", ["cosine", "correlation"]),
        )
    )
    return Figure(
        id="similarity",
        title="Do prompts become alike as the task says?",
        caption="Vectors max-pooled over the relevant tokens of the test item (the same before and after), dimensions "
        "standardised. partial: bag of tokens at layer 0, length and other nuisances taken out; there layer 0 itself has "
        "nothing left. Grey: what "
        "permuted units give (2.5 to 97.5%). Dotted: the ceiling, what a perfect hypothesis could reach given the noise "
        "between draws.",
        chart=chart.to_dict(),
        data=data,
        alt="Alignment with the hypothesis per layer and condition.",
    )


def _alignment(conditions: list[str]) -> Any:
    """A line per condition over layers with its interval and ceiling, and what permuted units give."""
    up = alt.Y("estimate:Q", title="rank correlation with the hypothesis")
    across = alt.X("layer:Q", title="layer (0: embedding)", axis=alt.Axis(tickMinStep=1, format="d"))
    hue: dict[str, Any] = {"color": alt.Color("condition:N", title=None, sort=conditions)}
    tips = [
        *(said("layer", "Q"), said("condition")),
        *(rounded(n) for n in ("estimate", "low", "high", "ceiling")),
        *(rounded("p_maxt", "p (max-T)"), said("n_units", "Q")),
    ]
    chance = (
        alt.Chart().mark_area(opacity=0.2, color="gray").encode(x=across, y="min(null_low):Q", y2="max(null_high):Q")
    )
    band = alt.Chart().mark_area(opacity=0.13).encode(x=across, y="low:Q", y2="high:Q", **hue)
    top = alt.Chart().mark_line(strokeDash=[2, 3], opacity=0.8).encode(x=across, y="ceiling:Q", **hue)
    line = alt.Chart().mark_line().encode(x=across, y=up, **hue)
    dots = alt.Chart().mark_point(size=34).encode(x=across, y=up, tooltip=tips, **hue)
    return alt.layer(chance, band, top, line, dots, data=MAIN)


def distances(frame: pl.DataFrame) -> Figure:
    """Ranked distances between items before and after, beside the hypothesis."""
    data = frame.with_columns(shown=pl.col("task") + ": " + pl.col("hypothesis"))
    conditions = data.group_by("task", maintain_order=True).agg(pl.col("condition").unique(maintain_order=True))
    hypothesis = data.join(conditions.select("task", first=pl.col("condition").list.first()), on="task").filter(
        pl.col("condition") == pl.col("first")
    )
    expected = hypothesis.drop("first").with_columns(condition=pl.lit("hypothesis"), distance=pl.col("expected"))
    long = pl.concat([data, expected]).select("shown", "condition", "layer", "row", "column", "place", "distance")
    keys = first(long["shown"].unique(maintain_order=True).to_list(), ("lines: slope", "passages: activities"))
    axis = alt.Axis(labels=False, ticks=False, title=None)
    order = alt.EncodingSortField(field="place", op="min")
    base = alt.Chart(MAIN).mark_rect(stroke=None, invalid=None)
    picture: Any = base
    chart = (
        picture.encode(
            x=alt.X("column:N", sort=alt.EncodingSortField(field="place", op="max"), axis=axis),
            y=alt.Y("row:N", sort=order, axis=axis),
            color=alt.Color("distance:Q", title="rank", scale=alt.Scale(domain=[0, 1])),
            tooltip=[said("row"), said("column"), rounded("distance", "rank of the distance"), said("layer", "Q")],
        )
        .transform_filter(chosen("shown"))
        .properties(width=250, height=250)
        .facet(
            column=alt.Column(
                "condition:N", title=None, sort=[*ordered(data["condition"].unique().to_list()), "hypothesis"]
            )
        )
        .add_params(switch("shown", keys, title="Hypothesis"))
        .resolve_scale(x="independent", y="independent")
    )
    return Figure(
        id="distances",
        title="Which items are near each other",
        caption="Ranks of the mean distances between items (0: nearest), ordered by the hypothesis, at the layer where "
        "partial alignment rose most: "
        "chosen for the picture, the claims do not choose.",
        chart=chart.to_dict(),
        data=long,
        alt="Distance matrices before and after examples, and the hypothesis.",
    )


def probes(frame: pl.DataFrame) -> Figure:
    """What a probe reads per layer and condition, and its control task."""
    own = frame.filter((pl.col("versus") == "") & (pl.col("layer") >= 0))
    copy = pl.when(pl.col("copy") == "trained").then(pl.lit("")).otherwise(pl.lit(" (re-initialised)"))
    more = pl.when(pl.col("labels") == "task").then(pl.lit("")).otherwise(pl.lit(", ") + pl.col("labels"))
    data = own.with_columns(
        shown=pl.col("task") + ": " + pl.col("target"),
        who=pl.col("condition") + more + copy,
        vectors=pl.col("tokens") + ", " + pl.col("pooling"),
    ).drop("method", "versus")
    keys = data["shown"].unique(maintain_order=True).to_list()
    kinds = first(data["vectors"].unique(maintain_order=True).to_list(), ("all, last",))
    up = alt.Y("estimate:Q", title="above base (accuracy), or R2", scale=alt.Scale(domainMin=-0.5, clamp=True))
    across = alt.X("layer:Q", title="layer (0: embedding)", axis=alt.Axis(tickMinStep=1, format="d"))
    hue: dict[str, Any] = {"color": alt.Color("who:N", title=None, sort=ordered(data["who"].unique().to_list()))}
    tips = [said("who"), said("layer", "Q"), *(rounded(n) for n in ("estimate", "low", "high", "base", "gain0"))]
    band = alt.Chart().mark_area(opacity=0.12, clip=True).encode(x=across, y="low:Q", y2="high:Q", **hue)
    line = alt.Chart().mark_line(clip=True).encode(x=across, y=up, **hue)
    dots = alt.Chart().mark_point(size=34, clip=True).encode(x=across, y=up, tooltip=tips, **hue)
    layered: Any = alt.layer(band, line, dots, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown", "vectors"))
        .properties(width=620, height=280)
        .add_params(switch("shown", keys, title="Target"), switch("vectors", kinds))
    )
    return Figure(
        id="probes",
        title="What a linear reader finds",
        caption="L2 logistic regression or ridge on items it has not seen, the same folds under every condition. Classes: "
        "accuracy minus what needs "
        "no input, among the candidates that are present. Numbers: R2 about the training mean, cut at -.5. control: labels "
        "attached to a word "
        "that recurs; a probe that learns them as well learns words, not the task.",
        chart=chart.to_dict(),
        data=data,
        alt="Probe scores per layer and condition.",
    )
