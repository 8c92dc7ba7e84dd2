"""From documents to cells: the relation index of every head and relation with its interval. No torch in here.

What `relation_documents` writes is declared here, so that a study's `summarise` can read it on a machine without a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from mnemoscope.errors import choose
from mnemoscope.results.schema import relations as schema
from mnemoscope.stats.clusters import clustered_means
from mnemoscope.stats.estimate import Estimates

SLICES = (*schema.SLICES, "held")  # held: at the events of the last checkpoint, in the study `emergence`
STRATUM: Mapping[str, str] = {
    "far": "far",
    "at_source": "at_source",
    "at_target": "at_target",
}  # of a slice; "other" else
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
    "together": pl.String,  # triples that are permuted together: of a document, or of a tail
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
RATES: Mapping[str, Any] = {
    "document": pl.String,
    "relation": pl.String,
    "slice": pl.String,
    "layer": pl.Int64,
    "head": pl.Int64,
    "triples": pl.Int64,  # with at least one headline opportunity, over all texts
    "pass_rate": pl.Float64,
    "null_pass_rate": pl.Float64,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """The rows of one model and corpus, sorted into documents x heads once, so that every cell is a look-up.

    units      relation -> its documents with an opportunity of each stratum
    """

    heads: pl.DataFrame
    units: Mapping[tuple[str, str], tuple[str, ...]]
    pieces: Mapping[tuple[str, str, str], pl.DataFrame]

    @classmethod
    def of(cls, documents: pl.DataFrame, opportunities: pl.DataFrame, heads: pl.DataFrame | None = None) -> "Documents":
        """Sort the rows. heads: layer and head of the cells; default: those that occur."""
        cells = documents.select("layer", "head").unique().sort("layer", "head") if heads is None else heads
        numbered = documents.join(
            cells.with_row_index("cell"), on=["layer", "head"], how="inner", maintain_order="left"
        )
        parts = numbered.partition_by("slice", "variant", "relation", as_dict=True, maintain_order=True)
        units = {
            (str(name), stratum): tuple(rows.filter(pl.col(stratum) > 0)["document"].unique().sort().to_list())
            for (name,), rows in opportunities.group_by("relation", maintain_order=True)
            for stratum in ("other", *STRATUM)
        }
        return cls(heads=cells, units=units, pieces={(str(a), str(b), str(c)): one for (a, b, c), one in parts.items()})

    @property
    def relations(self) -> tuple[str, ...]:
        """Relations with a headline opportunity, in alphabetical order."""
        return tuple(sorted(name for (name, stratum), units in self.units.items() if stratum == "other" and units))

    def piece(self, slice: str, variant: str, relation: str) -> pl.DataFrame | None:
        """The rows of one slice, variant and relation; None where no head passes."""
        choose("slice", slice, SLICES)
        return self.pieces.get((slice, variant, relation))

    def matrix(
        self, quantity: str, *, slice: str, variant: str, relation: str
    ) -> tuple[Float[np.ndarray, "document cell"], tuple[str, ...]]:
        """One quantity as documents x heads, and the documents; nan (or 0, see GATED) where a head never passes."""
        value, minus = QUANTITIES[choose("quantity", quantity, tuple(QUANTITIES))]
        units = self.units.get((relation, STRATUM.get(slice, "other")), ())
        table = np.full((len(units), len(self.heads)), 0.0 if quantity in GATED else np.nan)
        rows = self.piece(slice, variant, relation)
        if rows is not None:
            at = {unit: i for i, unit in enumerate(units)}
            row = np.array([at.get(unit, -1) for unit in rows["document"].to_list()])
            found = rows[value].to_numpy() - (rows[minus].to_numpy() if minus else 0.0)
            table[row[row >= 0], rows["cell"].to_numpy()[row >= 0]] = found[row >= 0]
        return table, units

    def events(self, *, slice: str, variant: str, relation: str) -> Int[np.ndarray, " cell"]:
        """Events with an index and a null behind each head."""
        rows = self.piece(slice, variant, relation)
        if rows is None:
            return np.zeros(len(self.heads), dtype=np.int64)
        return np.bincount(rows["cell"].to_numpy(), rows["n"].to_numpy(), minlength=len(self.heads)).astype(np.int64)

    def mean(self, quantity: str, *, slice: str, variant: str, relation: str, null: float = 0.0) -> Estimates:
        """Mean over documents of every head, with an interval over documents."""
        values, units = self.matrix(quantity, slice=slice, variant=variant, relation=relation)
        return clustered_means(values, np.arange(len(units)), null=null)


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
    return cells_of(Documents.of(documents, opportunities, heads), quantities, slice=slice, variant=variant, null=null)


def cells_of(
    found: Documents, quantities: Sequence[str], *, slice: str = "tau", variant: str = "out", null: float = 0.0
) -> pl.DataFrame:
    """`cells` where the rows are sorted already."""
    frames = [
        _frame(found, relation, quantity, slice, variant, null)
        for relation in found.relations
        for quantity in quantities
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict(CELLS))


CELLS: Mapping[str, Any] = {
    "relation": pl.String,
    "layer": pl.Int64,
    "head": pl.Int64,
    "quantity": pl.String,
    "estimate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "n": pl.Int64,
    "n_units": pl.Int64,
    "reason": pl.String,
}


def _frame(found: Documents, relation: str, quantity: str, slice: str, variant: str, null: float) -> pl.DataFrame:
    one = found.mean(quantity, slice=slice, variant=variant, relation=relation, null=null)
    n = len(found.heads)
    columns = {
        "relation": [relation] * n,
        "layer": found.heads["layer"],
        "head": found.heads["head"],
        "quantity": [quantity] * n,
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "p": one.p,
        "n": found.events(slice=slice, variant=variant, relation=relation),
        "n_units": one.n_units.astype(np.int64),
        "reason": [str(why) for why in one.reason],
    }
    return pl.DataFrame(columns, schema=dict(CELLS))
