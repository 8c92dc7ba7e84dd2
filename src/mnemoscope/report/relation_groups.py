"""Groups of heads taken away: curves over how many, each with the band of layer-matched random sets of as many heads."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report.charts import at_zero, chosen, rounded, said, switch
from mnemoscope.report.section import MAIN, Block, Figure

LEVELS = {
    "right": "share of the right label",
    "pattern": "pattern discovery",
    "format": "format compliance",
    "loss_reduction": "loss reduction",
    "loss": "neutral-text loss",
}
UNITS = {"loss_reduction": "nats", "loss": "nats"}
GROUPS = ("semantic", "semantic not ordinary", "ordinary", "semantic (zeroed)")
NUMBERS = ("estimate", "low", "high", "random_low", "random_high")
APART = 0.008  # of the axis between groups at the same k, so that their intervals do not cover each other
SAID = ("heads", "overlap", "p_sets", "n_sets", "n_units")


def groups(tables: Mapping[str, pl.DataFrame]) -> list[Block]:
    """Change of each level without the k strongest heads of a group, k = 0, 1, ...; nothing where nothing was taken away."""
    rows = tables["relation_group_effects"].filter((pl.col("against") == "nothing") & pl.col("estimate").is_not_nan())
    if not rows.height:
        return []
    data = with_none(rows)
    there = [level for level in LEVELS if level in data["level"]]
    chart = (
        _curves(sorted(data["k"].unique().to_list()))
        .transform_filter(chosen("level"))
        .add_params(switch("level", there, [LEVELS[level] for level in there]))
    )
    return [
        Figure(
            id="groups",
            title="Without the semantic heads",
            caption="Change of a level of in-context learning when the k strongest heads of a group are mean-ablated together, "
            "with 95% intervals over sets of demonstrations or texts; with no head taken away the change is 0. The band in a "
            "group's colour is where 95% of layer-matched random sets of as many heads fall: a group matters as far as it leaves "
            "it. Losses (nats) rise and shares fall when something is lost. Hover for the heads, how many of them are ordinary "
            "induction heads, and p over the sets.",
            chart=chart.to_dict(),
            data=data,
            alt="Curves of the change of in-context learning over the number of heads taken away, with bands of random groups.",
        )
    ]


def with_none(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by group in words, and a row of zeros for each group of which no head is taken away."""
    name = pl.col("group").str.replace_all("_", " ") + pl.when(pl.col("op") == "zero").then(
        pl.lit(" (zeroed)")
    ).otherwise(pl.lit(""))
    data = rows.select("level", name.alias("group"), "k", *NUMBERS, *SAID)
    banded = pl.col("random_low").is_not_nan().any()
    start = data.group_by("level", "group", maintain_order=True).agg(banded.alias("banded"))
    nothing = start.select(
        "level",
        "group",
        pl.lit(0, dtype=pl.Int64).alias("k"),
        *(pl.lit(0.0).alias(name) for name in NUMBERS[:3]),
        *(pl.when("banded").then(0.0).otherwise(float("nan")).alias(name) for name in NUMBERS[3:]),
        *(_nothing(name, data.schema[name]) for name in SAID),
    )
    both = pl.concat([nothing, data]).sort("level", "group", "k")
    side = {group: i - (len(GROUPS) - 1) / 2 for i, group in enumerate(GROUPS)}
    apart = pl.col("group").replace_strict(side, default=0.0, return_dtype=pl.Float64) * pl.col("k").max() * APART
    return both.with_columns(at=pl.col("k") + apart)


def _nothing(name: str, dtype: Any) -> pl.Expr:
    """What is said of a group of which nothing is taken away."""
    value = "none" if dtype == pl.String else float("nan") if dtype == pl.Float64 else 0
    return pl.lit(value, dtype=dtype).alias(name)


def _curves(ks: list[int]) -> Any:
    across = alt.X("at:Q", title="heads taken away (k)", axis=alt.Axis(values=ks, format="d"))
    hue: dict[str, Any] = {"color": alt.Color("group:N", title=None, sort=list(GROUPS))}
    tips = [
        said("group"),
        said("k", "Q", "Heads taken away"),
        said("heads"),
        said("overlap", "Q", "Ordinary among them"),
    ]
    more = [*(rounded(name) for name in NUMBERS), rounded("p_sets"), said("n_sets", "Q", "Random sets")]
    up = alt.Y("estimate:Q", title="change")
    zero = at_zero("y")
    band = alt.Chart().mark_area(opacity=0.16).encode(x=across, y="random_low:Q", y2="random_high:Q", **hue)
    line = alt.Chart().mark_line().encode(x=across, y=up, **hue)
    spread = alt.Chart().mark_rule(strokeWidth=1.5, opacity=0.7).encode(x=across, y="low:Q", y2="high:Q", **hue)
    points = alt.Chart().mark_point(size=60).encode(x=across, y=up, tooltip=[*tips, *more], **hue)
    layered: Any = alt.layer(zero, band, line, spread, points, data=MAIN)
    return layered.properties(width=560, height=280)
