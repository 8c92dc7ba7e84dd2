"""Tables of the recall study about the last layer and what can be done about it (methods.md P2.5, B6.7, B6.8).

First what jobs write, then what `summarise` infers. Columns that all tables share are as in `recall.py`.
"""

import polars as pl

from mnemoscope.results.schema.recall_columns import (
    COPY,
    COUNTS,
    LIMITS,
    METHOD,
    PROMPT,
    REASON,
    RELATION,
    TEMPLATE,
    TOPIC,
)
from mnemoscope.results.schema.table import Column, Table

CONDITIONS = ("all", "known", "top_before", "top_after")
QUANTITIES = ("drop", "dilution", "write", "probability")
SIDES = ("facts", "neutral", "difference")

REMEDIES = ("none", "temperature", "heads", "frequency", "scale", "skip", "random")
SCORES = ("nll", "brier", "p_answer", "p_plain", "accuracy", "neutral_plain", "neutral")

_PART = Column("part", pl.String, "", "component of the last layer: L3H2, L3.mlp, L3.attn_bias ...")
_DROP = (
    Column("drop", pl.Float64, "logits", "centred logit before the last layer minus after it; positive: taken away"),
    Column("dilution", pl.Float64, "logits", "what the growing stream takes: r_{L-1} W' (1/s_{L-1} - 1/s_L)"),
    Column("write", pl.Float64, "logits", "what is written against the token: - D W' / s_L"),
    Column("p_before", pl.Float64, "probability", "of the token by the logit lens before the last layer"),
    Column("p_after", pl.Float64, "probability", "of the token in the end"),
    Column("rank_before", pl.Float64, "tokens", "0 is the top; ties count half"),
    Column("rank_after", pl.Float64, "tokens", "in the end"),
)

LAST_LAYER_PROMPTS = Table(
    doc="The last layer and the right answer, one row per prompt.",
    columns=(COPY, RELATION, TOPIC, TEMPLATE, *_DROP),
    key=("copy", "relation", "topic", "template"),
)
LAST_LAYER_NEUTRAL = Table(
    doc="The control: the last layer and the token that stood on top before it, at every position of neutral texts.",
    columns=(
        COPY,
        Column("document", pl.Int64, "", "number of the text: the unit of independence"),
        Column("position", pl.Int64, "token", "from 0"),
        *_DROP,
    ),
    key=("copy", "document", "position"),
)
LAST_LAYER_PARTS = Table(
    doc="The write term by component, and for heads what of it comes from the prompt's first token (the sink).",
    columns=(
        *PROMPT,
        _PART,
        Column("write", pl.Float64, "logits", "the component's share of the write term; positive: against the answer"),
        Column(
            "sink_write", pl.Float64, "logits", "the part of it that the head brings from the first token; else nan"
        ),
        Column("sink_mass", pl.Float64, "attention", "from the last position to the first token; nan for other parts"),
        Column("sink_size", pl.Float64, "stream", "length of what the head brings from the first token"),
        Column("rest_size", pl.Float64, "stream", "length of what it brings from elsewhere"),
    ),
    key=("copy", "relation", "topic", "template", "part"),
)
FREQUENCY_SLOPES = Table(
    doc="Does a component of the last layer push frequent tokens? Rank correlation over the vocabulary, one row per relation.",
    columns=(
        COPY,
        RELATION,
        _PART,
        Column(
            "slope",
            pl.Float64,
            "rank correlation",
            "of the mean push on every token with its log count; tokens counted",
        ),
        Column("n", pl.Int64, "tokens", "tokens with a count above 0"),
    ),
    key=("copy", "relation", "part"),
)
LAST_LAYER = Table(
    doc="Is the right answer suppressed in the last layer, and more than anything that stood on top would be? "
    "Conditions: all facts; those known on other templates; those whose answer stood on top before the last layer, or after it "
    "(selecting on either makes a difference out of noise, so both stand beside each other). Neutral: the top token at positions "
    "of neutral texts, matched on its probability before the last layer.",
    columns=(
        COPY,
        Column("condition", pl.String, "", "which facts", CONDITIONS),
        Column("quantity", pl.String, "", "probability: p before minus p after", QUANTITIES),
        Column("side", pl.String, "", "facts, their matched control, or facts minus control", SIDES),
        Column("estimate", pl.Float64, "logits (probability)", "mean over prompts"),
        *LIMITS,
        Column("p", pl.Float64, "", "of the mean being 0"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "condition", "quantity", "side"),
)
LAST_LAYER_COMPONENTS = Table(
    doc="Who writes against the answer: components of the last layer, over all facts.",
    columns=(
        COPY,
        _PART,
        Column("estimate", pl.Float64, "logits", "mean write; positive: against the answer"),
        *LIMITS,
        Column(
            "sink_write", pl.Float64, "logits", "mean write of what comes from the first token; nan for other parts"
        ),
        Column("sink_mass", pl.Float64, "attention", "mean attention on the first token; nan for other parts"),
        Column("sink_share", pl.Float64, "share", "of the head's output length, what comes from the first token"),
        Column("slope", pl.Float64, "rank correlation", "frequency slope, mean over relations"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "part"),
)

_REMEDY = Column("remedy", pl.String, "", "none: the model as it is; temperature: the plain remedy to beat", REMEDIES)
_VARIANT = Column("variant", pl.String, "", "amount, or number of the random draw")
_FOLD = Column("fold", pl.Int64, "", "relations of a fold are judged with what was fitted on the others")

MITIGATION_FITS = Table(
    doc="What was fitted on the training relations of each fold: enough to use the remedy with ms.mitigate.",
    columns=(
        _REMEDY,
        _VARIANT,
        _FOLD,
        Column("chosen", pl.Boolean, "", "the variant with the smallest training NLL; random draws are all kept"),
        Column(
            "heads",
            pl.List(pl.Int64),
            "",
            "last-layer heads (remedy heads): their mean write on the answer is negative",
        ),
        Column("amount", pl.Float64, "", "share of the component removed, or factor of the MLP"),
        Column("temperature", pl.Float64, "", "refitted on the training relations"),
        Column("train_nll", pl.Float64, "nats", "of the training facts, at that temperature"),
        Column("corpus", pl.String, "", "where token frequencies were counted (remedy frequency)"),
    ),
    key=("remedy", "variant", "fold"),
)
MITIGATION_FACTS = Table(
    doc="Every fact, judged by what was fitted on other relations: options are the whole vocabulary.",
    columns=(
        _REMEDY,
        _VARIANT,
        RELATION,
        TOPIC,
        _FOLD,
        Column("nll", pl.Float64, "nats", "of the answer's token, at the fitted temperature"),
        Column("brier", pl.Float64, "", "0 perfect, 2 certain and wrong"),
        Column("confidence", pl.Float64, "probability", "of the top token"),
        Column("correct", pl.Boolean, "", "whether the top token is the answer's"),
        Column("p_answer", pl.Float64, "probability", "of the answer's token"),
        Column("p_plain", pl.Float64, "probability", "the same at temperature 1"),
    ),
    key=("remedy", "variant", "relation", "topic"),
)
MITIGATION_NEUTRAL = Table(
    doc="What a remedy costs on neutral text: mean NLL of its tokens.",
    columns=(
        _REMEDY,
        _VARIANT,
        _FOLD,
        Column("document", pl.Int64, "", "number of the text"),
        Column("nll_plain", pl.Float64, "nats", "at temperature 1"),
        Column("nll", pl.Float64, "nats", "at the temperature fitted on facts"),
    ),
    key=("remedy", "variant", "fold", "document"),
)
MITIGATION = Table(
    doc="Remedies, judged on held-out relations, and their gain over temperature alone (neutral text: rise over the plain model). "
    "ece: debiased calibration error of the top token, without interval.",
    columns=(
        _REMEDY,
        Column("score", pl.String, "", "which", (*SCORES, "ece")),
        Column("estimate", pl.Float64, "as score", "mean over facts (neutral: texts)"),
        *LIMITS,
        Column(
            "gain", pl.Float64, "as score", "better by so much than temperature alone; neutral: rise over no remedy"
        ),
        Column("gain_low", pl.Float64, "as score", "lower end of its 95% interval"),
        Column("gain_high", pl.Float64, "as score", "upper end"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("remedy", "score"),
)
CALIBRATION_CURVES = Table(
    doc="Confidence and accuracy of the top token in bins of equal mass.",
    columns=(
        _REMEDY,
        Column("bin", pl.Int64, "", "0 is the least confident"),
        Column("confidence", pl.Float64, "probability", "mean over the bin"),
        Column("accuracy", pl.Float64, "share", "of the bin whose top token is the answer's"),
        Column("n", pl.Int64, "facts", "in the bin"),
    ),
    key=("remedy", "bin"),
)

TABLES: dict[str, Table] = {
    "last_layer_prompts": LAST_LAYER_PROMPTS,
    "last_layer_neutral": LAST_LAYER_NEUTRAL,
    "last_layer_parts": LAST_LAYER_PARTS,
    "frequency_slopes": FREQUENCY_SLOPES,
    "last_layer": LAST_LAYER,
    "last_layer_components": LAST_LAYER_COMPONENTS,
    "mitigation_fits": MITIGATION_FITS,
    "mitigation_facts": MITIGATION_FACTS,
    "mitigation_neutral": MITIGATION_NEUTRAL,
    "mitigation": MITIGATION,
    "calibration_curves": CALIBRATION_CURVES,
}
