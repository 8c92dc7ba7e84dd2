"""Tables of the recall study, all of them in `TABLES`; here those about what is asked and known (methods.md P2, B6).

First what jobs write: one row per prompt and place. A prompt is (relation, topic, template, shots); topics are the units of
independence. Then what `summarise` infers. `copy` tells the model from its control with freshly drawn weights; `half` is the
half of the topics, `facts` whether a number is over all facts or over those known on other templates. Tables of the other
steps are in `recall_carriers`, `recall_mlp`, `recall_application` and `recall_last`.
"""

import polars as pl

from mnemoscope.results.schema import recall_application, recall_carriers, recall_last, recall_mlp
from mnemoscope.results.schema.recall_columns import COPY, DEMONSTRATIONS, HALF, LIMITS, PROMPT, REASON, TOPICS
from mnemoscope.results.schema.table import Column, Table

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
        *PROMPT,
        DEMONSTRATIONS,
        HALF,
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

KNOWLEDGE = Table(
    doc="Knowledge per relation and template, with intervals over topics; relation or template empty or -1: all together.",
    columns=(
        COPY,
        Column("relation", pl.String, "", "empty: all relations"),
        Column("template", pl.Int64, "", "-1: all templates"),
        DEMONSTRATIONS,
        Column("measure", pl.String, "", "accuracy: top of the vocabulary; choice: top of the relation's answers"),
        Column("estimate", pl.Float64, "named in measure", "mean over topics"),
        *LIMITS,
        Column("chance", pl.Float64, "as estimate", "what a model that knows nothing would have; nan where undefined"),
        *TOPICS,
        Column("method", pl.String, "", "how the interval was made"),
        REASON,
    ),
    key=("copy", "relation", "template", "shots", "measure"),
)

TABLES: dict[str, Table] = {
    "templates": TEMPLATES,
    "left_out": LEFT_OUT,
    "knowledge_prompts": KNOWLEDGE_PROMPTS,
    "knowledge": KNOWLEDGE,
    **recall_carriers.TABLES,
    **recall_mlp.TABLES,
    **recall_application.TABLES,
    **recall_last.TABLES,
}
