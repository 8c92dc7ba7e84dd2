"""The section of the heads study: who does it, does it matter, and would a model that learned nothing score the same?

One data set feeds one map: a switch for the score, one for value, chance or the difference; the re-initialised copy
stands beside the model on the same scale. Then every score against the causal effect of removing the head, all heads of
both copies on one line, the ranked table, and the prompts with attention drawn on the tokens.
"""

from collections.abc import Mapping

import altair as alt
import polars as pl

from mnemoscope.report import relations
from mnemoscope.report.charts import chosen, dots, rounded, said, switch
from mnemoscope.report.copies import COPIES
from mnemoscope.report.head_map import CAUSE, CAUSES, EVERY, LABELS, head_map, present, switches
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Prose, Section, Tokens
from mnemoscope.results.schema.heads import SCORES

WHOLE = 4  # a head with more queries kept than so many best events has its whole pattern shown


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
    copies = present(heads, "copy", COPIES)
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
        .add_params(*switches(heads))
        .properties(width=680, height=alt.Step(36))
    )
    return Figure(
        id="control",
        title="The control, head by head",
        caption="One tick per head; the dashed line is the chance level. What the re-initialised copy reaches, the "
        "architecture gives for nothing.",
        chart=chart.to_dict(),
        data=heads.select("copy", "corpus", "score", "layer", "head", "estimate", "chance"),
        first=heads.filter(pl.col("score") == present(heads, "score", EVERY)[0]),
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
    whole = rows.group_by("layer", "head", "prompt").agg(pl.len().alias("queries")).filter(pl.col("queries") > WHOLE)
    first = whole["prompt"].unique().to_list()  # what can be explored query by query comes first
    prompts = tables["shown_prompts"].sort(~pl.col("prompt").is_in(first), maintain_order=True)
    return Tokens(
        id="attention",
        title="What a head attends to",
        caption="The outlined token is the query; the stronger a token's colour, the more attention it gets. Arrow keys or "
        "a click move the query where the whole pattern was kept.",
        prompts=prompts,
        rows=rows,
        events=tables.get("shown_events"),
        named=_strongest_first(whole.select("layer", "head").unique(), tables.get("heads")),
    )


def _strongest_first(named: pl.DataFrame, heads: pl.DataFrame | None) -> tuple[tuple[int, int], ...]:
    """The named heads, the one that matches prefixes most in front: it is what a reader sees first."""
    scores = pl.DataFrame(schema={"layer": pl.Int64, "head": pl.Int64, "estimate": pl.Float64})
    if heads is not None:
        own = heads.filter((pl.col("copy") == "trained") & (pl.col("score") == "prefix_matching"))
        scores = own.group_by("layer", "head").agg(pl.col("estimate").fill_nan(None).mean())
    joined = named.join(scores, on=["layer", "head"], how="left")
    ranked = joined.sort("estimate", "layer", "head", descending=[True, False, False], nulls_last=True)
    return tuple((int(layer), int(head)) for layer, head in ranked.select("layer", "head").iter_rows())


def _wide(trained: pl.DataFrame) -> pl.DataFrame:
    """One row per head with a column per score, on the first corpus."""
    kept = trained.filter(pl.col("corpus") == trained["corpus"][0]).sort("score", "layer", "head")
    wide = kept.pivot(on="score", index=["layer", "head"], values="estimate", aggregate_function="first")
    return wide.select("layer", "head", *(name for name in SCORES if name in wide.columns))
