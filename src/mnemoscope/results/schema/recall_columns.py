"""Columns that all tables about what a model makes of facts share: `recall` and its neighbours."""

import polars as pl

from mnemoscope.results.schema.table import Column

COPIES = ("trained", "reinitialised")

COPY = Column("copy", pl.String, "", "the model, or its control with freshly drawn weights", COPIES)
RELATION = Column("relation", pl.String, "", "name of the relation")
TOPIC = Column("topic", pl.String, "", "what is asked about: the unit of independence")
TEMPLATE = Column("template", pl.Int64, "", "number of the template, see the table templates")
HALF = Column("half", pl.String, "", "half of the topics: what is chosen on one is measured on the other", ("a", "b"))
PROMPT = (COPY, RELATION, TOPIC, TEMPLATE)
DEMONSTRATIONS = Column(
    "shots", pl.Int64, "demonstrations", "demonstrations in front of the question; never its own topic"
)
LAYER = Column("layer", pl.Int64, "", "0 is the first")
LIMITS = (
    Column("low", pl.Float64, "as estimate", "lower end of the 95% interval"),
    Column("high", pl.Float64, "as estimate", "upper end"),
)
COUNTS = (
    Column("n", pl.Int64, "observations", "observations behind the estimate"),
    Column("n_units", pl.Int64, "units", "independent units (topics, unless method says otherwise)"),
)
TOPICS = (
    Column("n", pl.Int64, "prompts", "prompts behind the estimate"),
    Column("n_units", pl.Int64, "topics", "independent topics"),
)
METHOD = Column("method", pl.String, "", "how the interval was made")
REASON = Column("reason", pl.String, "", "why something is nan; else empty")
