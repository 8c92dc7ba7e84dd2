"""The section of the icl study: does an example help, what does it change inside, and does the control copy show the same?

Behaviour by condition first, because a change inside a model that answers no better needs another reading. Then similarity and
probes by layer with what noise allows above (the ceiling) and what chance allows below (the permutation band), the distances
between items before and after beside the hypothesis, the attention ratio of every head, and prompts with attention drawn on
the tokens; then the causal part.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report import icl_cause
from mnemoscope.report.charts import chosen, filled, marked, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.icl_layers import distances, first, ordered, probes, similarity
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose, Section, Tokens


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
    across = alt.X("condition:N", title=None, sort=ordered(order))
    side: dict[str, Any] = {
        "xOffset": "copy:N",
        "color": alt.Color("copy:N", title=None, sort=list(COPIES)),
    }
    tips = [
        *(said("condition"), said("copy")),
        *(rounded(name) for name in ("estimate", "low", "high", "chance")),
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
        .add_params(switch("shown", first(keys, ("lines: error", "passages: right"))))
    )
    return Figure(
        id="behaviour",
        title="Answers with and without examples",
        caption="Mean over prompts with the 95% interval over lines or name-activity pairs. shuffled: the same examples "
        "with wrong answers; neutral: plain sentences as long as the examples. Dashes: what needs no reading (a random "
        "sentence; the mean of the shown y). Answers that could not be read count as wrong, or cost the largest error.",
        chart=chart.to_dict(),
        data=data,
        alt="Answers by condition, model and re-initialised copy.",
    )


def ratio_map(frame: pl.DataFrame) -> Figure:
    """Layer by head: attention ratio under a condition, or its change."""
    own = frame.filter((pl.col("copy") == "trained") & (pl.col("layer") >= 0)).drop("method")
    minus = pl.when(pl.col("versus") == "").then(pl.lit("")).otherwise(pl.lit(" minus ") + pl.col("versus"))
    place = pl.when(pl.col("head") < 0).then(pl.lit("all")).otherwise(pl.col("head").cast(pl.String))
    data = own.with_columns(shown=pl.col("task") + ": " + pl.col("condition") + minus, column=place)
    keys = first(data["shown"].unique(maintain_order=True).to_list(), ("passages: example minus none",))
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
    cells = filled(
        base.mark_rect(cursor="pointer", invalid=None), "estimate", title="nats", scale=alt.Scale(domainMid=0)
    )
    marks = marked(base, "abs(datum.estimate) >= 0.1", step)
    layered: Any = alt.layer(cells, marks, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown"))
        .properties(width=alt.Step(step), height=alt.Step(step))
        .add_params(alt.param(name="shown", value=keys[0], bind=alt.binding_select(options=keys, name="Shown")))  # pyright: ignore[reportUnknownMemberType]
    )
    return Figure(
        id="ratios",
        title="Where the last token looks: relevant against distracting sentences",
        caption="Excess of log attention per token of the relevant sentence over the other sentences, minus its mean when "
        "each sentence in turn is called relevant. Column all: attention averaged over heads, as published. Dots: at least "
        ".1 nats with p < .05, max-T corrected over all heads. Sinks (special tokens, first column, punctuation) are in no "
        "group; their share is on hover. Hollow: undefined. Click a cell to see the attention below.",
        chart=chart.to_dict(),
        data=data,
        first=data.filter(pl.col("shown") == keys[0]),
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
