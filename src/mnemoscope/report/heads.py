"""The section of the heads study: who does it, does it matter, and would a model that learned nothing score the same?

One data set feeds one map: a switch for the score, one for value, chance or the difference; the re-initialised copy
stands beside the model on the same scale. Then every score against the causal effect of removing the head, all heads of
both copies on one line, the ranked table, and the prompts with attention drawn on the tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report import relations, words
from mnemoscope.report.charts import chosen, dots, rounded, said, switch
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose, Section, Tokens
from mnemoscope.report.theme import STEPS, palette
from mnemoscope.results.schema.heads import COPIES, RELATION_SCORES, SCORES

CAUSE = "ablation_loss"  # mean ablation is the primary one
CAUSES = tuple(score for score in SCORES if score.startswith(CAUSE))
EVERY = (*SCORES, *RELATION_SCORES)
UNITS = (
    dict.fromkeys(EVERY, "share of attention")
    | relations.UNITS
    | {score: "share of the output" for score in SCORES if score.startswith("copying")}
    | dict.fromkeys(CAUSES, "nats of loss on repeated tokens")
)
LABELS = (
    {score: words.label(score) for score in SCORES}
    | relations.LABELS
    | {
        "copying": "Copying (embedding)",
        "copying_contextual": "Copying (in context)",
        "ablation_loss": "Loss (mean-ablated)",
        "ablation_loss_zero": "Loss (zeroed)",
        "ablation_loss_resample": "Loss (resampled)",
    }
)
SHOWN = ("value", "chance", "above chance")
WHOLE = 4  # a head with more queries kept than so many best events has its whole pattern shown
MAP_WIDTH = 840  # of the model and its copy together


def section(tables: Mapping[str, pl.DataFrame]) -> Section:
    """The section, with what the tables have to show."""
    heads = tables.get("heads")
    blocks: list[Block] = []
    if heads is None or not heads.height:
        blocks.append(Prose(paragraphs=("There is no table of heads: nothing was measured.",)))
    else:
        heads = relations.shown(heads)
        blocks.append(head_map(heads))
        heads = heads.filter(pl.col("relation") == "")
        trained = heads.filter(pl.col("copy") == "trained")
        if CAUSE in trained["score"] and trained["score"].n_unique() > 1:
            blocks.append(score_against_cause(trained))
        blocks += [control(heads), ranking(trained), *relations.blocks(tables)]
    if "attention_rows" in tables and tables["attention_rows"].height:
        blocks.append(attention(tables))
    return Section(
        id="heads",
        title="Attention heads",
        lead="Which heads look back to what followed last time, write what they see, and are missed when they are gone.",
        blocks=tuple(blocks),
    )


def head_map(heads: pl.DataFrame) -> Figure:
    """Layer by head, coloured by the chosen score; a dot where it is significant over the whole map."""
    scores, copies = _present(heads, "score", EVERY), _present(heads, "copy", COPIES)
    step = max(6, min(32, MAP_WIDTH // (len(copies) * heads["head"].n_unique())))
    drawn = "shown == 'value' ? datum.estimate : shown == 'chance' ? datum.chance : datum.estimate - datum.chance"
    base = alt.Chart().encode(
        x=alt.X("head:O", title="head", axis=_every(heads["head"], orient="top")),
        y=alt.Y("layer:O", title="layer", axis=_every(heads["layer"])),
        tooltip=_tooltip(),
    )
    cells = base.mark_rect(stroke=None, cursor="pointer", invalid=None).encode(
        color=alt.Color("drawn:Q", scale=_scale(), title=None)
    )
    significant = (
        alt.when("datum.p_maxt < 0.05 && abs(datum.estimate - datum.chance) >= 0.01 && shown != 'chance'")
        .then(alt.value(0.95))
        .otherwise(alt.value(0))
    )
    dots = base.mark_point(size=max(4, step), color="#e6930a").encode(opacity=significant)
    layered: Any = alt.layer(cells, dots, data=MAIN)
    chart = (
        layered.transform_filter("datum.score == score && datum.corpus == used && datum.relation == about")
        .transform_calculate(drawn=drawn, interval=_interval())
        .properties(width=alt.Step(step), height=alt.Step(step))
        .facet(column=alt.Column("copy:N", title=None, sort=copies))
        .properties(
            title=alt.Title(alt.ExprRef("title[score] + ', ' + shown + ', ' + used + (about ? ', ' + about : '')"))
        )  # pyright: ignore[reportArgumentType]
        .add_params(
            alt.param(name="palette", value=palette("light")),
            alt.param(name="top", value=_tops(heads)),
            alt.param(name="signed", value={score: score in CAUSES for score in scores}),
            alt.param(name="title", value={score: f"{LABELS[score]} ({UNITS[score]})" for score in scores}),
            *_switches(heads),
            *_relation_switch(heads),
            switch("shown", SHOWN),
        )
    )
    return Figure(
        id="map",
        title="Every head, every score",
        caption="Rows are layers, columns are heads; the re-initialised copy is the same architecture with fresh weights. "
        "Dots mark heads at least .01 from chance with p < .05, max-T corrected over all heads of the map: a fixed head of random "
        "weights is never exactly even, and enough sequences make any difference significant. Value and chance share one "
        "scale. Click a cell to see what the head attends to, below.",
        chart=chart.to_dict(),
        data=heads.drop("method"),
        alt=f"Heat map of {heads['layer'].n_unique()} layers by {heads['head'].n_unique()} heads, trained and re-initialised.",
    )


def score_against_cause(trained: pl.DataFrame) -> Figure:
    """Each observational score against what happens when the head is removed, one dot per head."""
    wide = _wide(trained)
    scores = [score for score in wide.columns if score in SCORES and score not in CAUSES]
    long = wide.unpivot(on=scores, index=["layer", "head", CAUSE], variable_name="score", value_name="value")
    chart = (
        dots(
            "value",
            CAUSE,
            x_title="score of the head",
            y_title="rise of the loss (nats)",
            extra=[said("layer"), said("head")],
        )
        .transform_filter(chosen("score"))
        .add_params(switch("score", scores, [LABELS[score] for score in scores]))
    )
    return Figure(
        id="cause",
        title="Does the score predict the effect?",
        caption="One dot per head. A score says where a head looks or what it writes; the vertical axis says what the model "
        "loses without it. Click a dot to see what the head attends to.",
        chart=chart.to_dict(),
        data=long,
        alt="Scatter of a head's score against the effect of its ablation.",
    )


def control(heads: pl.DataFrame) -> Figure:
    """All heads of the model above all heads of its re-initialised copy, per score, with the chance level."""
    copies = _present(heads, "copy", COPIES)
    rows = alt.Y("copy:N", title=None, sort=copies)
    ticks = (
        alt.Chart()
        .mark_tick(thickness=1.5, opacity=0.5, height=18)
        .encode(
            x=alt.X("estimate:Q", title="score"),
            y=rows,
            color=alt.Color("copy:N", legend=None, sort=copies),
            tooltip=[said("copy"), said("layer"), said("head"), rounded("estimate"), rounded("chance")],
        )
    )
    chance = alt.Chart().mark_rule(strokeDash=[3, 3]).encode(x="mean(chance):Q")
    chart = (
        alt.layer(chance, ticks, data=MAIN)
        .transform_filter("datum.score == score && datum.corpus == used")
        .add_params(*_switches(heads))
        .properties(width=680, height=alt.Step(36))
    )
    return Figure(
        id="control",
        title="The control, head by head",
        caption="One tick per head; the dashed line is the chance level. What the re-initialised copy reaches, the "
        "architecture gives for nothing.",
        chart=chart.to_dict(),
        data=heads.select("copy", "corpus", "score", "layer", "head", "estimate", "chance"),
        alt="Strip plot of the scores of all heads, trained above re-initialised.",
    )


def ranking(trained: pl.DataFrame) -> Grid:
    """One row per head, its scores side by side, the strongest prefix matching (or first score) on top."""
    wide = _wide(trained)
    first = next(name for name in wide.columns if name in SCORES)
    return Grid(
        id="ranking",
        title="Heads, ranked",
        caption=f"Means over sequences ({trained['corpus'][0]}). Loss: how much the loss on repeated tokens rises, in nats, "
        "when the head is ablated. Click a heading to sort, a row to see its attention.",
        data=wide.sort(first, descending=True, nulls_last=True),
        labels=LABELS,
        picks=True,
    )


def attention(tables: Mapping[str, pl.DataFrame]) -> Tokens:
    """The token view; heads whose whole patterns were kept are those that the study names."""
    rows = tables["attention_rows"]
    queries = rows.group_by("layer", "head", "prompt").agg(pl.len().alias("queries"))
    named = queries.filter(pl.col("queries") > WHOLE).select("layer", "head").unique().sort("layer", "head")
    return Tokens(
        id="attention",
        title="What a head attends to",
        caption="The outlined token is the query; the stronger a token's colour, the more attention it gets. Arrow keys or "
        "a click move the query where the whole pattern was kept.",
        prompts=tables["shown_prompts"],
        rows=rows,
        events=tables.get("shown_events"),
        named=tuple((int(layer), int(head)) for layer, head in named.iter_rows()),
    )


def _wide(trained: pl.DataFrame) -> pl.DataFrame:
    """One row per head with a column per score, on the first corpus."""
    kept = trained.filter(pl.col("corpus") == trained["corpus"][0]).sort("score", "layer", "head")
    wide = kept.pivot(on="score", index=["layer", "head"], values="estimate", aggregate_function="first")
    return wide.select("layer", "head", *(name for name in SCORES if name in wide.columns))


def _present(heads: pl.DataFrame, name: str, order: Sequence[str] = ()) -> list[str]:
    """Values of a column that occur, in the declared order, then in order of appearance."""
    there = heads[name].unique(maintain_order=True).to_list()
    return [value for value in order if value in there] + [value for value in there if value not in order]


def _tops(heads: pl.DataFrame) -> dict[str, float]:
    """Upper end of the colour scale of each score: the largest finite size of value or chance."""
    sizes = heads.with_columns(size=pl.max_horizontal(pl.col("estimate").abs(), pl.col("chance").abs()).fill_nan(0.0))
    tops = sizes.group_by("score", maintain_order=True).agg(pl.col("size").max())
    return {score: float(f"{top or 1.0:.3g}") for score, top in tops.iter_rows()}


def _switches(heads: pl.DataFrame) -> tuple[Any, ...]:
    """Score and corpus; `used` is the corpus shown: the chosen one, or one that the chosen score was measured on."""
    scores, corpora = _present(heads, "score", EVERY), _present(heads, "corpus")
    has = {score: _present(heads.filter(pl.col("score") == score), "corpus") for score in scores}
    used = alt.param(name="used", expr="indexof(has[score], corpus) < 0 ? has[score][0] : corpus")
    return (
        switch("score", scores, [LABELS[score] for score in scores]),
        switch("corpus", corpora),
        alt.param(name="has", value=has),
        used,
    )


def _relation_switch(heads: pl.DataFrame) -> tuple[Any, ...]:
    """Relation; `about` is the one shown: the chosen one, or one that score and corpus have ("" for ordinary scores)."""
    names = [name for name in _present(heads, "relation") if name]
    if not names:
        return (alt.param(name="about", value=""),)
    there = heads.select("score", "corpus", "relation").unique(maintain_order=True)
    of: dict[str, list[str]] = {}
    for score, corpus, relation in there.iter_rows():
        of.setdefault(f"{score}/{corpus}", []).append(relation)
    about = "indexof(of[score + '/' + used], relation) < 0 ? of[score + '/' + used][0] : relation"
    return (
        switch("relation", names, names),
        alt.param(name="of", value=of),
        alt.param(name="about", expr=about),
    )


def _scale() -> Any:
    """Sequential for sizes; diverging about 0 for differences and for effects with a sign. Colours from `palette`."""
    kind = "shown == 'above chance' || signed[score]"
    colours = [{"expr": f"palette[({kind}) ? 'diverging' : 'sequential'][{i}]"} for i in range(STEPS)]
    return alt.Scale(
        domainMax=alt.ExprRef("top[score]"),
        domainMin=alt.ExprRef(f"({kind}) ? -top[score] : 0"),
        range=colours,  # pyright: ignore[reportArgumentType]
        interpolate="rgb",
        clamp=True,
    )


def _interval() -> str:
    return "'[' + format(datum.low, '.3~g') + ', ' + format(datum.high, '.3~g') + ']'"


def _every(numbers: pl.Series, **axis: Any) -> Any:
    """An axis that says every number, or every fourth or eighth where they are many."""
    there = numbers.unique().sort().to_list()
    step = 1 if len(there) <= 16 else 4 if len(there) <= 48 else 8
    return alt.Axis(values=there[::step], **axis)


def _tooltip() -> list[Any]:
    measured = [rounded("estimate"), said("interval"), rounded("chance"), rounded("p_maxt", "p (max-T)")]
    return [
        said("layer"),
        said("head"),
        said("score"),
        *measured,
        said("n", "Q"),
        said("n_units", "Q", "Sequences"),
        said("reason"),
    ]
