"""The section of the icl study: does an example help, what does it change inside, and does the control copy show the same?

Behaviour by condition first, because a change inside a model that answers no better needs another reading. Then similarity and
probes by layer with what noise allows above (the ceiling) and what chance allows below (the permutation band), the distances
between items before and after beside the hypothesis, the attention ratio of every head, and prompts with attention drawn on
the tokens; then the causal part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report import icl_cause, words
from mnemoscope.report.charts import chosen, rounded, said, switch
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose, Section, Tokens

PRIMARY = {"tokens": "relevant", "pooling": "max"}  # the vectors that carry the claims about similarity
NAMES = {
    "lines": "Lines",
    "passages": "Passages",
    "simple": "Simple passages",
    "persona": "Personas",
    "right": "Right answers",
    "content": "True content in any form",
    "error": "|error|",
}


def section(tables: Mapping[str, pl.DataFrame]) -> Section:
    """The section, with what the tables have to show."""
    blocks: list[Block] = []
    makers = (
        ("icl_behaviour", behaviour),
        ("icl_alignment", similarity),
        ("icl_rdms", distances),
        ("icl_probes", probes),
        ("icl_ratios", ratio_map),
    )
    for name, make in makers:
        frame = tables.get(name)
        if frame is None or not frame.height:
            blocks.append(Prose(paragraphs=(f"There is nothing in the table {name}: it was not measured.",)))
        else:
            blocks.append(make(frame))
    if "icl_ratios" in tables and tables["icl_ratios"].height:
        blocks.append(heads(tables["icl_ratios"]))
    if "attention_rows" in tables and tables["attention_rows"].height:
        blocks.append(attention(tables))
    return Section(
        id="icl",
        title="In-context learning",
        lead="What examples in the prompt change: answers, which prompts are alike inside, what a probe reads, and where "
        "the last token looks.",
        blocks=(*blocks, *icl_cause.blocks(tables)),
    )


def behaviour(frame: pl.DataFrame) -> Figure:
    """Answers by condition, the control copy beside the model, with what needs no reading as a line."""
    own = frame.filter(pl.col("versus") == "").drop("method", "versus")
    pairs = own.select("task", "measure").unique(maintain_order=True).rows()
    keys = [f"{task}: {measure}" for task, measure in pairs]
    data = own.with_columns(shown=pl.col("task") + ": " + pl.col("measure"))
    order = own["condition"].unique(maintain_order=True).to_list()
    across = alt.X("condition:N", title=None, sort=_ordered(order))
    side: dict[str, Any] = {
        "xOffset": "copy:N",
        "color": alt.Color("copy:N", title=None, sort=["trained", "reinitialised"]),
    }
    tips = [
        said("condition"),
        said("copy"),
        rounded("estimate"),
        rounded("low"),
        rounded("high"),
        rounded("chance"),
        said("n", "Q"),
    ]
    bars = (
        alt.Chart()
        .mark_rule(strokeWidth=3)
        .encode(x=across, y=alt.Y("low:Q", title="mean over prompts"), y2="high:Q", **side)
    )
    dots = alt.Chart().mark_point(size=70, filled=True).encode(x=across, y="estimate:Q", tooltip=tips, **side)
    chance = alt.Chart().mark_tick(strokeDash=[3, 3], thickness=2, width=26, opacity=0.7).encode(x=across, y="chance:Q")
    layered: Any = alt.layer(chance, bars, dots, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown"))
        .properties(width=560, height=280)
        .add_params(switch("shown", _first(keys, ("lines: error", "passages: right"))))
    )
    return Figure(
        id="behaviour",
        title="Answers with and without examples",
        caption="Mean over prompts with the 95% interval over lines or name-activity pairs. shuffled: the same examples "
        "with wrong answers; "
        "neutral: plain sentences as long as the examples. Dashes: what needs no reading (a random sentence; the mean of "
        "the shown y). "
        "Answers that could not be read count as wrong, or cost the largest error.",
        chart=chart.to_dict(),
        data=data,
        alt="Answers by condition, model and re-initialised copy.",
    )


def _ordered(conditions: Sequence[str]) -> list[str]:
    """Before, after, controls."""
    first = ("none", "k2", "k4", "k8", "example", "shuffled", "neutral")
    return [c for c in first if c in conditions] + [c for c in conditions if c not in first]


def _first(values: Sequence[str], wanted: Sequence[str]) -> list[str]:
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
    keys = _first(data["shown"].unique(maintain_order=True).to_list(), ("lines: slope", "passages: activities"))
    up = alt.Y("estimate:Q", title="rank correlation with the hypothesis")
    across = alt.X("layer:Q", title="layer (0: embedding)", axis=alt.Axis(tickMinStep=1, format="d"))
    hue: dict[str, Any] = {
        "color": alt.Color("condition:N", title=None, sort=_ordered(data["condition"].unique().to_list()))
    }
    tips = [
        said("layer", "Q"),
        said("condition"),
        *(rounded(n) for n in ("estimate", "low", "high", "ceiling")),
        rounded("p_maxt", "p (max-T)"),
        said("n_units", "Q"),
    ]
    chance = (
        alt.Chart().mark_area(opacity=0.10, color="gray").encode(x=across, y="min(null_low):Q", y2="max(null_high):Q")
    )
    band = alt.Chart().mark_area(opacity=0.13).encode(x=across, y="low:Q", y2="high:Q", **hue)
    top = alt.Chart().mark_line(strokeDash=[2, 3], opacity=0.8).encode(x=across, y="ceiling:Q", **hue)
    line = alt.Chart().mark_line().encode(x=across, y=up, **hue)
    dots = alt.Chart().mark_point(size=34).encode(x=across, y=up, tooltip=tips, **hue)
    layered: Any = alt.layer(chance, band, top, line, dots, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown", "kind"))
        .properties(width=620, height=300)
        .add_params(switch("shown", keys, title="Task: hypothesis"), switch("kind", ["partial", "spearman", "tau-a"]))
    )
    return Figure(
        id="similarity",
        title="Do prompts become alike as the task says?",
        caption="Vectors max-pooled over the relevant tokens of the test item (the same before and after), dimensions "
        "standardised, cosine "
        "distances. partial: bag of tokens at layer 0, length and other nuisances taken out; there layer 0 itself has "
        "nothing left. Grey: what "
        "permuted units give (2.5 to 97.5%). Dotted: the ceiling, what a perfect hypothesis could reach given the noise "
        "between draws.",
        chart=chart.to_dict(),
        data=data,
        alt="Alignment with the hypothesis per layer and condition.",
    )


def distances(frame: pl.DataFrame) -> Figure:
    """Ranked distances between items before and after, beside the hypothesis."""
    data = frame.with_columns(shown=pl.col("task") + ": " + pl.col("hypothesis"))
    conditions = data.group_by("task", maintain_order=True).agg(pl.col("condition").unique(maintain_order=True))
    hypothesis = data.join(conditions.select("task", first=pl.col("condition").list.first()), on="task").filter(
        pl.col("condition") == pl.col("first")
    )
    expected = hypothesis.drop("first").with_columns(condition=pl.lit("hypothesis"), distance=pl.col("expected"))
    long = pl.concat([data, expected]).select("shown", "condition", "layer", "row", "column", "place", "distance")
    keys = _first(long["shown"].unique(maintain_order=True).to_list(), ("lines: slope", "passages: activities"))
    axis = alt.Axis(labels=False, ticks=False, title=None)
    order = alt.EncodingSortField(field="place", op="min")
    base = alt.Chart(MAIN).mark_rect(stroke=None, invalid=None)
    chart = (
        base.encode(
            x=alt.X("column:N", sort=alt.EncodingSortField(field="place", op="max"), axis=axis),
            y=alt.Y("row:N", sort=order, axis=axis),
            color=alt.Color("distance:Q", title="rank", scale=alt.Scale(domain=[0, 1])),
            tooltip=[said("row"), said("column"), rounded("distance", "rank of the distance"), said("layer", "Q")],
        )
        .transform_filter(chosen("shown"))
        .properties(width=250, height=250)
        .facet(
            column=alt.Column(
                "condition:N", title=None, sort=[*_ordered(data["condition"].unique().to_list()), "hypothesis"]
            )
        )
        .add_params(switch("shown", keys, title="Task: hypothesis"))
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
    kinds = _first(data["vectors"].unique(maintain_order=True).to_list(), ("all, last",))
    up = alt.Y("estimate:Q", title="above base (accuracy), or R2", scale=alt.Scale(domainMin=-0.5, clamp=True))
    across = alt.X("layer:Q", title="layer (0: embedding)", axis=alt.Axis(tickMinStep=1, format="d"))
    hue: dict[str, Any] = {"color": alt.Color("who:N", title=None, sort=_ordered(data["who"].unique().to_list()))}
    tips = [said("who"), said("layer", "Q"), *(rounded(n) for n in ("estimate", "low", "high", "base", "gain0"))]
    band = alt.Chart().mark_area(opacity=0.12, clip=True).encode(x=across, y="low:Q", y2="high:Q", **hue)
    line = alt.Chart().mark_line(clip=True).encode(x=across, y=up, **hue)
    dots = alt.Chart().mark_point(size=34, clip=True).encode(x=across, y=up, tooltip=tips, **hue)
    layered: Any = alt.layer(band, line, dots, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown", "vectors"))
        .properties(width=620, height=280)
        .add_params(switch("shown", keys, title="Task: target"), switch("vectors", kinds))
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


def ratio_map(frame: pl.DataFrame) -> Figure:
    """Layer by head: attention ratio under a condition, or its change."""
    own = frame.filter((pl.col("copy") == "trained") & (pl.col("layer") >= 0)).drop("method")
    minus = pl.when(pl.col("versus") == "").then(pl.lit("")).otherwise(pl.lit(" minus ") + pl.col("versus"))
    place = pl.when(pl.col("head") < 0).then(pl.lit("all")).otherwise(pl.col("head").cast(pl.String))
    data = own.with_columns(shown=pl.col("task") + ": " + pl.col("condition") + minus, column=place)
    keys = _first(data["shown"].unique(maintain_order=True).to_list(), ("passages: example minus none",))
    order = ["all", *(str(h) for h in range(int(own["head"].max()) + 1))]  # pyright: ignore[reportArgumentType]
    step = max(8, min(34, 760 // len(order)))
    base = alt.Chart().encode(
        x=alt.X("column:N", title="head", sort=order, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("layer:O", title="layer"),
        tooltip=[
            said("layer"),
            said("column", title="Head"),
            *(rounded(n) for n in ("estimate", "low", "high", "ratio", "sink")),
            rounded("p_maxt", "p (max-T)"),
            said("reason"),
        ],
    )
    cells = base.mark_rect(stroke=None, cursor="pointer", invalid=None).encode(
        color=alt.Color("estimate:Q", title="nats", scale=alt.Scale(domainMid=0))
    )
    sure = alt.when("datum.p_maxt < 0.05 && abs(datum.estimate) >= 0.1").then(alt.value(0.95)).otherwise(alt.value(0))
    marks = base.mark_point(size=max(4, step), color="black").encode(opacity=sure)
    layered: Any = alt.layer(cells, marks, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown"))
        .properties(width=alt.Step(step), height=alt.Step(step))
        .add_params(alt.param(name="shown", value=keys[0], bind=alt.binding_select(options=keys, name="Shown")))
    )
    return Figure(
        id="ratios",
        title="Where the last token looks: relevant against distracting sentences",
        caption="Excess of log attention per token of the relevant sentence over the other sentences, minus its mean when "
        "each sentence in turn is "
        "called relevant. Column all: attention averaged over heads, as published. Dots: at least .1 nats with p < .05, "
        "max-T corrected over all "
        "heads. Sinks (special tokens, first column, punctuation) are in no group; their share is on hover. Click a cell to "
        "see the attention below.",
        chart=chart.to_dict(),
        data=data,
        alt="Heat map of attention ratios by layer and head.",
    )


def heads(frame: pl.DataFrame) -> Grid:
    """Heads whose ratio changed most with the example."""
    own = frame.filter(
        (pl.col("copy") == "trained")
        & (pl.col("versus") != "")
        & (pl.col("head") >= 0)
        & pl.col("estimate").is_not_nan()
    )
    first = own.filter((pl.col("task") == "passages") & (pl.col("condition") == "example"))
    kept = (first if first.height else own).sort(pl.col("estimate").abs(), descending=True)
    columns = ["layer", "head", "condition", "versus", "estimate", "low", "high", "p_maxt", "ratio", "sink", "n_units"]
    return Grid(
        id="heads",
        title="Heads whose attention ratio changes most",
        caption="Choose a row to see the head's attention below.",
        data=kept.select(columns),
        labels={
            "p_maxt": "p (max-T)",
            "n_units": "Items",
            "estimate": "Change (nats)",
            "ratio": "Change of the plain ratio",
        },
        picks=True,
    )


def attention(tables: Mapping[str, pl.DataFrame]) -> Tokens:
    """The same passage without and behind an example."""
    frame = tables.get("icl_ratios")
    named: tuple[tuple[int, int], ...] = ()
    if frame is not None:
        rows = frame.filter(
            (pl.col("copy") == "trained")
            & (pl.col("head") >= 0)
            & (pl.col("versus") != "")
            & pl.col("estimate").is_not_nan()
        )
        best = rows.sort("estimate", descending=True).select("layer", "head").unique(maintain_order=True).head(4)
        named = tuple((int(layer), int(head)) for layer, head in best.rows())
    return Tokens(
        id="tokens",
        title="The last token's attention, without and behind an example",
        caption="The same passage and question in each; the last token is about to answer.",
        prompts=tables["shown_prompts"],
        rows=tables["attention_rows"],
        named=named,
    )


def labelled(name: str) -> str:
    """A task or measure in words."""
    return NAMES.get(name, words.label(name))
