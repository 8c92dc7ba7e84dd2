"""Tables of the heads study: what each attention head does on repeated sequences, by score and by cause.

First the sufficient statistics that jobs write (one value per sequence and head), then what `summarise` infers from
them. `copy` tells the model from its control: the same architecture with freshly drawn weights. Scores are defined in
`mnemoscope.measures`; chance levels in methods B1.8.
"""

import polars as pl

from mnemoscope.results.schema import relation_cause, relations
from mnemoscope.results.schema.table import Column, Table

COPIES = ("trained", "reinitialised")
SCORES = (
    "prefix_matching",
    "copying",
    "copying_contextual",
    "previous_token",
    "duplicate_token",
    "ablation_loss",
    "ablation_loss_zero",
    "ablation_loss_resample",
)
RELATION_SCORES = (  # the relation index of a relation; see the table `relations` for everything behind it
    *(f"ri_{variant}" for variant in relations.VARIANTS),
    *(f"ri_{variant}_percentile" for variant in relations.VARIANTS),
    *(f"ri_{variant}_per_opportunity" for variant in ("ctx_src", "out")),
)

_CELL = (
    Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES),
    Column(
        "corpus", pl.String, "", "what the sequences are: random (repeated random tokens), text, or the user's data"
    ),
    Column("layer", pl.Int64, "", "0 is the first"),
    Column("head", pl.Int64, "", "query head"),
    Column("score", pl.String, "", "which score", (*SCORES, *RELATION_SCORES)),
)

HEAD_SEQUENCES = Table(
    doc="One value per sequence, head and score: what all inference about heads starts from.",
    columns=(
        *_CELL,
        Column("sequence", pl.String, "", "identifier of the sequence: the unit of independence"),
        Column("value", pl.Float64, "attention, share, or nats (ablation_loss)", "the score on this sequence"),
        Column("chance", pl.Float64, "as value", "what a head that knows nothing would have on this sequence"),
        Column("n", pl.Int64, "tokens", "positions that the value is a mean over; 0 with a nan value"),
    ),
    key=("copy", "corpus", "layer", "head", "score", "sequence"),
)

HEADS = Table(
    doc="One row per head and score (and relation), with its chance level, interval over sequences or documents and "
    "family-wise p. ablation_loss is the rise of the loss on repeated tokens when the head's z is replaced by its mean. "
    "Of relation scores, cells that too few documents or tails support are nan with that reason: they are not ranked.",
    columns=(
        *_CELL,
        Column("relation", pl.String, "", "for relation scores: of which relation; else empty"),
        Column("estimate", pl.Float64, "attention, share, or nats (ablation_loss)", "mean over sequences"),
        Column("low", pl.Float64, "as estimate", "lower end of the 95% interval over sequences"),
        Column("high", pl.Float64, "as estimate", "upper end"),
        Column("chance", pl.Float64, "as estimate", "mean chance level of the same sequences"),
        Column("p_maxt", pl.Float64, "", "max-T corrected over all heads of this score, copy and corpus"),
        Column("n", pl.Int64, "tokens", "positions behind the estimate"),
        Column("n_units", pl.Int64, "sequences", "independent sequences"),
        Column("method", pl.String, "", "how interval and p were made"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("copy", "corpus", "relation", "score", "layer", "head"),
)

TABLES: dict[str, Table] = {
    "head_sequences": HEAD_SEQUENCES,
    "heads": HEADS,
    **relations.TABLES,
    **relation_cause.TABLES,
}
