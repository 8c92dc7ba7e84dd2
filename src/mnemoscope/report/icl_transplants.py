"""Transplants of the icl study: how much of the gain the state alone brings, layer by layer, beside its controls."""

from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import at_zero, chosen, rounded, said, switch
from mnemoscope.report.icl_answers import OVER, asked, shown
from mnemoscope.report.section import MAIN, Figure, Grid
from mnemoscope.results.schema.icl_cause import SOURCES

SHARED = "unit == 'share of the gain'"
MARKED = "datum.ceiling ? 'ceiling' : 'evidence'"


def transplants(frame: pl.DataFrame) -> Figure:
    """Recovery by layer, a curve per source; the last layer is a ceiling."""
    data = shown(frame.filter((pl.col("copy") == "trained") & (pl.col("layer") != OVER)))
    chart = (
        _recovered()
        .transform_calculate(drawn=f"{SHARED} ? datum.recovery : datum.effect", evidence=MARKED)
        .transform_filter(chosen("shown", "place"))
        .properties(width=620, height=300)
        .add_params(
            asked(data, "logprob"),
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
    zero = at_zero("y")
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
