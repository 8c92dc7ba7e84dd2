"""Links of the icl study: whether what changes inside goes with what changes in the answers, item by item."""

from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, intervals, rounded, said, switch
from mnemoscope.report.icl_answers import OVER, first_of
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.results.schema.icl_cause import ADJUSTED


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
        .add_params(switch("behaviour", first_of(data["behaviour"], "logprob")))
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
            switch("behaviour", first_of(data["behaviour"], "logprob")),
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


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """With a short name for every link: the task, and what changes inside."""
    short = pl.col("inside").replace({"probe margin": "probe"})
    about = pl.when(pl.col("inside") == "attention ratio").then(pl.lit("")).otherwise(": " + pl.col("about"))
    return frame.with_columns(link=pl.col("task") + ", " + short + about)
