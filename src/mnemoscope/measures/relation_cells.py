"""From documents to cells: the relation index of every head and relation with its interval. No torch in here.

What `relation_documents` writes is declared here, so that a study's `summarise` can read it on a machine without a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.errors import choose
from mnemoscope.stats.clusters import clustered_means

SLICES = (
    "tau",
    "argmax",
    "tau_2.0",
    "tau_2.5",
    "tau_star",
    "no_sink",
    "free",
    "far",
    "at_source",
    "at_target",
    "reverse",
    "fake",
    "held",
)
OPPORTUNITIES: Mapping[str, Any] = {
    "document": pl.String,
    "relation": pl.String,
    "texts": pl.Int64,  # redraws
    "triples_other": pl.Int64,  # with at least one headline opportunity, over all texts
    "triples_far": pl.Int64,
    "other": pl.Int64,  # headline opportunities
    "far": pl.Int64,
    "at_source": pl.Int64,
    "at_target": pl.Int64,
}
_CELL: Mapping[str, Any] = {"layer": pl.Int64, "head": pl.Int64, "variant": pl.String}
_MEANS: Mapping[str, Any] = {"n": pl.Int64, "index": pl.Float64, "null": pl.Float64, "percentile": pl.Float64}
TRIPLES: Mapping[str, Any] = {
    "document": pl.String,
    "text": pl.String,
    "triple": pl.Int64,
    "relation": pl.String,
    "tail": pl.Int64,  # token id
    **_CELL,
    **_MEANS,
    "redrawn": pl.List(pl.Float32),
}
DOCUMENTS: Mapping[str, Any] = {
    "document": pl.String,
    "relation": pl.String,
    "slice": pl.String,
    **_CELL,
    "passes": pl.Int64,
    "events": pl.Int64,
    "total": pl.Float64,
    "triples": pl.Int64,
    **_MEANS,
    "pass_rate": pl.Float64,
    "per_opportunity": pl.Float64,
    "null_per_opportunity": pl.Float64,
}
QUANTITIES: Mapping[str, tuple[str, str]] = {  # value, and what is subtracted
    "index": ("index", ""),
    "null": ("null", ""),
    "excess": ("index", "null"),
    "percentile": ("percentile", ""),
    "pass_rate": ("pass_rate", ""),
    "per_opportunity": ("per_opportunity", ""),
    "excess_per_opportunity": ("per_opportunity", "null_per_opportunity"),
}
GATED = ("pass_rate", "per_opportunity", "excess_per_opportunity")  # 0, not undefined, where a head never passes


def cells(
    documents: pl.DataFrame,
    opportunities: pl.DataFrame,
    quantities: Sequence[str] = tuple(QUANTITIES),
    *,
    heads: pl.DataFrame | None = None,
    slice: str = "tau",
    variant: str = "out",
    null: float = 0.0,
) -> pl.DataFrame:
    """One row per relation, head and quantity: mean over documents, with an interval over documents.

    documents, opportunities   rows of one model and one corpus, as declared above. Conditional quantities (index, null, excess,
    percentile) are means over the documents in which the head passes the gate; the others over all that have an opportunity.
    Heads that never pass have pass rate 0 and no index (nan, with the reason). heads: layer and head of the cells (default: those
    that occur). null: what p tests the mean against.
    """
    choose("slice", slice, SLICES)
    heads = documents.select("layer", "head").unique().sort("layer", "head") if heads is None else heads
    mine = documents.filter((pl.col("slice") == slice) & (pl.col("variant") == variant))
    frames = [
        _one(mine.filter(pl.col("relation") == relation), relation, units, heads, quantity, null)
        for relation, units in _units(opportunities).items()
        for quantity in quantities
    ]
    schema = {"relation": pl.String, "layer": pl.Int64, "head": pl.Int64, "quantity": pl.String, **_ESTIMATE}
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


_ESTIMATE: Mapping[str, Any] = {
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "n": pl.Int64,
    "n_units": pl.Int64,
    "reason": pl.String,
}


def _units(opportunities: pl.DataFrame) -> dict[str, list[str]]:
    there = opportunities.filter(pl.col("other") > 0).sort("relation", "document")
    return {str(name): rows["document"].to_list() for (name,), rows in there.group_by("relation", maintain_order=True)}


def matrix(
    rows: pl.DataFrame, units: Sequence[str], heads: pl.DataFrame, quantity: str
) -> Float[np.ndarray, "document cell"]:
    """One quantity as documents x heads; nan (or 0, see GATED) where a head never passes in a document."""
    value, minus = QUANTITIES[choose("quantity", quantity, tuple(QUANTITIES))]
    table = np.full((len(units), len(heads)), 0.0 if quantity in GATED else np.nan)
    at = {unit: i for i, unit in enumerate(units)}
    column = {place: i for i, place in enumerate(heads.iter_rows())}
    kept = rows.filter(pl.col("document").is_in(list(units)))
    found = kept[value] - kept[minus] if minus else kept[value]
    row = [at[unit] for unit in kept["document"].to_list()]
    cell = [column[place] for place in kept.select("layer", "head").iter_rows()]
    table[row, cell] = found.to_numpy()
    return table


def _one(
    rows: pl.DataFrame, relation: str, units: Sequence[str], heads: pl.DataFrame, quantity: str, null: float
) -> pl.DataFrame:
    values = matrix(rows, units, heads, quantity)
    found = clustered_means(values, np.arange(len(units)), null=null)
    events = heads.join(rows.group_by("layer", "head").agg(pl.col("n").sum()), on=["layer", "head"], how="left")
    return heads.with_columns(
        relation=pl.lit(relation),
        quantity=pl.lit(quantity),
        estimate=pl.Series(found.estimate),
        low=pl.Series(found.low),
        high=pl.Series(found.high),
        p=pl.Series(found.p),
        n=events["n"].fill_null(0).cast(pl.Int64),
        n_units=pl.Series(found.n_units.astype(np.int64)),
        reason=pl.Series([str(why) for why in found.reason], dtype=pl.String),
    ).select("relation", "layer", "head", "quantity", *_ESTIMATE)
