"""Tables that every study has: the verdicts on its claims, headlines, what was verified, the prompts it shows."""

import polars as pl

from mnemoscope.results.schema.table import Column, Table

VERDICTS = ("supported", "contradicted", "undetermined", "not testable")

CLAIMS = Table(
    doc="One row per claim of the study: the rule was written down before, the verdict follows from it.",
    columns=(
        Column("claim", pl.String, "", "identifier and statement"),
        Column(
            "verdict",
            pl.String,
            "",
            "supported: interval above sesoi; contradicted: below; else undetermined",
            VERDICTS,
        ),
        Column("estimate", pl.Float64, "named in rule", "the number that decides"),
        Column("low", pl.Float64, "named in rule", "lower end of its 95% interval"),
        Column("high", pl.Float64, "named in rule", "upper end"),
        Column("p", pl.Float64, "", "p value where the rule has one, else nan"),
        Column("sesoi", pl.Float64, "named in rule", "smallest effect of interest"),
        Column("n", pl.Int64, "observations", "how many observations the estimate rests on"),
        Column("n_units", pl.Int64, "units", "how many independent units (documents, topics, items, seeds)"),
        Column("rule", pl.String, "", "what was decided in advance, with the unit of the estimate"),
        Column("reason", pl.String, "", "why undetermined or not testable, minimum detectable effect; else empty"),
        Column("evidence", pl.String, "", "name of the table that the number comes from"),
    ),
    key=("claim",),
)

HEADLINES = Table(
    doc="What the run found, in sentences with numbers, in reading order.",
    columns=(
        Column("order", pl.Int64, "", "0, 1, 2 ..."),
        Column("text", pl.String, "", "one sentence"),
    ),
    key=("order",),
)

VERIFICATION = Table(
    doc="One row per identity that was checked numerically on this model during the run.",
    columns=(
        Column("where", pl.String, "", "the job or the part of the run that checked"),
        Column("check", pl.String, "", "the identity"),
        Column("error", pl.Float64, "logits unless said", "largest difference found; nan if it could not be checked"),
        Column("tolerance", pl.Float64, "as error", "largest difference allowed"),
        Column("floor", pl.Float64, "as error", "how far evaluations equal in mathematics differ; nan if not measured"),
        Column("ok", pl.Boolean, "", "error <= tolerance"),
        Column("n", pl.Int64, "comparisons", "how many values were compared"),
        Column("detail", pl.String, "", "what was done about it: fast path, slow path, refused; empty if nothing"),
    ),
    key=("where", "check"),
)

SHOWN_PROMPTS = Table(
    doc="Prompts that the page shows token by token.",
    columns=(
        Column("prompt", pl.String, "", "identifier"),
        Column("title", pl.String, "", "what to look for"),
        Column("tokens", pl.List(pl.String), "", "the text of every token, as decoded"),
        Column("query", pl.Int64, "token", "the position whose attention is kept for all heads"),
    ),
    key=("prompt",),
)

ATTENTION_ROWS = Table(
    doc="Attention of one query of one head on a shown prompt. All heads have one row per prompt; full patterns "
    "(a row per query) are kept for at most 16 heads and 4 prompts of at most 256 tokens; beyond, a row has its 64 "
    "largest keys (mnemoscope.results.attention). Weights are uint8: 255 is attention 1.",
    columns=(
        Column("prompt", pl.String, "", "identifier in shown_prompts"),
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("query", pl.Int64, "token", "the attending position"),
        Column(
            "keys", pl.List(pl.UInt16), "token", "attended positions (the 64 largest); empty means 0, 1, ..., query"
        ),
        Column("weights", pl.List(pl.UInt8), "1/255", "attention on each of them"),
    ),
    key=("prompt", "layer", "head", "query"),
)

SHOWN_EVENTS = Table(
    doc="The events that speak most for a head: where in the shown prompts it did what it is named for, best first.",
    columns=(
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("rank", pl.Int64, "", "0 is the best event of this head"),
        Column("prompt", pl.String, "", "identifier in shown_prompts"),
        Column("query", pl.Int64, "token", "the attending position; its row is in attention_rows"),
        Column("title", pl.String, "", "what happens, in a few words with its number"),
    ),
    key=("layer", "head", "rank"),
)

TABLES: dict[str, Table] = {
    "claims": CLAIMS,
    "headlines": HEADLINES,
    "verification": VERIFICATION,
    "shown_prompts": SHOWN_PROMPTS,
    "attention_rows": ATTENTION_ROWS,
    "shown_events": SHOWN_EVENTS,
}
