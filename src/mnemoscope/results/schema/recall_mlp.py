"""Tables of the recall study about MLPs (methods.md P2.3, P2.4, B6.5).

First what jobs write, then what `summarise` infers. Fits that need whole vectors of the stream are made where the vectors are, in
the jobs; what they leave here is per topic or prompt, so that intervals still come from topics.
"""

import polars as pl

from mnemoscope.results.schema.recall_columns import (
    COPY,
    COUNTS,
    HALF,
    LAYER,
    LIMITS,
    METHOD,
    PROMPT,
    REASON,
    RELATION,
    TOPIC,
)
from mnemoscope.results.schema.table import Column, Table

SCOPES = ("pooled", "within")
SPACES = ("answers", "full")
MODELS = ("ols", "ridge", "shuffled", "random", "low_rank", "jacobian")
SPLITS = ("topics", "templates")
INTERCEPTS = ("within", "mean", "pooled")
REPLACEMENTS = ("fit", "intercept", "no_movers", "mean")

_SCOPE = Column(
    "scope", pl.String, "", "deviations from the mean over a relation's prompts (pooled), or a topic's (within)", SCOPES
)
_SPACE = Column(
    "space", pl.String, "", "along the relation's answers and topics (unembedding, centred), or the full width", SPACES
)

MLP_CAUSE = Table(
    doc="The MLP asked without what is particular about a part of its input: sums over a topic's prompts; e = their ratio.",
    columns=(
        COPY,
        RELATION,
        TOPIC,
        HALF,
        LAYER,
        _SCOPE,
        _SPACE,
        Column("part", pl.String, "", "a head, or the remainder of the MLP's input"),
        Column("mover", pl.Boolean, "", "whether the head was chosen as mover of this relation on the other half"),
        Column("change", pl.Float64, "squared", "sum of <m(x) - m(x - d), d>"),
        Column("tangent", pl.Float64, "squared", "sum of <J d, d>, J at the mean input; nan in scope within"),
        Column("size", pl.Float64, "squared", "sum of |d|^2; nan where the part does not vary or says nothing here"),
        Column("n", pl.Int64, "prompts", "in the sums"),
    ),
    key=("copy", "relation", "topic", "layer", "scope", "space", "part"),
)
MLP_PRODUCTS = Table(
    doc="Cross products of the parts of an MLP's input and its output over a topic's prompts, about the relation's (or topic's) "
    "mean. Parts that do not vary here beyond rounding are 0.",
    columns=(
        COPY,
        RELATION,
        TOPIC,
        LAYER,
        _SCOPE,
        _SPACE,
        Column("parts", pl.List(pl.String), "", "names of the parts, in order"),
        Column("aa", pl.List(pl.Float64), "squared", "parts with parts, row by row"),
        Column("am", pl.List(pl.Float64), "squared", "parts with the output"),
        Column("mm", pl.Float64, "squared", "the output with itself"),
        Column("n", pl.Int64, "prompts", "in the sums"),
    ),
    key=("copy", "relation", "topic", "layer", "scope", "space"),
)
MLP_HELD_OUT = Table(
    doc="Squared errors on units that a fit has not seen. shuffled: outputs paired with other topics' inputs; random: regressors "
    "replaced by random vectors of equal length; low_rank: a matrix per part instead of a weight, all of small rank together; "
    "jacobian: the MLP linearised at the mean input, no fit at all. In scope within, deviations are from the topic's mean over all "
    "its templates, those left out included.",
    columns=(
        COPY,
        RELATION,
        LAYER,
        _SCOPE,
        _SPACE,
        Column("split", pl.String, "", "what is left out", SPLITS),
        Column("model", pl.String, "", "what predicts", MODELS),
        Column("unit", pl.String, "", "the topic or template left out"),
        Column("error", pl.Float64, "squared", "of the prediction"),
        Column("base", pl.Float64, "squared", "of the training mean: the intercept alone"),
        Column("rank", pl.Float64, "dimensions", "of the map, chosen inside the training set; nan for other models"),
    ),
    key=("copy", "relation", "layer", "scope", "space", "split", "model", "unit"),
)
INTERCEPT_TOPICS = Table(
    doc="What an intercept says, read by the unembedding: within (of a topic, weights from other topics), mean (the topic's plain "
    "mean output, which the gain is counted from), pooled (one for the relation).",
    columns=(
        COPY,
        RELATION,
        TOPIC,
        LAYER,
        Column("intercept", pl.String, "", "which", INTERCEPTS),
        Column(
            "margin", pl.Float64, "logits", "push on the answer minus the mean push on the relation's other answers"
        ),
        Column("group", pl.Float64, "logits", "mean push on the relation's answers minus the vocabulary mean"),
        Column("place", pl.Float64, "answers", "of the answer among the relation's answers, 0 is the top"),
        Column("rank", pl.Float64, "tokens", "of the answer in the vocabulary"),
    ),
    key=("copy", "relation", "topic", "layer", "intercept"),
)
REPLACEMENT_PROMPTS = Table(
    doc="The MLP's output at the last position replaced by a linear fit made on the other half of the topics, and what is left "
    "of the answer.",
    columns=(
        *PROMPT,
        LAYER,
        Column("replacement", pl.String, "", "what stands in the MLP's place", REPLACEMENTS),
        Column("answer", pl.Float64, "logits", "change of the answer's centred logit"),
        Column("asked_topic", pl.Float64, "logits", "change of the topic's centred logit"),
        Column("base", pl.Float64, "logits", "the answer's centred logit without replacement"),
        Column("right", pl.Float64, "", "1 if the answer is on top of the relation's answers"),
        Column("right_before", pl.Float64, "", "the same without replacement"),
    ),
    key=("copy", "relation", "topic", "template", "layer", "replacement"),
)
MLP_WEIGHTS = Table(
    doc="How an MLP weighs what heads bring: behind the layer a head counts 1 + w. The verdict follows the causal weight "
    "(estimate), regression describes (B6.5): erase below -.25, amplify above .25, keep between.",
    columns=(
        COPY,
        LAYER,
        _SCOPE,
        _SPACE,
        Column("part", pl.String, "", "a head, or the remainder of the MLP's input"),
        Column("mover", pl.Boolean, "", "whether it is a mover of some relation"),
        Column("estimate", pl.Float64, "output per input", "causal weight e"),
        *LIMITS,
        Column("verdict", pl.String, "", "of the interval of e"),
        Column(
            "ols", pl.Float64, "output per input", "least-squares weight, over all relations, each about its own mean"
        ),
        Column("ols_low", pl.Float64, "output per input", "lower end of its 95% interval"),
        Column("ols_high", pl.Float64, "output per input", "upper end"),
        Column("ridge", pl.Float64, "output per input", "ridge weight, penalty by grouped cross-validation"),
        Column("ridge_low", pl.Float64, "output per input", "lower end of its 95% interval"),
        Column("ridge_high", pl.Float64, "output per input", "upper end"),
        Column(
            "jacobian", pl.Float64, "output per input", "weight by the Jacobian at the mean input; nan in scope within"
        ),
        Column("vif", pl.Float64, "", "variance inflation of the regressor; inf: collinear"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "layer", "scope", "space", "part"),
)
MLP_FITS = Table(
    doc="How far a weighted sum of heads predicts an MLP's output on topics (templates) it has not seen, beside its baselines; the "
    "intercept alone is 0. low_rank: a matrix per part instead of a weight, what a linear reading of the same parts reaches.",
    columns=(
        COPY,
        LAYER,
        _SCOPE,
        _SPACE,
        Column("split", pl.String, "", "what is left out", SPLITS),
        Column("model", pl.String, "", "what predicts", MODELS),
        Column("estimate", pl.Float64, "R2", "1 - squared error / squared error of the training mean; can be negative"),
        *LIMITS,
        Column("condition", pl.Float64, "", "condition number of the scaled design; inf: collinear"),
        Column("penalty", pl.Float64, "variance", "of the pooled ridge fit"),
        Column("rank", pl.Float64, "dimensions", "of the low-rank map, median over relations and folds; else nan"),
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "layer", "scope", "space", "split", "model"),
)
MLP_INTERCEPTS = Table(
    doc="Where the intercept points. gain: within-topic intercept minus the plain mean output; only that counts (B6.5).",
    columns=(
        COPY,
        LAYER,
        Column("intercept", pl.String, "", "which; gain: within minus mean", (*INTERCEPTS, "gain")),
        Column("quantity", pl.String, "", "margin, group, place, rank: see intercept_topics"),
        Column("estimate", pl.Float64, "logits (place, rank: tokens)", "mean over topics"),
        *LIMITS,
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "layer", "intercept", "quantity"),
)
MLP_REPLACEMENTS = Table(
    doc="What the answer loses when an MLP's output is replaced by its linear fit, by the intercept alone, by the fit without the "
    "movers' terms, or by the mean output.",
    columns=(
        COPY,
        LAYER,
        Column("replacement", pl.String, "", "what stands in the MLP's place", REPLACEMENTS),
        Column("quantity", pl.String, "", "answer, asked_topic (change of centred logit), right (change of accuracy)"),
        Column("estimate", pl.Float64, "logits (right: share)", "mean over prompts"),
        *LIMITS,
        *COUNTS,
        METHOD,
        REASON,
    ),
    key=("copy", "layer", "replacement", "quantity"),
)

TABLES: dict[str, Table] = {
    "mlp_cause": MLP_CAUSE,
    "mlp_products": MLP_PRODUCTS,
    "mlp_held_out": MLP_HELD_OUT,
    "intercept_topics": INTERCEPT_TOPICS,
    "replacement_prompts": REPLACEMENT_PROMPTS,
    "mlp_weights": MLP_WEIGHTS,
    "mlp_fits": MLP_FITS,
    "mlp_intercepts": MLP_INTERCEPTS,
    "mlp_replacements": MLP_REPLACEMENTS,
}
