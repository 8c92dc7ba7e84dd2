"""Tables of the heads study about relations: do heads that attend to a head word promote its tail (methods.md P1, B1)?

First what jobs write, per document and per triple; then what `summarise` infers. A cell is (model or control copy, corpus,
relation, variant, layer, head). Variants and slices are defined in `mnemoscope.measures.relation_pass` and `relation_documents`, in
words in docs/method.md. One wide table `relations` holds the headline of every cell; what varies the gate or the stratum is in the
long table `relation_checks`, one row per cell and slice, since most readers want none of it and some want all.
"""

import polars as pl

from mnemoscope.results.schema.table import Column, Table

COPIES = ("trained", "reinitialised")
VARIANTS = ("lit", "src", "ctx_src", "out")
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
)

COPY = Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES)
CORPUS = Column("corpus", pl.String, "", "letters, things, trees, or the name of the user's file")
RELATION = Column("relation", pl.String, "", "the relation of the triples")
LAYER = Column("layer", pl.Int64, "", "0 is the first")
HEAD = Column("head", pl.Int64, "", "query head")
VARIANT = Column("variant", pl.String, "", "which vector is pushed through the head", VARIANTS)
SLICE = Column("slice", pl.String, "", "which opportunities count, under which gate", SLICES)
DOCUMENT = Column("document", pl.String, "", "the unit of independence; redraws of its letters share it")
SHARES = (
    Column("index", pl.Float64, "share", "tail's share of what the head promotes; nan where undefined"),
    Column("null", pl.Float64, "share", "mean share of the matched rivals on the same events"),
    Column("percentile", pl.Float64, "", "share of same-type tokens promoted less than the tail; null .5 exactly"),
)

RELATION_OPPORTUNITIES = Table(
    doc="One row per document and relation: how many opportunities there are, whatever the head does.",
    columns=(
        COPY,
        CORPUS,
        DOCUMENT,
        RELATION,
        Column("texts", pl.Int64, "texts", "redraws of the document's letters; 1 without"),
        Column("triples_other", pl.Int64, "triples", "with at least one headline opportunity, redraws counted"),
        Column("triples_far", pl.Int64, "triples", "with one at least two tokens behind the head word"),
        Column(
            "other",
            pl.Int64,
            "opportunities",
            "j >= max(s, o), j neither s nor o, t_j neither t_s nor t_o: the headline",
        ),
        Column("far", pl.Int64, "opportunities", "those with j - s >= 2"),
        Column("at_source", pl.Int64, "opportunities", "j = s"),
        Column("at_target", pl.Int64, "opportunities", "j = o"),
        Column("tau_star", pl.Float64, "ratio", "the model's own tau: 95th percentile of its dominance ratios"),
    ),
    key=("copy", "corpus", "document", "relation"),
)

RELATION_DOCUMENTS = Table(
    doc="One row per document, head, slice and variant in which the head passes at least once: events averaged within "
    "triple, triples within document. A document without a row has 0 passes.",
    columns=(
        COPY,
        CORPUS,
        DOCUMENT,
        RELATION,
        SLICE,
        LAYER,
        HEAD,
        VARIANT,
        Column("passes", pl.Int64, "opportunities", "that pass the gate"),
        Column("events", pl.Int64, "opportunities", "that pass and have a defined index"),
        Column("total", pl.Float64, "share", "sum of the index over those events: for the literal event mean"),
        Column("triples", pl.Int64, "triples", "with at least one event that has an index and a null"),
        Column("n", pl.Int64, "events", "that have an index and a null"),
        *SHARES,
        Column("pass_rate", pl.Float64, "", "passes per opportunity, mean over triples"),
        Column("per_opportunity", pl.Float64, "share", "index times gate, mean over opportunities, then triples"),
        Column("null_per_opportunity", pl.Float64, "share", "null times gate, likewise"),
    ),
    key=("copy", "corpus", "document", "relation", "slice", "layer", "head", "variant"),
)

RELATION_TRIPLES = Table(
    doc="One row per triple, head and variant with at least one event that passes tau = 2.2 and has an index and a null: "
    "what intervals over documents and tails, and the permutation of tails, start from.",
    columns=(
        COPY,
        CORPUS,
        DOCUMENT,
        Column("text", pl.String, "", "the document, or one redraw of it"),
        Column("triple", pl.Int64, "", "number of the triple in its text"),
        RELATION,
        Column("tail", pl.Int64, "token id", "the tail: a unit of dependence"),
        Column("together", pl.String, "", "triples that are permuted together: of a document (letters), or of a tail"),
        LAYER,
        HEAD,
        VARIANT,
        Column("n", pl.Int64, "events", "events averaged"),
        *SHARES,
        Column(
            "redrawn",
            pl.List(pl.Float32),
            "share",
            "letters only: index - null with tails drawn among the matched ones instead",
        ),
    ),
    key=("copy", "corpus", "text", "triple", "layer", "head", "variant"),
)

RELATION_LEFT_OUT = Table(
    doc="What a corpus holds and could not be used: counted by reason, with an example. Nothing is guessed.",
    columns=(
        CORPUS,
        Column("part", pl.String, "", "the job that found it; `corpus` for the source itself"),
        Column("reason", pl.String, "", "why"),
        Column("n", pl.Int64, "things", "how often"),
        Column("example", pl.String, "", "one of them"),
    ),
    key=("corpus", "part", "reason"),
)

ESTIMATE = (
    Column("estimate", pl.Float64, "share", "excess of the index over its null, at tau = 2.2: mean over documents"),
    Column("low", pl.Float64, "share", "lower end of its 95% interval, clustered by document and tail"),
    Column("high", pl.Float64, "share", "upper end"),
)

RELATIONS = Table(
    doc="One row per cell: the relation index with its null, interval, corrected p, gates and support. Marked, and to be "
    "ranked, only where 10 documents and 10 different tails support it.",
    columns=(
        COPY,
        CORPUS,
        RELATION,
        VARIANT,
        LAYER,
        HEAD,
        *ESTIMATE,
        Column(
            "p_maxt",
            pl.Float64,
            "",
            "letters: tails redrawn per document; else signs of tails flipped; max-T over supported cells of copy, corpus, variant",
        ),
        *SHARES,
        Column("literal", pl.Float64, "share", "index averaged over events alone, as published"),
        Column("per_opportunity", pl.Float64, "share", "index times gate, over all opportunities"),
        Column("excess_per_opportunity", pl.Float64, "share", "the same minus null times gate"),
        Column("free_index", pl.Float64, "share", "index over all opportunities, without the gate"),
        Column("free_excess", pl.Float64, "share", "the same minus its null: writing without attending"),
        Column("free_percentile", pl.Float64, "", "percentile over all opportunities; null .5"),
        Column("pass_rate", pl.Float64, "", "opportunities that pass tau = 2.2"),
        Column("pass_rate_argmax", pl.Float64, "", "with the head word attended most, by whatever margin"),
        Column("pass_rate_tau_star", pl.Float64, "", "at the model's own tau"),
        Column("pass_rate_no_sink", pl.Float64, "", "tau = 2.2 among positions that are no sinks"),
        Column("opportunities", pl.Int64, "opportunities", "headline opportunities of the relation"),
        Column("n", pl.Int64, "events", "events behind the estimate"),
        Column("n_triples", pl.Int64, "triples", "triples behind it, redraws counted"),
        Column("n_units", pl.Int64, "documents", "documents behind it"),
        Column("n_tails", pl.Int64, "tokens", "different tails behind it"),
        Column("supported", pl.Boolean, "", "at least 10 documents and 10 tails: may be ranked"),
        Column("note", pl.String, "", "what is true of the variant on this corpus by construction; else empty"),
        Column("method", pl.String, "", "how interval and p were made"),
        Column("reason", pl.String, "", "why something is nan, or why the cell is not ranked; else empty"),
    ),
    key=("copy", "corpus", "relation", "variant", "layer", "head"),
)

RELATION_CHECKS = Table(
    doc="One row per cell and slice: other gates, strata, the reverse direction and the fake target. Intervals over documents.",
    columns=(
        COPY,
        CORPUS,
        RELATION,
        VARIANT,
        SLICE,
        LAYER,
        HEAD,
        Column("estimate", pl.Float64, "share", "excess of the index over its null in this slice"),
        Column("low", pl.Float64, "share", "lower end of its 95% interval over documents"),
        Column("high", pl.Float64, "share", "upper end"),
        Column("index", pl.Float64, "share", "the index itself"),
        Column("pass_rate", pl.Float64, "", "opportunities of the slice that pass its gate"),
        Column("n", pl.Int64, "events", "events behind the estimate"),
        Column("n_units", pl.Int64, "documents", "documents behind it"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("copy", "corpus", "relation", "variant", "slice", "layer", "head"),
)

RELATION_STABILITY = Table(
    doc="How much the map of heads depends on tau (C1.4): one row per pair of gates, relation and variant.",
    columns=(
        CORPUS,
        RELATION,
        VARIANT,
        Column("first", pl.String, "", "one gate", SLICES),
        Column("second", pl.String, "", "the other", SLICES),
        Column("estimate", pl.Float64, "", "Spearman correlation over heads of RI per opportunity"),
        Column("low", pl.Float64, "", "lower end of its 95% interval (jackknife over documents)"),
        Column("high", pl.Float64, "", "upper end"),
        Column("ceiling", pl.Float64, "", "what noise leaves: split-half reliability of the first map"),
        Column("jaccard", pl.Float64, "", "overlap of the top heads: |both| / |either|"),
        Column("top", pl.Int64, "heads", "how many are the top"),
        Column("n", pl.Int64, "heads", "heads compared"),
        Column("n_units", pl.Int64, "documents", "documents behind the maps"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("corpus", "relation", "variant", "first", "second"),
)

RELATION_SWAP = Table(
    doc="Relation-swap matrix (B5): RI of the heads chosen for one relation, on the triples of another. Heads are chosen on one "
    "half of the documents and measured on the other.",
    columns=(
        CORPUS,
        Column("chosen_for", pl.String, "", "relation that the heads were chosen for"),
        Column("measured_on", pl.String, "", "relation of the triples"),
        VARIANT,
        Column("heads", pl.String, "", "the heads chosen"),
        Column("estimate", pl.Float64, "share", "mean excess over the null of those heads"),
        Column("low", pl.Float64, "share", "lower end of its 95% interval over documents"),
        Column("high", pl.Float64, "share", "upper end"),
        Column("n", pl.Int64, "events", "events behind it"),
        Column("n_units", pl.Int64, "documents", "documents behind it"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("corpus", "chosen_for", "measured_on", "variant"),
)

TABLES: dict[str, Table] = {
    "relation_opportunities": RELATION_OPPORTUNITIES,
    "relation_documents": RELATION_DOCUMENTS,
    "relation_triples": RELATION_TRIPLES,
    "relation_left_out": RELATION_LEFT_OUT,
    "relations": RELATIONS,
    "relation_checks": RELATION_CHECKS,
    "relation_stability": RELATION_STABILITY,
    "relation_swap": RELATION_SWAP,
}
