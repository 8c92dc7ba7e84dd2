"""Heads of the icl study, taken out, and attention turned up and down: are those that look more those that matter?"""

from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import at_zero, chosen, curves, dots, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.icl_answers import asked, shown
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.results.schema.icl_cause import SENTENCES

MOST_LAYERS = 8  # that a reader chooses among


def ablations(frame: pl.DataFrame) -> Figure:
    """The chosen heads against sets of as many heads in the same layers."""
    data = shown(frame).with_columns(
        kind=pl.when(pl.col("set") == 0).then(pl.lit("chosen")).otherwise(pl.lit("random"))
    )
    order = [f"{copy}, {run} examples" for copy in COPIES for run in ("before", "after")]
    rows = alt.Y("row:N", title=None, sort=order)
    x = alt.X("effect:Q", title="change of the answer without them (nats)")
    tips = [said("heads"), said("kind"), rounded("effect")]
    base = alt.Chart().transform_calculate(row="datum.copy + ', ' + datum.run + ' examples'")
    random = (
        base.transform_filter("datum.kind == 'random'")
        .mark_tick(thickness=1.5, opacity=0.5, height=18)
        .encode(x=x, y=rows, tooltip=tips)
    )
    own = (
        base.transform_filter("datum.kind == 'chosen'")
        .mark_point(size=110, shape="diamond", filled=True, color="#d55e00")
        .encode(x=x, y=rows, tooltip=tips)
    )
    zero = at_zero("x")
    layered: Any = alt.layer(zero, random, own, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown"))
        .properties(width=560, height=alt.Step(40))
        .add_params(asked(data, "margin"))
    )
    return Figure(
        id="ablations",
        title="Are the heads that look more the heads that matter?",
        caption="Diamond: the heads whose attention ratio rose most, chosen on other items, replaced by their mean output at the "
        "answering tokens. Ticks: as many heads of the same layers. All numbers are from items that did not choose.",
        chart=chart.to_dict(),
        data=data.select("shown", "copy", "run", "kind", "set", "heads", "effect"),
        alt="Effect of ablating the chosen heads beside random sets of heads.",
    )


def heads(frame: pl.DataFrame) -> Figure:
    """Head by head: rise of the ratio against what is lost without the head."""
    own = frame.filter(pl.col("copy") == "trained").unpivot(
        on=["margin", "logprob"],
        index=["task", "layer", "head", "choosing", "chosen"],
        variable_name="measure",
        value_name="effect",
    )
    kind = pl.when(pl.col("chosen")).then(pl.lit("chosen")).otherwise(pl.lit("other heads"))
    data = shown(own).with_columns(chosen=kind)
    chart = (
        dots(
            "choosing",
            "effect",
            x_title="rise of the log attention ratio with examples (nats)",
            y_title="change of the answer without the head (nats)",
            colour="chosen",
            extra=[said("layer"), said("head")],
        )
        .transform_filter(chosen("shown"))
        .add_params(asked(data, "margin"))
    )
    return Figure(
        id="gain-and-loss",
        title="Head by head",
        caption="One dot per head: what it gains in attention to the relevant sentence on one half of the items, and what the "
        "answers of the other half lose without it. Click a dot to see what the head attends to.",
        chart=chart.to_dict(),
        data=data.drop("task", "measure"),
        alt="Scatter of the rise of the attention ratio against the effect of ablating the head.",
    )


def slopes(frame: pl.DataFrame) -> Figure:
    """Change per doubling of attention, by layer."""
    data = shown(frame.filter((pl.col("copy") == "trained") & (pl.col("heads") == "all")))
    chart = (
        curves(
            "layer",
            "estimate",
            colour="sentence",
            order=(*SENTENCES, "difference"),
            ticks=sorted(data["layer"].unique().to_list()),
            x_title="layer",
            y_title="change per doubling of attention (nats)",
            extra=[rounded("p_maxt", "p (max-T)"), said("n_units", "Q", "Units")],
        )
        .transform_filter(chosen("shown", "run"))
        .add_params(
            asked(data, "margin"),
            switch("run", ("after", "before"), ("behind examples", "without examples"), title="Run"),
        )
    )
    return Figure(
        id="sharpening",
        title="Does more attention to what is relevant make the answer?",
        caption="All heads of one layer attend g times as much to one sentence, at the tokens that predict the answer; slope of "
        "the answer on log2 g with its 95% interval. The distractor is the control: difference is relevant minus distractor.",
        chart=chart.to_dict(),
        data=data.drop("method", "copy", "heads"),
        alt="Slope of the answer per doubling of attention, by layer and sentence.",
    )


def doses(frame: pl.DataFrame) -> Figure:
    """Dose curves of the layers that move the answer most."""
    own = shown(frame.filter((pl.col("copy") == "trained") & (pl.col("heads") == "all")))
    size = own.group_by("layer").agg(pl.col("estimate").fill_nan(0.0).abs().max())
    kept = size.sort("estimate", "layer", descending=[True, False])["layer"].head(MOST_LAYERS).to_list()
    data = own.filter(pl.col("layer").is_in(kept)).with_columns(at=pl.format("layer {}", "layer"))
    chart = (
        _dosed()
        .transform_filter(chosen("shown", "run", "at"))
        .properties(width=560, height=260)
        .add_params(
            asked(data, "margin"),
            switch("run", ("after", "before"), ("behind examples", "without examples"), title="Run"),
            switch("at", [f"layer {layer}" for layer in kept], title="Layer"),
        )
    )
    return Figure(
        id="doses",
        title="Dose curves",
        caption="Mean change of the answer with its 95% interval when attention to one sentence is multiplied by 1/4, 1/2, 2 or 4 "
        "and renormalised; the layers that move the answer most, the strongest first.",
        chart=chart.to_dict(),
        data=data.drop("method", "copy", "heads"),
        alt="Dose curves of attention to the relevant sentence and to a distractor.",
    )


def _dosed() -> Any:
    """A curve per sentence over the factor, with intervals."""
    doubling = alt.Scale(type="log", base=2)
    x = alt.X("g:Q", title="attention times", scale=doubling, axis=alt.Axis(values=[0.25, 0.5, 1, 2, 4]))
    hue = alt.Color("sentence:N", title=None, sort=list(SENTENCES))
    numbers = [rounded(name) for name in ("estimate", "low", "high", "attention")]
    up = alt.Y("low:Q", title="change of the answer (nats)")
    bars = alt.Chart().mark_rule(opacity=0.6).encode(x=x, y=up, y2="high:Q", color=hue)
    line = alt.Chart().mark_line(point=True)
    line = line.encode(x=x, y="estimate:Q", color=hue, tooltip=[said("sentence"), said("g", "Q"), *numbers])
    zero = at_zero("y")
    return alt.layer(zero, bars, line, data=MAIN)
