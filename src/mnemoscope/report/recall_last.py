"""The parts of the recall section about the last layer: its split against the control, who writes, remedies and calibration."""

from collections.abc import Mapping

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, intervals, line, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.section import MAIN, Block, Figure, Grid
from mnemoscope.results.schema.recall_last import CONDITIONS

SCORES = {
    "nll": "log loss",
    "brier": "Brier score",
    "p_answer": "probability, refitted",
    "p_plain": "probability",
    "accuracy": "accuracy",
    "neutral_plain": "neutral text",
}


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """The blocks that the tables have something for."""
    found: list[Block] = []
    if "last_layer" in tables and tables["last_layer"].height:
        parts = tables["last_layer_components"].filter(pl.col("copy") == "trained")
        found += [last_layer(tables["last_layer"]), components(parts)]
    if "mitigation" in tables and tables["mitigation"].height:
        found += [remedies(tables["mitigation"]), calibration(tables["calibration_curves"])]
    return tuple(found)


def last_layer(frame: pl.DataFrame) -> Figure:
    """Drop, dilution and write, facts beside matched neutral text."""
    data = frame.filter(pl.col("quantity") != "probability").with_columns(
        side=pl.col("side").replace({"facts": "facts", "neutral": "matched neutral text", "difference": "difference"})
    )
    names = {
        "condition": [value for value in CONDITIONS if value in data["condition"]],
        "copy": [value for value in COPIES if value in data["copy"]],
    }
    chart = (
        intervals(
            "quantity",
            colour="side",
            order=["drop", "dilution", "write"],
            title="taken from the token in the last layer (logits)",
            extra=[said("n", "Q"), said("n_units", "Q", "Units"), said("reason")],
        )
        .transform_filter(chosen("condition", "copy"))
        .add_params(*(switch(name, values) for name, values in names.items()))
    )
    return Figure(
        id="last-layer",
        title="What the last layer takes away",
        caption="Centred logit before the last layer minus after it, split exactly into dilution (the stream grew) and "
        "write (something was written against the token). Control: the token on top before the last layer, at "
        "positions of neutral text where it is as probable. Selecting facts whose answer stood on top before the "
        "layer makes a drop out of noise, selecting after it a rise: both are here.",
        chart=chart.to_dict(),
        data=data,
        alt="Intervals of drop, dilution and write for facts, neutral text and their difference.",
    )


def components(frame: pl.DataFrame) -> Grid:
    """Who writes against the answer."""
    shown = ["part", "estimate", "low", "high", "sink_mass", "sink_share", "sink_write", "slope"]
    return Grid(
        id="last-layer-parts",
        title="Who writes against the answer",
        caption="Mean share of the write term over all facts (logits; positive is against the answer). Sink: attention on"
        " the prompt's first token, the share of the head's output that comes from there, and its write. "
        "Frequency: rank correlation of what the component pushes with log token counts.",
        data=frame.sort("estimate", descending=True, nulls_last=True).select(shown),
        labels={"estimate": "Write", "slope": "Frequency", "sink_mass": "On sink", "sink_share": "Sink's share"},
    )


def remedies(frame: pl.DataFrame) -> Figure:
    """Gain of every remedy over temperature alone."""
    data = frame.filter(pl.col("score").is_in(list(SCORES)) & ~pl.col("gain_low").is_nan()).with_columns(
        what=pl.col("score").replace(SCORES)
    )
    chart = (
        intervals(
            "remedy",
            estimate="gain",
            low="gain_low",
            high="gain_high",
            title="better than temperature alone by (neutral text: dearer than no remedy by)",
            extra=[rounded("estimate", "Level"), said("n", "Q"), said("n_units", "Q", "Relations")],
        )
        .transform_filter(chosen("what"))
        .add_params(switch("what", [v for k, v in SCORES.items() if k in data["score"].to_list()], title="score"))
    )
    return Figure(
        id="remedies",
        title="Remedies, on relations they were not fitted on",
        caption="Every remedy has its own temperature, fitted on the training relations, except where it says neutral "
        "text or probability (temperature 1). Positive is better; for neutral text it is a cost in nats. heads: "
        "last-layer heads that write against the answer fall silent; frequency: the last MLP loses its push for "
        "frequent tokens; scale: it counts less; skip: no last layer; random: as much as frequency, in a random "
        "direction.",
        chart=chart.to_dict(),
        data=data,
        alt="Intervals of the gain over temperature, one row per remedy.",
    )


def calibration(frame: pl.DataFrame) -> Figure:
    """Confidence against accuracy, per remedy."""
    diagonal = line(x=0, y=0, x2=1, y2=1)
    base = alt.Chart().encode(
        x=alt.X("confidence:Q", title="confidence", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("remedy:N", title=None),
        tooltip=[said("remedy"), rounded("confidence"), rounded("accuracy"), said("n", "Q", "Facts")],
    )
    chart = alt.layer(diagonal, base.mark_line(opacity=0.6), base.mark_point(size=40), data=MAIN)
    return Figure(
        id="calibration",
        title="Is a probability worth its name?",
        caption="Top token on held-out relations, bins of equal mass; on the dashed line confidence is accuracy. none: "
        "the model as it is; temperature: one number for all logits.",
        chart=chart.properties(width=420, height=320).to_dict(),
        data=frame,
        alt="Calibration curves, one per remedy, and the diagonal.",
    )
