"""The part of the heads section about relations: which heads promote the tail, whether that matters, and what only seems to.

The maps of all variants are in the section's head map. Here: the strongest cells, the index against the effect on the tail,
heads of one relation on triples of another, groups of heads against layer-matched random ones, how far tau decides, what was
left out.
"""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report.charts import chosen, dots, matrix, said, switch
from mnemoscope.report.relation_groups import groups
from mnemoscope.report.section import Block, Figure, Grid
from mnemoscope.results.schema.heads import RELATION_SCORES

VARIANTS = {"out": "RI-out", "ctx_src": "RI-ctx-src", "src": "RI-src", "lit": "RI-lit"}
LABELS: dict[str, str] = {
    f"ri_{variant}{kind}": f"{name}{words}"
    for kind, words in (("", ""), ("_percentile", ", percentile"), ("_per_opportunity", ", per opportunity"))
    for variant, name in VARIANTS.items()
}
UNITS = {score: "percentile" if "percentile" in score else "share of promotion" for score in RELATION_SCORES}
Tables = Mapping[str, pl.DataFrame]


def shown(heads: pl.DataFrame) -> pl.DataFrame:
    """The table `heads` as the page needs it: relation cells only where they are supported; ordinary scores as they are."""
    if "relation" not in heads.columns:
        return heads.with_columns(relation=pl.lit(""))
    return heads.filter((pl.col("relation") == "") | pl.col("estimate").is_not_nan())


def blocks(tables: Tables) -> list[Block]:
    """Everything about relations that the tables hold."""
    found: list[Block] = []
    for name, make in (
        ("relations", strongest),
        ("relation_effects", against_effect),
        ("relation_swap", swap),
        ("relation_group_effects", groups),
        ("relation_stability", stability),
        ("relation_left_out", left_out),
    ):
        if name in tables and tables[name].height:
            found += make(tables)
    return found


def strongest(tables: Tables) -> list[Block]:
    """Supported cells of the model by RI-out, the largest excess first."""
    rows = tables["relations"].filter(
        (pl.col("copy") == "trained") & (pl.col("variant") == "out") & pl.col("supported")
    )
    if not rows.height:
        return []
    columns = ["corpus", "relation", "layer", "head", "index", "null", "estimate", "low", "high", "p_maxt"]
    more = ["percentile", "pass_rate", "n_units", "n_tails"]
    return [
        Grid(
            id="semantic",
            title="Semantic induction heads, ranked",
            caption="RI-out given the published gate (tau 2.2), against matched rivals: tokens of the tail's type at a similar "
            "distance. Only cells with at least 10 documents and 10 different tails; p max-T corrected over all of them, where "
            "letters are drawn anew in each text; elsewhere tails recur and there is no corrected p. Click a row to see the "
            "head's best events.",
            data=rows.select(*columns, *more).sort("estimate", descending=True, nulls_last=True),
            labels={"estimate": "Excess", "n_units": "Documents", "n_tails": "Tails", "index": "RI-out"},
            picks=True,
        )
    ]


def against_effect(tables: Tables) -> list[Block]:
    """The index of every head, mean over relations, against what the tail's logit loses without the head."""
    data = _index_and_effect(tables)
    if not data.height:
        return []
    there = [name for name in VARIANTS if name in data["variant"].unique().to_list()]
    chart = (
        dots(
            "value",
            "effect",
            x_title="relation index above its null",
            y_title="push on the tail (logits)",
            extra=[said("layer"), said("head")],
        )
        .transform_filter(chosen("corpus", "variant", "pairing"))
        .add_params(
            switch("corpus", data["corpus"].unique(maintain_order=True).to_list()),
            switch("variant", there, [VARIANTS[name] for name in there]),
            switch("pairing", ["evenly", "passing"], ["all sampled opportunities", "events that pass the gate"]),
        )
    )
    return [
        Figure(
            id="relation-effect",
            title="Does the relation index predict the effect?",
            caption="One dot per head. Across: its index above the matched null, mean over relations, per opportunity "
            "or given the gate. Up: what the tail's logit, against visible tokens of its type, loses when the head is "
            "mean-ablated at the attending position. Rank correlations with their noise ceilings are in relation_links. Click a "
            "dot to see the head's best events.",
            chart=chart.to_dict(),
            data=data,
            alt="Scatter of the relation index of each head against its effect on the tail.",
        )
    ]


def _index_and_effect(tables: Tables) -> pl.DataFrame:
    """A row per head, variant and pairing: `value`, the mean index over relations, and `effect`, where both are defined."""
    effect = tables["relation_effects"].filter(pl.col("copy") == "trained")
    each = tables["relations"].filter(pl.col("copy") == "trained")
    value = {"evenly": "excess_per_opportunity", "passing": "estimate"}
    frames = [
        effect.filter(pl.col("pairing") == pairing)
        .select("corpus", "pairing", "layer", "head", effect=pl.col("estimate"))
        .join(
            each.group_by("corpus", "variant", "layer", "head").agg(value=pl.col(column).fill_nan(None).mean()),
            on=["corpus", "layer", "head"],
        )
        for pairing, column in value.items()
    ]
    data = pl.concat(frames).filter(pl.col("value").is_not_null() & pl.col("effect").is_not_nan())
    return data.sort("corpus", "pairing", "variant", "layer", "head")


def swap(tables: Tables) -> list[Block]:
    """Heads chosen for the row's relation, on triples of the column's."""
    data = tables["relation_swap"].filter(pl.col("estimate").is_not_nan())
    if not data.height:
        return []
    variants = [name for name in VARIANTS if name in data["variant"].unique().to_list()]
    chart = (
        matrix(
            "measured_on", "chosen_for", "estimate", centred=True, step=64, extra=[said("heads"), said("n_units", "Q")]
        )
        .transform_filter(chosen("corpus", "variant"))
        .add_params(
            switch("corpus", data["corpus"].unique(maintain_order=True).to_list()),
            switch("variant", variants, [VARIANTS[name] for name in variants]),
        )
    )
    return [
        Figure(
            id="swap",
            title="Do heads know which relation it is?",
            caption="Rows: relation that four heads were chosen for, on every other document. Columns: relation of the triples, "
            "in the other documents. Excess of the index over its null; a head that is specific shows on the diagonal alone.",
            chart=chart.to_dict(),
            data=data.select(
                "corpus", "variant", "chosen_for", "measured_on", "estimate", "low", "high", "heads", "n_units"
            ),
            alt="Matrix of the relation index of heads chosen for one relation on triples of another.",
        )
    ]


def stability(tables: Tables) -> list[Block]:
    """Maps at other values of tau."""
    rows = tables["relation_stability"].filter(pl.col("variant") == "out")
    return [
        Grid(
            id="tau",
            title="How far tau decides",
            caption="Spearman correlation over heads of the maps of RI-out per opportunity at two values of tau, with the "
            "split-half reliability of the map as its ceiling, and the overlap of the top heads.",
            data=rows.select(
                "corpus", "relation", "first", "second", "estimate", "low", "high", "ceiling", "jaccard", "n_units"
            ),
            labels={"estimate": "Correlation", "first": "Gate", "second": "Other gate", "n_units": "Documents"},
            most=9,
        )
    ]


def left_out(tables: Tables) -> list[Block]:
    """Counted by reason."""
    rows = (
        tables["relation_left_out"]
        .group_by("corpus", "reason", maintain_order=True)
        .agg(pl.col("n").sum(), pl.col("example").first())
    )
    return [
        Grid(
            id="left-out",
            title="What could not be used",
            caption="Triples, documents and letters that were left out, by reason, with an example of each. Nothing is guessed.",
            data=rows.sort("corpus", "n", descending=[False, True]),
        )
    ]
