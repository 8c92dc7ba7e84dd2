"""Tables of the recall study about function application: what is answered when heads say what they say elsewhere (B6.6)."""

import polars as pl

from mnemoscope.results.schema.recall_columns import COPY, COUNTS, HALF, LAYER, LIMITS, METHOD, PROMPT, REASON
from mnemoscope.results.schema.table import Column, Table

EXCHANGES = ("none", "movers", "bystanders", "all_last", "all_positions", "other_relation", "other_relation_all")
TOPS = ("own", "partner", "attribute", "else")
RUNS = ("plain", "exchanged")

EXCHANGE_PROMPTS = Table(
    doc="What the model answers when heads say at the last position (all_positions: everywhere) what they say in another prompt: "
    "that of the partner topic in the same relation, or of another relation about the partner (other_relation: the movers of both "
    "relations). own: r(X), partner: r(X'), attribute: r'(X').",
    columns=(
        *PROMPT,
        Column("exchange", pl.String, "", "which heads, from where; none: nothing is exchanged", EXCHANGES),
        Column("partner", pl.String, "", "the topic X' of the other prompt"),
        Column("source_relation", pl.String, "", "the relation that the other prompt asks for"),
        Column("heads", pl.Int64, "heads", "how many were exchanged"),
        Column("top_answer", pl.String, "", "what is on top among the answers of the relation(s) involved", TOPS),
        Column("top_vocabulary", pl.String, "", "what is on top of the whole vocabulary", TOPS),
        Column("difference", pl.Float64, "logits", "logit of r(X') minus logit of r(X), in this run"),
        Column("source_difference", pl.Float64, "logits", "the same in the other prompt's own run"),
    ),
    key=("copy", "relation", "topic", "template", "exchange", "source_relation"),
)
ANSWER_LAYERS = Table(
    doc="Where the answer appears: direct push of attention and MLP of every layer, without and with the movers' exchange.",
    columns=(
        *PROMPT,
        HALF,
        Column("run", pl.String, "", "plain, or with the movers' outputs of the partner's prompt", RUNS),
        LAYER,
        Column("attn", pl.Float64, "logits", "on r(X) minus r(X')"),
        Column("mlp", pl.Float64, "logits", "on r(X) minus r(X')"),
        Column(
            "place", pl.Float64, "answers", "of r(X) among the relation's answers by the logit lens; nan if exchanged"
        ),
    ),
    key=("copy", "relation", "topic", "template", "run", "layer"),
)
APPLICATION = Table(
    doc="Function application: how often the answer flips, and how far. Shares are over topics with a partner; fractions are "
    "ratios of means of logit differences, (exchanged - plain) / (the other prompt's own run - plain), or over the effect of a "
    "ceiling.",
    columns=(
        COPY,
        Column("relation", pl.String, "", "name of the relation; empty: all of them"),
        Column(
            "facts", pl.String, "", "all, or those where both topics are known on other templates", ("all", "known")
        ),
        Column("exchange", pl.String, "", "which heads, from where", EXCHANGES),
        Column("quantity", pl.String, "", "share of answers, or fraction of the logit difference"),
        Column("estimate", pl.Float64, "share", "over prompts"),
        *LIMITS,
        Column("p", pl.Float64, "", "of the estimate being 0"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "relation", "facts", "exchange", "quantity"),
)
ANSWER_TERMS = Table(
    doc="Where the answer appears, over all relations: mean push of attention and MLP of every layer on r(X) minus r(X').",
    columns=(
        COPY,
        Column("run", pl.String, "", "plain, or with the movers' outputs of the partner's prompt", RUNS),
        LAYER,
        Column(
            "term", pl.String, "", "attn, mlp, or place (of the answer among the relation's answers behind the layer)"
        ),
        Column("estimate", pl.Float64, "logits (place: answers)", "mean over prompts"),
        *LIMITS,
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "run", "layer", "term"),
)

TABLES: dict[str, Table] = {
    "exchange_prompts": EXCHANGE_PROMPTS,
    "answer_layers": ANSWER_LAYERS,
    "application": APPLICATION,
    "answer_terms": ANSWER_TERMS,
}
