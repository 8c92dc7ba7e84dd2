"""Tables of the recall study about who carries the topic and the answer: lens, attribution, effects, roles (P2.2, P2.3, B6).

First what jobs write, one row per prompt and place; then what `summarise` infers.
"""

import polars as pl

from mnemoscope.results.schema.recall_columns import COPY, DEMONSTRATIONS, HALF, LIMITS, PROMPT, REASON, TOPICS
from mnemoscope.results.schema.table import Column, Table

FACTS = ("all", "known")
METHODS = ("interchange", "path")
RECEIVERS = ("logits", "q", "k", "v")
PARTS = ("embed", "head", "attn", "attn_bias", "mlp", "other")
TARGETS = ("topic", "topic_foil", "topic_first", "answer", "answer_foil", "answer_mean")
TOKENS = ("answer", "topic", "topic_first")
MLP = -1  # in place of a head's number

_FACTS = Column("facts", pl.String, "", "all facts, or those known on other templates (B6.3)", FACTS)
_LAYER = Column("layer", pl.Int64, "", "0 is the first; -1: not in a layer")
_HEAD = Column("head", pl.Int64, "", "query head; -1: the layer's MLP, or no head")

LENS_PROMPTS = Table(
    doc="Logit lens at the last position: rank and centred logit of answer and topic in the stream after every layer.",
    columns=(
        *PROMPT,
        HALF,
        Column("layer", pl.Int64, "", "after this block; -1: what goes into the first"),
        Column("token", pl.String, "", "whose; topic is the topic's last token", TOKENS),
        Column("rank", pl.Float64, "", "0 is the top"),
        Column("centred", pl.Float64, "logits", "logit minus the mean over the vocabulary"),
    ),
    key=("copy", "relation", "topic", "template", "layer", "token"),
)

COMPONENT_PROMPTS = Table(
    doc="Direct attribution of every part of the stream at the last position (exact, final norm held), and what heads attend "
    "to. nan where a part has no such number.",
    columns=(
        *PROMPT,
        HALF,
        _LAYER,
        _HEAD,
        Column("part", pl.String, "", "what it is", PARTS),
        Column("name", pl.String, "", "its name within the layer; else empty"),
        Column("to_topic", pl.Float64, "logits", "to the topic's last token, minus the mean over the vocabulary"),
        Column(
            "to_topic_foil", pl.Float64, "logits", "to the topic's last token minus another topic's of the relation"
        ),
        Column("to_topic_first", pl.Float64, "logits", "to the topic's first token, likewise"),
        Column(
            "to_topic_literal", pl.Float64, "products", "output of the head times W_U[topic], no norm: as published"
        ),
        Column("to_answer", pl.Float64, "logits", "to the answer"),
        Column("to_answer_foil", pl.Float64, "logits", "to the answer minus another topic's answer"),
        Column("to_answer_mean", pl.Float64, "logits", "to the answer minus the mean over the vocabulary"),
        Column("attention", pl.Float64, "share", "attention from the last position to the topic's last token"),
        Column("attention_first", pl.Float64, "share", "to the topic's first token"),
        Column("even", pl.Float64, "share", "attention if spread evenly: 1 / tokens"),
    ),
    key=("copy", "relation", "topic", "template", "layer", "head", "part", "name"),
)

EFFECT_PROMPTS = Table(
    doc="What happens to the answer when a head (or an MLP) says at the last position what it says for another topic. "
    "interchange: its output in the partner's prompt, everything later answers. path: its mean output over other topics, "
    "attention of the rest held (B6.2), to the logits directly or into q, k, v of the task heads of the other half.",
    columns=(
        *PROMPT,
        DEMONSTRATIONS,
        HALF,
        Column("method", pl.String, "", "how it was changed", METHODS),
        Column("receiver", pl.String, "", "where the change goes", RECEIVERS),
        _LAYER,
        _HEAD,
        Column("answer", pl.Float64, "logits", "change of pi of the answer"),
        Column("partner", pl.Float64, "logits", "change of pi of the partner's answer; nan where there is no partner"),
        Column("base", pl.Float64, "logits", "pi of the answer before"),
    ),
    key=("copy", "relation", "topic", "template", "shots", "method", "receiver", "layer", "head"),
)

SELECTION = Table(
    doc="Heads chosen on one half of the topics, to be measured on the other: the largest drops of the logit difference "
    "between answer and partner's answer under interchange at the last position, one template.",
    columns=(
        COPY,
        HALF,
        Column("relation", pl.String, "", "empty: all chosen relations together"),
        _LAYER,
        _HEAD,
        Column("effect", pl.Float64, "logits", "mean change of answer minus partner's answer on this half"),
        Column("attention", pl.Float64, "share", "mean attention to the topic on this half"),
        Column("task_head", pl.Boolean, "", "whether it is among the task heads"),
        Column("mover", pl.Boolean, "", "whether it is among the (at most three) mover candidates"),
    ),
    key=("copy", "half", "relation", "layer", "head"),
)

LENS = Table(
    doc="Logit lens by layer: means over topics with intervals.",
    columns=(
        COPY,
        _FACTS,
        Column("layer", pl.Int64, "", "after this block; -1: what goes into the first"),
        Column("token", pl.String, "", "whose", TOKENS),
        Column("measure", pl.String, "", "log10_rank: log10(1 + rank); centred: logit minus vocabulary mean"),
        Column("estimate", pl.Float64, "named in measure", "mean over topics"),
        *LIMITS,
        *TOPICS,
        REASON,
    ),
    key=("copy", "facts", "layer", "token", "measure"),
)

COMPONENTS = Table(
    doc="Direct attribution of every part at the last position, mean over topics. The reference decides the sign: all are here.",
    columns=(
        COPY,
        _FACTS,
        _LAYER,
        _HEAD,
        Column("part", pl.String, "", "what it is", PARTS),
        Column("name", pl.String, "", "its name within the layer; else empty"),
        Column("target", pl.String, "", "what it is attributed to", TARGETS),
        Column("estimate", pl.Float64, "logits", "mean over topics"),
        *LIMITS,
        *TOPICS,
        REASON,
    ),
    key=("copy", "facts", "layer", "head", "part", "name", "target"),
)

EFFECTS = Table(
    doc="Effect of every head and MLP on the answer, by method: mean over topics, interval, family-wise p.",
    columns=(
        COPY,
        _FACTS,
        DEMONSTRATIONS,
        Column("method", pl.String, "", "how it was changed", METHODS),
        Column("receiver", pl.String, "", "where the change goes", RECEIVERS),
        _LAYER,
        _HEAD,
        Column("estimate", pl.Float64, "logits", "mean change of pi of the answer; negative: it carries the answer"),
        *LIMITS,
        Column("p_maxt", pl.Float64, "", "max-T corrected over all heads and MLPs of the map; nan where not tested"),
        Column("partner", pl.Float64, "logits", "mean change of pi of the partner's answer"),
        Column("percent", pl.Float64, "%", "of pi before; nan unless its lower interval exceeds 1 logit (B6.1)"),
        Column("percent_low", pl.Float64, "%", "lower end, bootstrap over topics"),
        Column("percent_high", pl.Float64, "%", "upper end"),
        *TOPICS,
        Column("method_of", pl.String, "", "how interval and p were made"),
        REASON,
    ),
    key=("copy", "facts", "shots", "method", "receiver", "layer", "head"),
)

ROLES = Table(
    doc="Heads that were chosen on one half of the topics, and the evidence on the other, part by part. "
    "half: where it was measured; 'both': every topic by the heads chosen on the other half, as one group (layer -1).",
    columns=(
        COPY,
        Column("role", pl.String, "", "what it was chosen as", ("task_head", "mover", "copy_suppression")),
        Column("half", pl.String, "", "half that the evidence is from", ("a", "b", "both")),
        _LAYER,
        _HEAD,
        Column("evidence", pl.String, "", "which part of the role"),
        Column("estimate", pl.Float64, "named in evidence", "mean, or correlation"),
        *LIMITS,
        Column("chance", pl.Float64, "as estimate", "what is expected of a head that does nothing of the kind"),
        Column("p", pl.Float64, "", "Holm-corrected over the heads of this role, half and evidence"),
        Column("needed", pl.Boolean, "", "whether the role rests on this part"),
        Column(
            "shown",
            pl.Boolean,
            "",
            "whether the interval lies beyond the smallest effect of interest, on the right side",
        ),
        *TOPICS,
        Column("method", pl.String, "", "how the interval was made"),
        REASON,
    ),
    key=("copy", "role", "half", "layer", "head", "evidence"),
)

SHOTS = Table(
    doc="Zero against few shots: do the same heads carry the answer? Correlations stand beside their split-half ceilings.",
    columns=(
        COPY,
        DEMONSTRATIONS,
        Column(
            "measure",
            pl.String,
            "",
            "rank_correlation, correlation, overlap of the strongest heads, larger (change of their effect)",
        ),
        Column("estimate", pl.Float64, "named in measure", "the number"),
        *LIMITS,
        Column(
            "ceiling",
            pl.Float64,
            "as estimate",
            "largest value that maps of this reliability can show; nan if undefined",
        ),
        Column("chance", pl.Float64, "as estimate", "value for unrelated maps"),
        *TOPICS,
        Column("method", pl.String, "", "how it was made"),
        REASON,
    ),
    key=("copy", "shots", "measure"),
)

TABLES: dict[str, Table] = {
    "lens_prompts": LENS_PROMPTS,
    "component_prompts": COMPONENT_PROMPTS,
    "effect_prompts": EFFECT_PROMPTS,
    "selection": SELECTION,
    "lens": LENS,
    "components": COMPONENTS,
    "effects": EFFECTS,
    "roles": ROLES,
    "shots": SHOTS,
}
