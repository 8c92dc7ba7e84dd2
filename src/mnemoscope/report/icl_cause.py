"""What the page shows of the causal part of the icl study: links per prompt, transplants, ablations, dose curves.

Every picture has its controls in it: other sources beside the item's own, the cloud of random sets beside the chosen heads, the
distractor beside the relevant sentence, conditions' means taken out beside left in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, curves, dots, intervals, rounded, said, switch
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose
from mnemoscope.results.schema.icl_cause import ADJUSTED, SENTENCES, SOURCES

OVER = -1  # layer: the mean that claims rest on
MOST_LAYERS = 8  # that a reader chooses among
SHARED = "unit == 'share of the gain'"
MARKED = "datum.ceiling ? 'ceiling' : 'evidence'"
WORDS = {"logprob": "log probability", "margin": "margin over the distractors"}
LINKED = "Do the things that examples change inside change together with the answers, item by item?"
LEAD = (
    "So far things change together. What follows changes one of them: the state that examples leave is carried into the run "
    "without examples; heads are taken out; attention is turned up and down. Changes of answers are in nats, of the log "
    "probability of the whole right answer or of its margin over the nearest distractor."
)


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """Blocks of the causal part, in reading order; what was not measured is left out and said."""
    makers = (
        ("icl_links", link_slopes),
        ("icl_link_points", link_points),
        ("", LEAD),
        ("icl_recovery", transplants),
        ("icl_recovery", transplants_in_numbers),
        ("icl_ablation_sets", ablations),
        ("icl_head_gains", heads),
        ("icl_dose_slopes", slopes),
        ("icl_doses", doses),
    )
    found: list[Block] = []
    absent: list[str] = []
    for name, make in makers:
        frame = tables.get(name)
        if isinstance(make, str):
            found.append(Prose(paragraphs=(make,)))
        elif frame is None or not frame.height:
            absent.append(name)
        else:
            found.append(make(frame))
    if absent:
        found.append(Prose(paragraphs=(f"Not measured: {', '.join(dict.fromkeys(absent))}.",)))
    return (Prose(paragraphs=(LINKED,)), *found)


def link_slopes(frame: pl.DataFrame) -> Figure:
    """Slope of behaviour on what changes inside, with and without the means of the conditions."""
    data = _named(frame.filter((pl.col("layer") == OVER) & pl.col("within").is_in(ADJUSTED)))
    chart = (
        intervals(
            "link",
            colour="within",
            title="slope, in within-item standard deviations",
            extra=[said("n_units", "Q", "Units"), said("reason")],
        )
        .transform_filter(chosen("behaviour"))
        .add_params(switch("behaviour", _first(data["behaviour"], "logprob")))
    )
    return Figure(
        id="links",
        title="Does a change inside go with a change in the answer?",
        caption="Regression within items, before to after examples, with 95% intervals over items. Within items alone, any two "
        "things that both rise are linked; with the means of the conditions taken out as well, only the items whose inside "
        "changed more can be those whose answer changed more. Claims rest on the latter.",
        chart=chart.to_dict(),
        data=data.drop("method", "layer"),
        alt="Slopes of behaviour on alignment, probes and attention ratio, with intervals.",
    )


def link_points(frame: pl.DataFrame) -> Figure:
    """Change against change, one dot per prompt, with the least-squares line."""
    data = _named(frame)
    tips = [said("item"), rounded("change_inside"), rounded("change_behaviour")]
    x = alt.X("change_inside:Q", title="change inside (after - before)")
    y = alt.Y("change_behaviour:Q", title="change of the answer (after - before)")
    cloud = alt.Chart().mark_point(size=40, opacity=0.75).encode(x=x, y=y, tooltip=tips)
    line = (
        alt.Chart()
        .transform_regression("change_inside", "change_behaviour")
        .mark_line(strokeDash=[5, 3])
        .encode(x=x, y=y)
    )
    layered: Any = alt.layer(cloud, line, data=MAIN)
    chart = (
        layered.transform_filter(chosen("link", "behaviour"))
        .properties(width=560, height=300)
        .add_params(
            switch("link", data["link"].unique(maintain_order=True).to_list()),
            switch("behaviour", _first(data["behaviour"], "logprob")),
        )
    )
    return Figure(
        id="link-points",
        title="Change against change",
        caption="One dot per prompt. Alignment and probe margin are averaged over the upper half of the layers, the attention "
        "ratio over all. Dashed: least squares over all prompts; slopes within items, with intervals, stand above.",
        chart=chart.to_dict(),
        data=data.select("link", "behaviour", "item", "draw", "change_inside", "change_behaviour"),
        alt="Scatter of the change inside against the change of the answer.",
    )


def transplants(frame: pl.DataFrame) -> Figure:
    """Recovery by layer, a curve per source; the last layer is a ceiling."""
    data = _shown(frame.filter((pl.col("copy") == "trained") & (pl.col("layer") != OVER)))
    chart = (
        _recovered()
        .transform_calculate(drawn=f"{SHARED} ? datum.recovery : datum.effect", evidence=MARKED)
        .transform_filter(chosen("shown", "place"))
        .properties(width=620, height=300)
        .add_params(
            _asked(data, "logprob"),
            switch("place", data["place"].unique(maintain_order=True).to_list()),
            switch("unit", ("share of the gain", "nats")),
        )
    )
    return Figure(
        id="transplants",
        title="How much of the gain comes with the state alone",
        caption="The run before examples takes, behind one block, the residual stream of another run at the same tokens of the "
        "item: behind its own examples, behind examples with shuffled answers, behind neutral text of the same length, or that of "
        "another item. Recovery is (patched - before) / (after - before); it is drawn where the gain's interval excludes 0. "
        "Crosses mark the last block, where the last token's state is the answer itself: a ceiling, no evidence. Claims subtract "
        "the neutral prefix and average the upper half of the layers without the last.",
        chart=chart.to_dict(),
        data=data.drop("method", "copy", "n"),
        alt="Recovery of transplants by layer, one curve per source.",
    )


def _recovered() -> Any:
    """Curves with bands, and a cross on the ceiling."""
    axis = alt.Axis(format="d", tickMinStep=1)
    across = alt.X("layer:Q", title="behind block", scale=alt.Scale(nice=False), axis=axis)
    both: dict[str, Any] = {"x": across, "color": alt.Color("source:N", title=None, sort=list(SOURCES))}
    up = alt.Y("drawn:Q", title="recovered")
    shape = alt.Scale(domain=["evidence", "ceiling"], range=["circle", "cross"])
    tips = [
        said("source"),
        said("layer", "Q"),
        rounded("recovery"),
        rounded("estimate", "Minus neutral"),
        rounded("low"),
        rounded("high"),
        rounded("p_maxt", "p (max-T)"),
        rounded("effect", "Effect (nats)"),
        rounded("gain", "Gain (nats)"),
        said("n_units", "Q", "Units"),
        said("reason"),
    ]
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], opacity=0.6).encode(y=alt.datum(0))
    band = alt.Chart().transform_filter(SHARED).mark_area(opacity=0.14)
    band = band.encode(y=alt.Y("recovery_low:Q"), y2="recovery_high:Q", **both)
    line = alt.Chart().mark_line().encode(y=up, **both)
    marks = alt.Chart().mark_point(size=55)
    marks = marks.encode(y=up, tooltip=tips, shape=alt.Shape("evidence:N", title=None, scale=shape), **both)
    return alt.layer(zero, band, line, marks, data=MAIN)


def transplants_in_numbers(frame: pl.DataFrame) -> Grid:
    """The rows that claims rest on."""
    own = frame.filter(pl.col("layer") == OVER).sort(
        "copy", "task", "place", "measure", descending=[True, False, True, False]
    )
    numbers = ("recovery", "estimate", "low", "high", "effect", "gain", "n_units")
    columns = ("task", "measure", "place", "source", *numbers, "copy")
    return Grid(
        id="recovery",
        title="Transplants in numbers",
        caption="Mean over the upper half of the layers without the last. Recovery: share of the gain; minus neutral, with its "
        "interval: above that of the neutral prefix; effect and gain in nats.",
        data=own.select(*columns, "reason"),
        labels={"estimate": "Minus neutral"},
    )


def ablations(frame: pl.DataFrame) -> Figure:
    """The chosen heads against sets of as many heads in the same layers."""
    data = _shown(frame).with_columns(
        kind=pl.when(pl.col("set") == 0).then(pl.lit("chosen")).otherwise(pl.lit("random"))
    )
    order = [f"{copy}, {run} examples" for copy in ("trained", "reinitialised") for run in ("before", "after")]
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
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x=alt.datum(0))
    layered: Any = alt.layer(zero, random, own, data=MAIN)
    chart = (
        layered.transform_filter(chosen("shown"))
        .properties(width=560, height=alt.Step(40))
        .add_params(_asked(data, "margin"))
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
    data = _shown(own).with_columns(chosen=kind)
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
        .add_params(_asked(data, "margin"))
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
    data = _shown(frame.filter((pl.col("copy") == "trained") & (pl.col("heads") == "all")))
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
            _asked(data, "margin"),
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
    own = _shown(frame.filter((pl.col("copy") == "trained") & (pl.col("heads") == "all")))
    size = own.group_by("layer").agg(pl.col("estimate").fill_nan(0.0).abs().max())
    kept = size.sort("estimate", "layer", descending=[True, False])["layer"].head(MOST_LAYERS).to_list()
    data = own.filter(pl.col("layer").is_in(kept)).with_columns(at=pl.format("layer {}", "layer"))
    chart = (
        _dosed()
        .transform_filter(chosen("shown", "run", "at"))
        .properties(width=560, height=260)
        .add_params(
            _asked(data, "margin"),
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
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], opacity=0.6).encode(y=alt.datum(0))
    return alt.layer(zero, bars, line, data=MAIN)


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """With a short name for every link: the task, and what changes inside."""
    short = pl.col("inside").replace({"probe margin": "probe"})
    about = pl.when(pl.col("inside") == "attention ratio").then(pl.lit("")).otherwise(": " + pl.col("about"))
    return frame.with_columns(link=pl.col("task") + ", " + short + about)


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """With the column that the reader chooses by: task and what is read of its answers; a margin nobody has is left out."""
    number = "estimate" if "estimate" in frame.columns else "effect"
    there = frame.with_columns(some=pl.col(number).is_finite().any().over("task", "measure"))
    kept = there.filter(pl.col("some") | (pl.col("measure") == "logprob")).drop("some")
    named = pl.col("measure").replace(WORDS)
    return kept.with_columns(shown=pl.col("task") + ": " + named)


def _asked(data: pl.DataFrame, first: str) -> Any:
    """The switch between answers; those that the claim rests on first."""
    there = (
        data.select("shown", "measure")
        .unique(maintain_order=True)
        .sort(pl.col("measure") != first, maintain_order=True)
    )
    return switch("shown", there["shown"].to_list(), title="Answers")


def _first(values: pl.Series, wanted: str) -> Sequence[str]:
    there = values.unique(maintain_order=True).to_list()
    return [v for v in (wanted,) if v in there] + [v for v in there if v != wanted]
