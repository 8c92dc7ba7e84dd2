"""The section of the recall study: what is known, and how the answer comes about, from the topic to the last layer.

First the whole process as one picture with measured numbers on its arrows; then the map of heads and MLPs, with a switch for how
they were changed; the logit lens of topic and answer; what is known, relation by relation; the evidence for every role; and the
steps about MLPs and the last layer.
"""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report import recall_mlp
from mnemoscope.report.charts import chosen, curves, intervals, rounded, said, switch
from mnemoscope.report.flow import Arrow, Step, flow
from mnemoscope.report.recall_map import carrier_map, present
from mnemoscope.report.recall_tables import knowledge_table, left_out, roles, shots
from mnemoscope.report.section import Block, Drawing, Figure, Prose, Section, Tokens

NOTHING = ("The model knows too little of what it was asked; how it recalls was not measured.",)


def section(tables: Mapping[str, pl.DataFrame]) -> Section:
    """The section, with what the tables have to show."""
    blocks: list[Block] = []
    if _has(tables, "effects"):
        blocks.append(pipeline(tables))
        blocks.append(carrier_map(tables["effects"], tables["components"]))
        blocks.append(lens(tables["lens"]))
    elif _has(tables, "knowledge"):
        blocks.append(Prose(paragraphs=NOTHING))
    else:
        blocks.append(Prose(paragraphs=("There is no table of knowledge: nothing was measured.",)))
    if _has(tables, "knowledge"):
        blocks += [knowledge(tables["knowledge"]), knowledge_table(tables["knowledge"])]
    if _has(tables, "roles"):
        blocks.append(roles(tables["roles"]))
    if _has(tables, "attention_rows"):
        blocks.append(attention(tables))
    if _has(tables, "shots"):
        blocks.append(shots(tables["shots"]))
    blocks += recall_mlp.blocks(tables)
    if _has(tables, "left_out"):
        blocks.append(left_out(tables["left_out"]))
    return Section(
        id="recall",
        title="Factual recall",
        lead="What the model knows, which heads carry the topic to where it is asked, and what makes the answer out of it.",
        blocks=tuple(blocks),
    )


def pipeline(tables: Mapping[str, pl.DataFrame]) -> Drawing:
    """Topic, movers, MLP, answer, last layer: what was measured between them."""
    group = _rows(tables.get("roles"), copy="trained", role="mover", half="both")
    moved = _rows(tables.get("answer_terms"), copy="trained", run="plain", term="mlp").sort("estimate", descending=True)
    last = _rows(tables.get("last_layer"), copy="trained", condition="all", quantity="drop", side="facts")
    movers = _movers(tables.get("roles"))
    layer = f"layer {moved['layer'][0]}" if moved.height else "not measured"
    arrows = (
        _arrow("attention", _rows(group, evidence="attention"), ""),
        _arrow("exchanged", _rows(group, evidence="interchange"), "logits"),
        _arrow("writes the answer", moved.head(1), "logits"),
        _arrow("takes away", last, "logits"),
    )
    steps = (
        Step(name="Topic"),
        Step(name="Movers", lines=(movers,)),
        Step(name="MLP", lines=(layer,)),
        Step(name="Answer"),
        Step(name="Last layer"),
    )
    data = pl.DataFrame(
        [
            {"step": arrow.label, "estimate": arrow.estimate, "low": arrow.low, "high": arrow.high, "unit": arrow.unit}
            for arrow in arrows
        ],
        schema={"step": pl.String, "estimate": pl.Float64, "low": pl.Float64, "high": pl.Float64, "unit": pl.String},
    )
    return Drawing(
        id="pipeline",
        title="From the topic to the answer",
        caption="attention: from the last position to the topic, movers chosen on other topics. exchanged: what the "
        "answer's logit (above the vocabulary's mean) loses when one mover says what it says for another "
        "topic. writes: direct push of the strongest MLP on the answer minus another topic's answer. takes "
        "away: drop of the answer in the last layer, all facts. Dashed: the interval includes 0; dotted: not "
        "measured.",
        svg=flow(steps, arrows),
        data=data,
    )


def lens(table: pl.DataFrame) -> Figure:
    """Rank (or centred logit) of topic and answer in the stream after every layer."""
    shown = table.filter(pl.col("token") != "topic_first").with_columns(
        who=pl.col("token")
        + pl.when(pl.col("copy") == "trained").then(pl.lit("")).otherwise(pl.lit(", re-initialised")),
        measure=pl.col("measure").replace({"log10_rank": "rank", "centred": "logit"}),
    )
    chart = curves(
        "layer",
        "estimate",
        colour="who",
        order=["answer", "topic", "answer, re-initialised", "topic, re-initialised"],
        ticks=sorted(shown["layer"].unique().to_list()),
        x_title="after layer (-1: embedding)",
        y_title="log10(1 + rank), or logit",
        extra=[said("n_units", "Q", "Topics")],
    )
    chart = chart.transform_filter(
        "datum.measure == measure && (datum.facts == facts || datum.copy != 'trained')"
    ).add_params(
        switch("measure", ["rank", "logit"], title="Measure"),
        switch("facts", present(shown, "facts"), title="Facts"),
    )
    return Figure(
        id="lens",
        title="Where topic and answer stand, layer by layer",
        caption="The stream at the last position, unembedded after every layer (logit lens): mean over topics, 95% "
        "band. Rank as log10(1 + rank): 0 is the top of the vocabulary. Logit: above the vocabulary's mean. A reading, not a "
        "fact about what later layers use.",
        chart=chart.to_dict(),
        data=shown.select("copy", "facts", "layer", "who", "measure", "estimate", "low", "high", "n_units"),
        alt="Curves of topic and answer over layers.",
    )


def knowledge(table: pl.DataFrame) -> Figure:
    """Accuracy and choice per relation, all templates."""
    shown = table.filter(
        (pl.col("relation") != "") & (pl.col("template") == -1) & (pl.col("shots") == 0) & (pl.col("copy") == "trained")
    ).filter(pl.col("measure").is_in(["choice", "accuracy", "probability", "known"]))
    order = shown.filter(pl.col("measure") == "accuracy").sort("estimate", descending=True)["relation"].to_list()
    chart = intervals("relation", order=order, title="share", extra=[rounded("chance"), said("n_units", "Q", "Topics")])
    chart = chart.transform_filter(chosen("measure")).add_params(
        switch("measure", ["choice", "accuracy", "probability", "known"], title="Measure")
    )
    return Figure(
        id="knowledge",
        title="What is known",
        caption="choice: the answer stands first among the relation's answers. accuracy: first of the whole "
        "vocabulary. known: decided for every template on the fact's other templates. Means over topics, all "
        "templates, no demonstrations.",
        chart=chart.to_dict(),
        data=shown.select("relation", "measure", "estimate", "low", "high", "chance", "n", "n_units"),
        alt="Share of known facts per relation.",
    )


def attention(tables: Mapping[str, pl.DataFrame]) -> Tokens:
    """Where heads look from the last position."""
    named = _rows(tables.get("roles"), copy="trained").filter(pl.col("layer") >= 0)
    heads = named.select("layer", "head").unique().sort("layer", "head") if named.height else pl.DataFrame()
    return Tokens(
        id="attention",
        title="What a head attends to when the answer is asked for",
        caption="The outlined token is the last one; the stronger a token's colour, the more attention it gets. Click"
        " a cell of the map or a row of the roles to choose a head.",
        prompts=tables["shown_prompts"],
        rows=tables["attention_rows"],
        named=tuple((int(layer), int(head)) for layer, head in heads.iter_rows()),
    )


def _arrow(label: str, rows: pl.DataFrame, unit: str) -> Arrow:
    if not rows.height:
        return Arrow(label=label, estimate=float("nan"), low=float("nan"), high=float("nan"), unit=unit)
    row = rows.row(0, named=True)
    return Arrow(label=label, estimate=row["estimate"], low=row["low"], high=row["high"], unit=unit)


def _movers(table: pl.DataFrame | None) -> str:
    some = _rows(table, copy="trained", role="mover").filter(pl.col("layer") >= 0) if table is not None else None
    if some is None or not some.height:
        return "none found"
    heads = some.select("layer", "head").unique().sort("layer", "head")
    return ", ".join(f"L{layer}H{head}" for layer, head in heads.iter_rows())


def _rows(table: pl.DataFrame | None, **where: str) -> pl.DataFrame:
    """Rows with these values; an empty frame where there is no table."""
    if table is None or not table.height:
        return pl.DataFrame({"estimate": []}, schema={"estimate": pl.Float64})
    return table.filter(*[pl.col(name) == value for name, value in where.items()])


def _has(tables: Mapping[str, pl.DataFrame], name: str) -> bool:
    return name in tables and tables[name].height > 0
