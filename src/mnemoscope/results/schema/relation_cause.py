"""Tables of the heads study about the cause behind the relation index: ablated heads one by one, chosen heads, groups."""

import polars as pl

from mnemoscope.results.schema.relations import COPY, CORPUS, DOCUMENT, HEAD, LAYER, RELATION, VARIANT
from mnemoscope.results.schema.table import Column, Table

RELATION_CAUSES = Table(
    doc="One row per sampled opportunity and head: what the tail's logit, against the visible tokens of its type, loses when "
    "the head's z at the attending position is replaced by its mean over the sampled opportunities of the job.",
    columns=(
        COPY,
        CORPUS,
        DOCUMENT,
        Column("text", pl.String, "", "the text: of several redraws the first"),
        Column("event", pl.Int64, "", "number of the opportunity in its text"),
        Column("query", pl.Int64, "token", "the attending position j"),
        RELATION,
        Column(
            "sample",
            pl.String,
            "",
            "evenly: drawn evenly; covering: a head passes that none before did",
            ("evenly", "covering"),
        ),
        LAYER,
        HEAD,
        Column("passes", pl.Boolean, "", "whether this head passes tau = 2.2 here"),
        Column("effect", pl.Float64, "logits", "> 0: the head pushed the tail"),
    ),
    key=("copy", "corpus", "text", "event", "layer", "head"),
)

RELATION_EFFECTS = Table(
    doc="One row per head: its effect on the tail's logit in both pairings of B5. evenly: all evenly sampled opportunities; "
    "passing: sampled opportunities at which this head passes tau = 2.2. Events are averaged within document.",
    columns=(
        COPY,
        CORPUS,
        Column("pairing", pl.String, "", "which events", ("evenly", "passing")),
        LAYER,
        HEAD,
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
        COPY,
        CORPUS,
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
        COPY,
        CORPUS,
        VARIANT,
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
    "relation_causes": RELATION_CAUSES,
    "relation_effects": RELATION_EFFECTS,
    "relation_links": RELATION_LINKS,
    "relation_chosen": RELATION_CHOSEN,
    "relation_groups": RELATION_GROUPS,
    "relation_group_effects": RELATION_GROUP_EFFECTS,
}
