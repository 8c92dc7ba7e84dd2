"""The map of the recall study: layer by head, MLP last, with a switch for how each was changed; the copy beside it."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import chosen, filled, marked, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.report.theme import STEPS, palette

MAP_WIDTH = 840  # of the model and its copy together
RECEIVERS = {"logits": "to the logits", "q": "into queries", "k": "into keys", "v": "into values"}


def carrier_map(effects: pl.DataFrame, components: pl.DataFrame) -> Figure:
    """Layer by head, MLP last: effect of each by the chosen method; a dot where it is significant over the whole map."""
    data = map_rows(effects, components)
    kinds = data["map"].unique(maintain_order=True).to_list()
    columns = [*sorted({str(h) for h in data["head"].unique().to_list() if h >= 0}, key=int), "MLP"]
    copies = [copy for copy in COPIES if copy in data["copy"]]
    step = max(8, min(32, MAP_WIDTH // (len(copies) * len(columns))))
    chart = (
        _parts(columns, step)
        .transform_filter(chosen("map", "facts") + " || (datum.map == map && datum.copy != 'trained')")
        .properties(width=alt.Step(step), height=alt.Step(step))
        .facet(column=alt.Column("copy:N", title=None, sort=copies))
        .add_params(
            alt.param(name="palette", value=palette("light")),
            alt.param(name="top", value=_tops(data)),
            switch("map", kinds, kinds, title="Change"),
            switch("facts", present(data, "facts"), title="Facts"),
        )
    )
    return Figure(
        id="map",
        title="Who carries the answer",
        caption="Change of the answer's logit (above the vocabulary's mean) when a head, or an MLP, says something "
        "else at the last position; negative: the answer rests on it. Exchanged: what it says for another "
        "topic, everything later answers. Paths: its mean over other topics, the attention of all other heads"
        " held. Attribution: what it adds directly (positive: for the answer). Dots mark effects of at least "
        ".1 logit with p < .05, max-T corrected over the map. Hollow: undefined. The re-initialised copy is the same "
        "architecture with fresh weights.",
        chart=chart.to_dict(),
        data=data,
        first=data.filter(pl.col("map") == kinds[0]),
        alt=f"Heat map of {data['layer'].n_unique()} layers by {len(columns)} parts, trained and re-initialised.",
    )


def _parts(columns: list[str], step: int) -> Any:
    """Cells of the carrier map, and dots on those that are significant."""
    tips = [
        *(said("layer"), said("part"), rounded("estimate", "logits"), rounded("low"), rounded("high")),
        *(rounded("p_maxt", "p (max-T)"), rounded("partner", "partner's answer"), rounded("percent")),
        said("n_units", "Q", "Topics"),
    ]
    base = alt.Chart().encode(
        x=alt.X("part:N", title="head, and the layer's MLP", sort=columns, axis=alt.Axis(orient="top")),
        y=alt.Y("layer:O", title="layer"),
        tooltip=tips,
    )
    cells = filled(base.mark_rect(cursor="pointer", invalid=None), "estimate", scale=_scale(), title=None)
    dots = marked(base, "abs(datum.estimate) >= 0.1", step)
    return alt.layer(cells, dots, data=MAIN)


def _tops(data: pl.DataFrame) -> dict[str, float]:
    """Ends of the colour scale of each map: the largest size of an effect, the same below and above 0."""
    tops = data.group_by("map", maintain_order=True).agg(pl.col("estimate").fill_nan(0.0).abs().max())
    return {name: float(f"{top or 1.0:.3g}") for name, top in tops.iter_rows()}


def _scale() -> Any:
    colours = [{"expr": f"palette['diverging'][{i}]"} for i in range(STEPS)]
    return alt.Scale(
        domainMin=alt.ExprRef("-top[map]"),
        domainMax=alt.ExprRef("top[map]"),
        range=colours,  # pyright: ignore[reportArgumentType]
        interpolate="rgb",
        clamp=True,
    )


def map_rows(effects: pl.DataFrame, components: pl.DataFrame) -> pl.DataFrame:
    """All maps in one table, named by what was changed."""
    shots = pl.when(pl.col("shots") > 0).then(pl.format(", {} demonstrations", "shots")).otherwise(pl.lit(""))
    name = (
        pl.when(pl.col("method") == "interchange")
        .then(pl.lit("Exchanged") + shots)
        .otherwise(pl.lit("Paths ") + pl.col("receiver").replace(RECEIVERS))
    )
    columns = (
        "copy",
        "facts",
        "map",
        "layer",
        "head",
        "part",
        "estimate",
        "low",
        "high",
        "p_maxt",
        "partner",
        "percent",
    )
    part = pl.when(pl.col("head") < 0).then(pl.lit("MLP")).otherwise(pl.col("head").cast(pl.String))
    order = pl.col("method").replace_strict({"interchange": 0, "path": 1}, return_dtype=pl.Int64)
    receiver = pl.col("receiver").replace_strict({name: i for i, name in enumerate(RECEIVERS)}, return_dtype=pl.Int64)
    moved = effects.sort(order, "shots", receiver, "copy", "facts", "layer", "head", descending=False)
    moved = moved.with_columns(map=name, part=part).select(*columns, "n_units")
    direct = components.filter(
        (pl.col("target") == "answer_mean") & pl.col("part").is_in(["head", "mlp"])
    ).with_columns(
        map=pl.lit("Attribution"),
        part=part,
        p_maxt=pl.lit(float("nan")),
        partner=pl.lit(float("nan")),
        percent=pl.lit(float("nan")),
    )
    return pl.concat([moved, direct.select(*columns, "n_units")])


def present(data: pl.DataFrame, name: str) -> Sequence[str]:
    """The values of a column, "all" first."""
    return sorted(data[name].unique().to_list())
