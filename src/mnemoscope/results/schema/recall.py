"""Tables of the recall study: what is known, where it stands in the model, which heads carry it (methods.md P2, B6).

First what jobs write: one row per prompt and place. A prompt is (relation, topic, template, shots); topics are the units of
independence. Then what `summarise` infers. `copy` tells the model from its control with freshly drawn weights; `half` is the
half of the topics, `facts` whether a number is over all facts or over those known on other templates. Tables of the steps
about MLPs, function application and the last layer are in `recall_mlp`, `recall_application` and `recall_last`.
"""

import polars as pl

from mnemoscope.results.schema import recall_application, recall_last, recall_mlp
from mnemoscope.results.schema.table import Column, Table

COPIES = ("trained", "reinitialised")
FACTS = ("all", "known")
METHODS = ("interchange", "path")
RECEIVERS = ("logits", "q", "k", "v")
PARTS = ("embed", "head", "attn", "attn_bias", "mlp", "other")
TARGETS = ("topic", "topic_foil", "topic_first", "answer", "answer_foil", "answer_mean")
TOKENS = ("answer", "topic", "topic_first")
MLP = -1  # in place of a head's number

_COPY = Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES)
_PROMPT = (
    _COPY,
    Column("relation", pl.String, "", "name of the relation"),
    Column("topic", pl.String, "", "what is asked about: the unit of independence"),
    Column("template", pl.Int64, "", "number of the template, see the table templates"),
)
_HALF = Column("half", pl.String, "", "half of the topics: what is chosen on one is measured on the other", ("a", "b"))
_SHOTS = Column("shots", pl.Int64, "demonstrations", "demonstrations in front of the question; never its own topic")
_FACTS = Column("facts", pl.String, "", "all facts, or those known on other templates (B6.3)", FACTS)
_LAYER = Column("layer", pl.Int64, "", "0 is the first; -1: not in a layer")
_HEAD = Column("head", pl.Int64, "", "query head; -1: the layer's MLP, or no head")
_ESTIMATE = (
    Column("low", pl.Float64, "as estimate", "lower end of the 95% interval over topics"),
    Column("high", pl.Float64, "as estimate", "upper end"),
)
_COUNTS = (
    Column("n", pl.Int64, "prompts", "prompts behind the estimate"),
    Column("n_units", pl.Int64, "topics", "independent topics"),
)
_REASON = Column("reason", pl.String, "", "why something is nan; else empty")

TEMPLATES = Table(
    doc="Sentences that facts are asked with. Measured ones come first; the others decide what is known.",
    columns=(
        Column("relation", pl.String, "", "name of the relation"),
        Column("template", pl.Int64, "", "its number"),
        Column("text", pl.String, "", "opener and template, with a slot for the topic"),
        Column("measured", pl.Boolean, "", "whether anything but knowledge is measured on it"),
        Column("chosen", pl.Boolean, "", "whether the workings of this relation are measured: it is known well enough"),
        Column("invented", pl.Boolean, "", "whether the facts are of an invented world"),
    ),
    key=("relation", "template"),
)

LEFT_OUT = Table(
    doc="What could not be asked or measured, one row each, with the reason. Nothing is dropped in silence.",
    columns=(
        Column("id", pl.String, "", "relation / topic or answer, or where it stands in the file"),
        Column("reason", pl.String, "", "one of a few sentences"),
        Column("detail", pl.String, "", "what makes this case special"),
    ),
    key=("id", "reason", "detail"),
)

KNOWLEDGE_PROMPTS = Table(
    doc="Does the model know it? One row per prompt. The answer token is the first at which the relation's answers differ.",
    columns=(
        *_PROMPT,
        _SHOTS,
        _HALF,
        Column("answer", pl.String, "", "the answer"),
        Column("token", pl.String, "", "its token, decoded"),
        Column("rank", pl.Float64, "", "vocabulary entries with a larger logit (ties half); 0 is the top"),
        Column("place", pl.Float64, "", "the same among the answers of the relation; 0 is the top"),
        Column("n_answers", pl.Int64, "answers", "how many answers were compared"),
        Column("logprob", pl.Float64, "nats", "log probability of the answer token"),
        Column("centred", pl.Float64, "logits", "pi: logit minus the mean over the vocabulary"),
    ),
    key=("copy", "relation", "topic", "template", "shots"),
)

LENS_PROMPTS = Table(
    doc="Logit lens at the last position: rank and centred logit of answer and topic in the stream after every layer.",
    columns=(
        *_PROMPT,
        _HALF,
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
        *_PROMPT,
        _HALF,
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
        *_PROMPT,
        _SHOTS,
        _HALF,
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
        _COPY,
        _HALF,
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

KNOWLEDGE = Table(
    doc="Knowledge per relation and template, with intervals over topics; relation or template empty or -1: all together.",
    columns=(
        _COPY,
        Column("relation", pl.String, "", "empty: all relations"),
        Column("template", pl.Int64, "", "-1: all templates"),
        _SHOTS,
        Column("measure", pl.String, "", "accuracy: top of the vocabulary; choice: top of the relation's answers"),
        Column("estimate", pl.Float64, "named in measure", "mean over topics"),
        *_ESTIMATE,
        Column("chance", pl.Float64, "as estimate", "what a model that knows nothing would have; nan where undefined"),
        *_COUNTS,
        Column("method", pl.String, "", "how the interval was made"),
        _REASON,
    ),
    key=("copy", "relation", "template", "shots", "measure"),
)

LENS = Table(
    doc="Logit lens by layer: means over topics with intervals.",
    columns=(
        _COPY,
        _FACTS,
        Column("layer", pl.Int64, "", "after this block; -1: what goes into the first"),
        Column("token", pl.String, "", "whose", TOKENS),
        Column("measure", pl.String, "", "log10_rank: log10(1 + rank); centred: logit minus vocabulary mean"),
        Column("estimate", pl.Float64, "named in measure", "mean over topics"),
        *_ESTIMATE,
        *_COUNTS,
        _REASON,
    ),
    key=("copy", "facts", "layer", "token", "measure"),
)

COMPONENTS = Table(
    doc="Direct attribution of every part at the last position, mean over topics. The reference decides the sign: all are here.",
    columns=(
        _COPY,
        _FACTS,
        _LAYER,
        _HEAD,
        Column("part", pl.String, "", "what it is", PARTS),
        Column("name", pl.String, "", "its name within the layer; else empty"),
        Column("target", pl.String, "", "what it is attributed to", TARGETS),
        Column("estimate", pl.Float64, "logits", "mean over topics"),
        *_ESTIMATE,
        *_COUNTS,
        _REASON,
    ),
    key=("copy", "facts", "layer", "head", "part", "name", "target"),
)

EFFECTS = Table(
    doc="Effect of every head and MLP on the answer, by method: mean over topics, interval, family-wise p.",
    columns=(
        _COPY,
        _FACTS,
        _SHOTS,
        Column("method", pl.String, "", "how it was changed", METHODS),
        Column("receiver", pl.String, "", "where the change goes", RECEIVERS),
        _LAYER,
        _HEAD,
        Column("estimate", pl.Float64, "logits", "mean change of pi of the answer; negative: it carries the answer"),
        *_ESTIMATE,
        Column("p_maxt", pl.Float64, "", "max-T corrected over all heads and MLPs of the map; nan where not tested"),
        Column("partner", pl.Float64, "logits", "mean change of pi of the partner's answer"),
        Column("percent", pl.Float64, "%", "of pi before; nan unless its lower interval exceeds 1 logit (B6.1)"),
        Column("percent_low", pl.Float64, "%", "lower end, bootstrap over topics"),
        Column("percent_high", pl.Float64, "%", "upper end"),
        *_COUNTS,
        Column("method_of", pl.String, "", "how interval and p were made"),
        _REASON,
    ),
    key=("copy", "facts", "shots", "method", "receiver", "layer", "head"),
)

ROLES = Table(
    doc="Heads that were chosen on one half of the topics, and the evidence on the other, part by part. "
    "half: where it was measured; 'both': every topic by the heads chosen on the other half, as one group (layer -1).",
    columns=(
        _COPY,
        Column("role", pl.String, "", "what it was chosen as", ("task_head", "mover", "copy_suppression")),
        Column("half", pl.String, "", "half that the evidence is from", ("a", "b", "both")),
        _LAYER,
        _HEAD,
        Column("evidence", pl.String, "", "which part of the role"),
        Column("estimate", pl.Float64, "named in evidence", "mean, or correlation"),
        *_ESTIMATE,
        Column("chance", pl.Float64, "as estimate", "what is expected of a head that does nothing of the kind"),
        Column("p", pl.Float64, "", "Holm-corrected over the heads of this role, half and evidence"),
        Column("needed", pl.Boolean, "", "whether the role rests on this part"),
        Column(
            "shown",
            pl.Boolean,
            "",
            "whether the interval lies beyond the smallest effect of interest, on the right side",
        ),
        *_COUNTS,
        Column("method", pl.String, "", "how the interval was made"),
        _REASON,
    ),
    key=("copy", "role", "half", "layer", "head", "evidence"),
)

SHOTS = Table(
    doc="Zero against few shots: do the same heads carry the answer? Correlations stand beside their split-half ceilings.",
    columns=(
        _COPY,
        _SHOTS,
        Column(
            "measure",
            pl.String,
            "",
            "rank_correlation, correlation, overlap of the strongest heads, larger (change of their effect)",
        ),
        Column("estimate", pl.Float64, "named in measure", "the number"),
        *_ESTIMATE,
        Column(
            "ceiling",
            pl.Float64,
            "as estimate",
            "largest value that maps of this reliability can show; nan if undefined",
        ),
        Column("chance", pl.Float64, "as estimate", "value for unrelated maps"),
        *_COUNTS,
        Column("method", pl.String, "", "how it was made"),
        _REASON,
    ),
    key=("copy", "shots", "measure"),
)

TABLES: dict[str, Table] = {
    "templates": TEMPLATES,
    "left_out": LEFT_OUT,
    "knowledge_prompts": KNOWLEDGE_PROMPTS,
    "lens_prompts": LENS_PROMPTS,
    "component_prompts": COMPONENT_PROMPTS,
    "effect_prompts": EFFECT_PROMPTS,
    "selection": SELECTION,
    "knowledge": KNOWLEDGE,
    "lens": LENS,
    "components": COMPONENTS,
    "effects": EFFECTS,
    "roles": ROLES,
    "shots": SHOTS,
    **recall_mlp.TABLES,
    **recall_application.TABLES,
    **recall_last.TABLES,
}
