"""The parts of the recall section about MLPs and function application; those about the last layer are in `recall_last`.

Weights of heads with the regression beside the causal weight; what the fit predicts and replaces; the answer that comes when
movers are exchanged, between its ceilings and its control; the layers in which the answer appears.
"""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report import recall_last
from mnemoscope.report.charts import chosen, curves, intervals, said, switch
from mnemoscope.report.section import Block, Figure, Grid

WIDEST = 2.0  # weights and ends of intervals beyond are drawn at the edge
WEIGHTS = {"estimate": "causal weight", "ols": "least squares", "ridge": "ridge"}
EXCHANGES = {
    "none": "nothing exchanged",
    "movers": "movers, other topic",
    "bystanders": "as many other heads",
    "all_last": "all heads, last position",
    "all_positions": "all heads, all positions",
    "other_relation": "movers, other relation",
    "other_relation_all": "all heads, other relation",
}
ANSWERS = {"flips": "answers r(X')", "attribute": "answers r'(X')"}
REPLACED = {
    "fit": "the fit",
    "no_movers": "the fit without movers",
    "intercept": "the intercept alone",
    "mean": "its mean",
}
FITTED = {  # columns of the table of fits in their order, and what they are called where it is not their name
    "layer": "",
    "ols": "Least squares",
    "ridge": "Ridge",
    "templates": "Templates",
    "shuffled": "",
    "random": "",
    "low_rank": "Low-rank map",
    "rank": "Its rank",
    "jacobian": "Jacobian",
    "condition": "",
    "gain": "Intercept's gain",
    "gain_low": "Gain, low",
    "gain_high": "Gain, high",
}


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """The blocks that the tables have something for, in the order of the mechanism."""
    found: list[Block] = []
    if _trained(tables, "mlp_weights").height:
        found += [
            weights(_trained(tables, "mlp_weights")),
            fits(tables),
            replacements(_trained(tables, "mlp_replacements")),
        ]
    if _trained(tables, "application").height:
        found += [application(_trained(tables, "application")), fractions(_trained(tables, "application"))]
    if _trained(tables, "answer_terms").height:
        found.append(terms(_trained(tables, "answer_terms")))
    return (*found, *recall_last.blocks(tables))


def _trained(tables: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame:
    frame = tables.get(name, pl.DataFrame({"copy": []}, schema={"copy": pl.String}))
    return frame.filter(pl.col("copy") == "trained").drop("copy")


def _drawn(limit: float) -> list[pl.Expr]:
    """Estimates beyond the limit are not drawn, intervals end there."""
    inside = pl.when(pl.col("estimate").abs() <= limit).then(pl.col("estimate")).alias("estimate")
    return [inside, pl.col("low").clip(-limit, limit), pl.col("high").clip(-limit, limit)]


def weights(frame: pl.DataFrame) -> Figure:
    """Per layer, what a head counts behind the MLP: causal weight, least squares and ridge side by side."""
    columns = ["layer", "scope", "space", "part", "mover", "verdict", "reason"]
    parts: list[pl.DataFrame] = []
    for name, label in WEIGHTS.items():
        low, high = ("low", "high") if name == "estimate" else (f"{name}_low", f"{name}_high")
        one = frame.select(*columns, weight=pl.lit(label), estimate=name, low=low, high=high)
        parts.append(one.filter(pl.col("estimate").is_not_nan()))
    data = pl.concat(parts).with_columns(
        layer=pl.format("layer {}", "layer"),
        head=pl.when(pl.col("mover")).then(pl.format("{} (mover)", "part")).otherwise(pl.col("part")),
        space=pl.col("space").replace({"answers": "answers and topics", "full": "full width"}),
    )
    names = {name: data[name].unique(maintain_order=True).to_list() for name in ("layer", "space", "scope")}
    chart = (
        intervals(
            "head",
            colour="weight",
            order=data["head"].unique(maintain_order=True).to_list(),
            title="weight w: behind the layer the head counts 1 + w",
            extra=[said("verdict"), said("reason")],
        )
        .transform_filter(chosen("layer", "space", "scope"))
        .add_params(*(switch(name, values) for name, values in names.items()))
    )
    return Figure(
        id="mlp-weights",
        title="What the MLP makes of each head",
        caption="-1: what the head brings is erased, 0: it stays, above 0: it is amplified. The causal weight asks the MLP itself "
        "without what is particular about the head's output; the verdict follows it. Regression describes, and spreads weight "
        f"among heads that say the same: beyond {WIDEST:g} nothing is drawn. Deviations are from the mean over the relation "
        "(pooled) or over the topic (within).",
        chart=chart.to_dict(),
        data=data.with_columns(_drawn(WIDEST)),
        alt="Intervals of causal and regression weights, one row per head.",
    )


def fits(tables: Mapping[str, pl.DataFrame]) -> Grid:
    """R2 on unseen topics and templates beside its baselines, and the gain of the intercept."""
    own = _trained(tables, "mlp_fits").filter((pl.col("scope") == "pooled") & (pl.col("space") == "answers"))
    topics = own.filter(pl.col("split") == "topics").pivot(on="model", index=["layer", "condition"], values="estimate")
    templates = own.filter((pl.col("split") == "templates") & (pl.col("model") == "ols")).select(
        "layer", templates="estimate"
    )
    rank = own.filter(pl.col("model") == "low_rank").select("layer", "rank")
    gain = _trained(tables, "mlp_intercepts").filter((pl.col("intercept") == "gain") & (pl.col("quantity") == "margin"))
    gain = gain.select("layer", gain="estimate", gain_low="low", gain_high="high")
    data = topics.sort("layer")
    for other in (templates, rank, gain):
        data = data.join(other, on="layer", how="left")
    return Grid(
        id="mlp-fits",
        title="How far a weighted sum of heads predicts the MLP",
        caption="R2 along answers and topics about the training mean, on topics that the fit has not seen (templates: on "
        "unseen templates); the intercept alone is 0. Shuffled: inputs of other topics; random: random directions"
        " of equal length; low rank: a whole matrix per head instead of one weight, of small rank, so what any linear reading "
        "of the same heads reaches; Jacobian: the MLP linearised at its mean input. Gain: how much further (logits) the "
        "within-topic intercept points to the answer than the plain mean output does.",
        data=data.select([name for name in FITTED if name in data.columns]),
        labels={name: label for name, label in FITTED.items() if label},
    )


def replacements(frame: pl.DataFrame) -> Figure:
    """The answer, when an MLP's output is replaced by its fit or by parts of it."""
    data = frame.filter(pl.col("quantity") == "answer").with_columns(
        place=pl.format("layer {}", "layer"), replacement=pl.col("replacement").replace(REPLACED)
    )
    order = data["place"].unique(maintain_order=True).to_list()
    return Figure(
        id="mlp-replacements",
        title="The MLP replaced by its fit",
        caption="Change of the answer's centred logit (logits) when the MLP's output at the last position is replaced by "
        "what a fit on the other half of the topics predicts. What the fit keeps, a weighted sum of heads can do.",
        chart=intervals("place", colour="replacement", order=order, title="change of the answer (logits)").to_dict(),
        data=data,
        alt="Intervals of the answer's change per layer and replacement.",
    )


def application(frame: pl.DataFrame) -> Figure:
    """Which answer comes when heads say what they say elsewhere."""
    kept = pl.col("quantity").str.contains("flips|attribute")
    data = frame.filter(kept).with_columns(
        answer=pl.col("quantity").str.split("_").list.first().replace(ANSWERS),
        among=pl.col("quantity").str.split("_").list.last(),
        heads=pl.col("exchange").replace(EXCHANGES),
        asked=pl.when(pl.col("relation") == "").then(pl.lit("all")).otherwise(pl.col("relation")),
    )
    chart = (
        intervals(
            "heads",
            colour="answer",
            order=list(EXCHANGES.values()),
            title="share of prompts",
            extra=[said("n", "Q"), said("n_units", "Q", "Topics")],
        )
        .transform_filter(chosen("among", "asked", "facts"))
        .add_params(
            switch("among", ["answers", "vocabulary"], ["relation's answers", "vocabulary"], "on top among"),
            switch("facts", [value for value in ("all", "known") if value in data["facts"]]),
            switch("asked", data["asked"].unique(maintain_order=True).to_list(), title="relation"),
        )
    )
    return Figure(
        id="application",
        title="Was the topic carried, or the answer?",
        caption="Heads say at the last position what they say in another prompt: about the partner X' in the same "
        "relation r, or about X' in another relation r'. If the movers carry the topic, r(X') must come in both "
        "cases; if they carry the finished answer, the other relation brings r'(X'). Movers were chosen on other "
        "topics. All heads are the ceiling, as many other heads the floor.",
        chart=chart.to_dict(),
        data=data,
        alt="Shares of prompts that answer r(X') or r'(X') per exchange.",
    )


def fractions(frame: pl.DataFrame) -> Grid:
    """How far movers and bystanders move the logit difference, and of what the ceilings reach."""
    kept = pl.col("quantity").str.starts_with("of_") & (pl.col("relation") == "") & (pl.col("facts") == "all")
    data = frame.filter(kept)
    return Grid(
        id="fractions",
        title="How far the difference moves",
        caption="(exchanged - plain) / (the other prompt's own run - plain) of the logit of r(X') minus r(X), and the "
        "same as a fraction of the two ceilings; ratios of means over prompts, intervals over topics.",
        data=data.select("exchange", "quantity", "estimate", "low", "high", "n", "n_units", "reason"),
        labels={"n_units": "Topics", "n": "Prompts"},
    )


def terms(frame: pl.DataFrame) -> Figure:
    """Attention's and the MLP's push on the answer, layer by layer."""
    data = frame.filter(pl.col("term") != "place").with_columns(
        run=pl.col("run").replace({"plain": "plain", "exchanged": "movers exchanged"})
    )
    layers = data["layer"].unique().sort().to_list()
    chart = (
        curves(
            "layer",
            "estimate",
            colour="term",
            order=["attn", "mlp"],
            ticks=layers[:: max(1, len(layers) // 12)],
            y_title="push on r(X) minus r(X') (logits)",
        )
        .transform_filter(chosen("run"))
        .add_params(switch("run", [run for run in ("plain", "movers exchanged") if run in data["run"]]))
    )
    return Figure(
        id="answer-terms",
        title="Where the answer appears",
        caption="Direct push of every layer's attention and MLP on the answer minus the partner's answer, final norm at "
        "its own scale; band: 95% over topics. With the movers exchanged, what depends on them turns round.",
        chart=chart.to_dict(),
        data=data,
        alt="Two curves over layers: attention and MLP.",
    )
