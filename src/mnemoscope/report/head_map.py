"""The map of heads: layer by head, a switch for every score and its null, the re-initialised copy on the same scale beside it."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from mnemoscope.report import relations, words
from mnemoscope.report.charts import filled, marked, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.section import MAIN, Figure
from mnemoscope.report.theme import STEPS, palette
from mnemoscope.results.schema.heads import RELATION_SCORES, SCORES

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
MAP_WIDTH = 840  # of the model and its copy together


def head_map(heads: pl.DataFrame) -> Figure:
    """Layer by head, coloured by the chosen score; a dot where it is significant over the whole map."""
    scores, copies = present(heads, "score", EVERY), present(heads, "copy", COPIES)
    step = max(6, min(32, MAP_WIDTH // (len(copies) * heads["head"].n_unique())))
    above = "isValid(datum.estimate) && isValid(datum.chance) ? datum.estimate - datum.chance : null"
    drawn = f"shown == 'value' ? datum.estimate : shown == 'chance' ? datum.chance : {above}"
    chart = (
        _cells(heads, step)
        .transform_filter("datum.score == score && datum.corpus == used && datum.relation == about")
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
            *switches(heads),
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
        "scale; hollow: undefined. Click a cell to see what the head attends to, below.",
        chart=chart.to_dict(),
        data=heads.drop("method"),
        first=heads.filter(pl.col("score") == scores[0]).drop("method"),
        alt=f"Heat map of {heads['layer'].n_unique()} layers by {heads['head'].n_unique()} heads, trained and re-initialised.",
    )


def _cells(heads: pl.DataFrame, step: int) -> Any:
    """Cells of the map, and dots on those that are significant."""
    base = alt.Chart().encode(
        x=alt.X("head:O", title="head", axis=_every(heads["head"], orient="top")),
        y=alt.Y("layer:O", title="layer", axis=_every(heads["layer"])),
        tooltip=_tooltip(),
    )
    cells = filled(base.mark_rect(cursor="pointer", invalid=None), "drawn", scale=_scale(), title=None)
    beyond = "abs(datum.estimate - datum.chance) >= 0.01 && shown != 'chance'"
    return alt.layer(cells, marked(base, beyond, step), data=MAIN)


def _tops(heads: pl.DataFrame) -> dict[str, float]:
    """Upper end of the colour scale of each score: the largest finite size of value or chance."""
    sizes = heads.with_columns(size=pl.max_horizontal(pl.col("estimate").abs(), pl.col("chance").abs()).fill_nan(0.0))
    tops = sizes.group_by("score", maintain_order=True).agg(pl.col("size").max())
    return {score: float(f"{top or 1.0:.3g}") for score, top in tops.iter_rows()}


def switches(heads: pl.DataFrame) -> tuple[Any, ...]:
    """Score and corpus; `used` is the corpus shown: the chosen one, or one that the chosen score was measured on."""
    scores, corpora = present(heads, "score", EVERY), present(heads, "corpus")
    has = {score: present(heads.filter(pl.col("score") == score), "corpus") for score in scores}
    used = alt.param(name="used", expr="indexof(has[score], corpus) < 0 ? has[score][0] : corpus")
    return (
        switch("score", scores, [LABELS[score] for score in scores]),
        switch("corpus", corpora),
        alt.param(name="has", value=has),
        used,
    )


def _relation_switch(heads: pl.DataFrame) -> tuple[Any, ...]:
    """Relation; `about` is the one shown: the chosen one, or one that score and corpus have ("" for ordinary scores)."""
    names = [name for name in present(heads, "relation") if name]
    if not names:
        return (alt.param(name="about", value=""),)
    there = heads.select("score", "corpus", "relation").unique(maintain_order=True)
    of: dict[str, list[str]] = {}
    for score, corpus, relation in there.iter_rows():
        of.setdefault(f"{score}/{corpus}", []).append(relation)
    about = "indexof(of[score + '/' + used], relation) < 0 ? of[score + '/' + used][0] : relation"
    return (
        switch("relation", names, names, title="Relation (of RI)"),
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


def present(heads: pl.DataFrame, name: str, order: Sequence[str] = ()) -> list[str]:
    """Values of a column that occur, in the declared order, then in order of appearance."""
    there = heads[name].unique(maintain_order=True).to_list()
    return [value for value in order if value in there] + [value for value in there if value not in order]
