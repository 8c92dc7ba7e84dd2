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

_COPY = Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES)
_CORPUS = Column("corpus", pl.String, "", "letters, things, trees, or the name of the user's file")
_RELATION = Column("relation", pl.String, "", "the relation of the triples")
_LAYER = Column("layer", pl.Int64, "", "0 is the first")
_HEAD = Column("head", pl.Int64, "", "query head")
_VARIANT = Column("variant", pl.String, "", "which vector is pushed through the head", VARIANTS)
_SLICE = Column("slice", pl.String, "", "which opportunities count, under which gate", SLICES)
_DOCUMENT = Column("document", pl.String, "", "the unit of independence; redraws of its letters share it")
_SHARES = (
    Column("index", pl.Float64, "share", "tail's share of what the head promotes; nan where undefined"),
    Column("null", pl.Float64, "share", "mean share of the matched rivals on the same events"),
    Column("percentile", pl.Float64, "", "share of same-type tokens promoted less than the tail; null .5 exactly"),
)

RELATION_OPPORTUNITIES = Table(
    doc="One row per document and relation: how many opportunities there are, whatever the head does.",
    columns=(
        _COPY,
        _CORPUS,
        _DOCUMENT,
        _RELATION,
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
        _COPY,
        _CORPUS,
        _DOCUMENT,
        _RELATION,
        _SLICE,
        _LAYER,
        _HEAD,
        _VARIANT,
        Column("passes", pl.Int64, "opportunities", "that pass the gate"),
        Column("events", pl.Int64, "opportunities", "that pass and have a defined index"),
        Column("total", pl.Float64, "share", "sum of the index over those events: for the literal event mean"),
        Column("triples", pl.Int64, "triples", "with at least one event that has an index and a null"),
        Column("n", pl.Int64, "events", "that have an index and a null"),
        *_SHARES,
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
        _COPY,
        _CORPUS,
        _DOCUMENT,
        Column("text", pl.String, "", "the document, or one redraw of it"),
        Column("triple", pl.Int64, "", "number of the triple in its text"),
        _RELATION,
        Column("tail", pl.Int64, "token id", "the tail: a unit of dependence"),
        _LAYER,
        _HEAD,
        _VARIANT,
        Column("n", pl.Int64, "events", "events averaged"),
        *_SHARES,
        Column("redrawn", pl.List(pl.Float32), "share", "index - null with tails drawn among the matched ones instead"),
    ),
    key=("copy", "corpus", "text", "triple", "layer", "head", "variant"),
)

RELATION_LEFT_OUT = Table(
    doc="What a corpus holds and could not be used: counted by reason, with an example. Nothing is guessed.",
    columns=(
        _CORPUS,
        Column("part", pl.String, "", "the job that found it; `corpus` for the source itself"),
        Column("reason", pl.String, "", "why"),
        Column("n", pl.Int64, "things", "how often"),
        Column("example", pl.String, "", "one of them"),
    ),
    key=("corpus", "part", "reason"),
)

_ESTIMATE = (
    Column("estimate", pl.Float64, "share", "excess of the index over its null, at tau = 2.2: mean over documents"),
    Column("low", pl.Float64, "share", "lower end of its 95% interval, clustered by document and tail"),
    Column("high", pl.Float64, "share", "upper end"),
)

RELATIONS = Table(
    doc="One row per cell: the relation index with its null, interval, corrected p, gates and support. Marked, and to be "
    "ranked, only where 10 documents and 10 different tails support it.",
    columns=(
        _COPY,
        _CORPUS,
        _RELATION,
        _VARIANT,
        _LAYER,
        _HEAD,
        *_ESTIMATE,
        Column(
            "p_maxt",
            pl.Float64,
            "",
            "tails redrawn; max-T over all supported cells of copy, corpus and variant; nan where tails recur (see note)",
        ),
        *_SHARES,
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
        _COPY,
        _CORPUS,
        _RELATION,
        _VARIANT,
        _SLICE,
        _LAYER,
        _HEAD,
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
        _CORPUS,
        _RELATION,
        _VARIANT,
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
        _CORPUS,
        Column("chosen_for", pl.String, "", "relation that the heads were chosen for"),
        Column("measured_on", pl.String, "", "relation of the triples"),
        _VARIANT,
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

RELATION_CAUSES = Table(
    doc="One row per sampled opportunity and head: what the tail's logit, against the visible tokens of its type, loses when "
    "the head's z at the attending position is replaced by its mean over the sampled opportunities of the job.",
    columns=(
        _COPY,
        _CORPUS,
        _DOCUMENT,
        Column("text", pl.String, "", "the text: of several redraws the first"),
        Column("event", pl.Int64, "", "number of the opportunity in its text"),
        Column("query", pl.Int64, "token", "the attending position j"),
        _RELATION,
        Column(
            "sample",
            pl.String,
            "",
            "evenly: drawn evenly; covering: a head passes that none before did",
            ("evenly", "covering"),
        ),
        _LAYER,
        _HEAD,
        Column("passes", pl.Boolean, "", "whether this head passes tau = 2.2 here"),
        Column("effect", pl.Float64, "logits", "> 0: the head pushed the tail"),
    ),
    key=("copy", "corpus", "text", "event", "layer", "head"),
)

RELATION_EFFECTS = Table(
    doc="One row per head: its effect on the tail's logit in both pairings of B5. evenly: all evenly sampled opportunities; "
    "passing: sampled opportunities at which this head passes tau = 2.2. Events are averaged within document.",
    columns=(
        _COPY,
        _CORPUS,
        Column("pairing", pl.String, "", "which events", ("evenly", "passing")),
        _LAYER,
        _HEAD,
        Column("estimate", pl.Float64, "logits", "mean over documents; > 0: the head pushes tails"),
        Column("low", pl.Float64, "logits", "lower end of its 95% interval over documents"),
        Column("high", pl.Float64, "logits", "upper end"),
        Column(
            "p_maxt",
            pl.Float64,
            "",
            "signs of documents flipped; max-T over all heads, two-sided; nan where not tested",
        ),
        Column("n", pl.Int64, "events", "events behind it"),
        Column("n_units", pl.Int64, "documents", "documents behind it"),
        Column("reason", pl.String, "", "why something is nan; else empty"),
    ),
    key=("copy", "corpus", "pairing", "layer", "head"),
)

RELATION_LINKS = Table(
    doc="Does the relation index predict the effect? Rank correlation over heads of two maps that are means over documents.",
    columns=(
        _COPY,
        _CORPUS,
        Column("score", pl.String, "", "the map: a variant's excess, or the gate-free excess, or the pass rate"),
        Column(
            "pairing", pl.String, "", "evenly: per opportunity; passing: conditional on the gate", ("evenly", "passing")
        ),
        Column("within", pl.String, "", "all: over all heads; layer: within each layer, averaged", ("all", "layer")),
        Column("estimate", pl.Float64, "", "Spearman correlation"),
        Column("low", pl.Float64, "", "lower end of its 95% interval: jackknife over documents"),
        Column("high", pl.Float64, "", "upper end"),
        Column(
            "ceiling", pl.Float64, "", "what noise leaves: root of the product of both maps' split-half reliabilities"
        ),
        Column("n", pl.Int64, "heads", "heads with both numbers"),
        Column("n_units", pl.Int64, "documents", "documents behind the maps"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("copy", "corpus", "score", "pairing", "within"),
)

RELATION_CHOSEN = Table(
    doc="Heads chosen by the relation index on one half of the documents, and what they do on the other half.",
    columns=(
        _COPY,
        _CORPUS,
        _VARIANT,
        Column(
            "quantity",
            pl.String,
            "",
            "what is averaged over the chosen heads",
            ("excess", "effect", "effect of the others"),
        ),
        Column("heads", pl.String, "", "the heads chosen"),
        Column("estimate", pl.Float64, "share, or logits", "mean over heads, then documents, of the other half"),
        Column("low", pl.Float64, "as estimate", "lower end of its 95% interval over documents"),
        Column("high", pl.Float64, "as estimate", "upper end"),
        Column("p", pl.Float64, "", "t test against 0, clustered by document"),
        Column("n", pl.Int64, "documents", "documents behind it"),
        Column("n_units", pl.Int64, "documents", "likewise"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("copy", "corpus", "variant", "quantity"),
)

LEVELS = ("loss", "loss_reduction", "format", "pattern", "right")
GROUPS = ("none", "semantic", "ordinary", "semantic_not_ordinary", "random_semantic", "random_ordinary")
_GROUP = (
    Column("k", pl.Int64, "heads", "how many heads the group may have"),
    Column(
        "level",
        pl.String,
        "",
        "loss (nats per token of neutral text), loss_reduction (nats), format and pattern (shares), right (probability of the "
        "right label among the legal ones)",
        LEVELS,
    ),
    Column("group", pl.String, "", "which heads are ablated", GROUPS),
    Column("op", pl.String, "", "mean (primary: over the tokens of other neutral texts) or zero", ("mean", "zero")),
    Column("heads", pl.String, "", "the heads of the group"),
)

RELATION_GROUPS = Table(
    doc="One value per level, text or prompt, with a group of heads ablated at all positions (C1.7).",
    columns=(
        *_GROUP,
        Column("set", pl.Int64, "", "number of the random set; 0 of the others"),
        Column("complete", pl.Boolean, "", "all layer-matched sets are there"),
        Column("unit", pl.String, "", "the unit of independence: the text, or the set of demonstrations"),
        Column("item", pl.Int64, "", "number of the text or prompt"),
        Column("value", pl.Float64, "of its level", "nan where undefined"),
        Column("chance", pl.Float64, "of its level", "of guessing among the legal labels; nan of the other levels"),
    ),
    key=("k", "level", "group", "set", "op", "item"),
)

RELATION_GROUP_EFFECTS = Table(
    doc="Change of a level without a group of heads: against the whole model, beyond the mean of layer-matched random sets, and "
    "against ordinary induction heads.",
    columns=(
        *_GROUP,
        Column("against", pl.String, "", "what is subtracted", ("nothing", "random heads", "ordinary heads")),
        Column("overlap", pl.Int64, "heads", "of the group that are ordinary induction heads too"),
        Column(
            "estimate", pl.Float64, "of its level", "mean over items; losses rise, shares fall when something is lost"
        ),
        Column("low", pl.Float64, "of its level", "lower end of its 95% interval over units"),
        Column("high", pl.Float64, "of its level", "upper end"),
        Column("random_mean", pl.Float64, "of its level", "mean change under layer-matched random sets"),
        Column("random_low", pl.Float64, "of its level", "2.5% point over random sets"),
        Column("random_high", pl.Float64, "of its level", "97.5% point over random sets"),
        Column("p_sets", pl.Float64, "", "share of sets, this one included, that harm as much; nan without sets"),
        Column("smallest_p", pl.Float64, "", "smallest p_sets that so many sets allow"),
        Column("n_sets", pl.Int64, "sets", "random sets"),
        Column("complete", pl.Boolean, "", "all layer-matched sets are there"),
        Column("n", pl.Int64, "items", "texts or prompts"),
        Column("n_units", pl.Int64, "units", "independent ones"),
        Column("reason", pl.String, "", "why the estimate is nan; else empty"),
    ),
    key=("k", "level", "group", "op", "against"),
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
    "relation_causes": RELATION_CAUSES,
    "relation_effects": RELATION_EFFECTS,
    "relation_links": RELATION_LINKS,
    "relation_chosen": RELATION_CHOSEN,
    "relation_groups": RELATION_GROUPS,
    "relation_group_effects": RELATION_GROUP_EFFECTS,
}
