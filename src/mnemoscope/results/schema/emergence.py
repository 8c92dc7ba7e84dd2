"""Tables of the emergence study: when in training does each thing appear, and are early heads the late heads?

First what jobs write, one value per independent unit: `level_units`, `head_units`, `relation_units`, `pass_units`. Then what
`summarise` infers: `curves` with intervals, `onsets` with censoring, differences of onsets, how many of all heads rise in the same
window, and `persistence` of the map of heads. `series` is a training run (a seed); `copy` tells it from its re-initialised control.
"""

import polars as pl

from mnemoscope.results.schema.table import Column, Table

COPIES = ("trained", "reinitialised")
LEVELS = ("loss_reduction", "format", "pattern")
LEVEL_QUANTITIES = ("loss", *LEVELS, "restricted", "legal", "right")
HEAD_SCORES = ("prefix_matching", "previous_token", "copying", "copying_contextual")
GATES = ("argmax", "tau")
SLICES = ("argmax", "tau", "free", "held")
VARIANTS = ("lit", "src", "ctx_src", "out")

_POINT = (
    Column("copy", pl.String, "", "the training run, or the control with freshly drawn weights", COPIES),
    Column("series", pl.String, "", "the training run (a seed)"),
    Column("step", pl.Int64, "steps", "training step of the checkpoint; -1 for the control"),
)
_UNIT = (
    Column("unit", pl.String, "", "document, sequence or prompt set: the unit of independence"),
    Column("value", pl.Float64, "as named", "nan: undefined on this unit"),
    Column("chance", pl.Float64, "as value", "what a model or head that knows nothing would have on this unit"),
    Column("n", pl.Int64, "tokens or prompts", "observations behind the value; 0 with a nan value"),
)

CHECKPOINTS = Table(
    doc="What was measured: one row per checkpoint and measure.",
    columns=(
        *_POINT,
        Column("checkpoint", pl.String, "", "its name"),
        Column("measure", pl.String, "", "texts, tasks, attention, or relations of a corpus"),
        Column("weights", pl.String, "", "hash over the checkpoint's files, or its commit"),
        Column("n_units", pl.Int64, "units", "documents, sequences or prompt sets that were measured"),
        Column("note", pl.String, "", "what could not be measured as it is defined, and why; empty if nothing"),
    ),
    key=("copy", "series", "step", "measure"),
)

LEVEL_UNITS = Table(
    doc="The levels of in-context learning, one value per document (losses) or per prompt set, task and number of shots.",
    columns=(
        *_POINT,
        Column(
            "quantity",
            pl.String,
            "",
            "loss (nats per token); loss_reduction (nats, late minus early tokens: negative is learning); format, pattern, "
            "restricted (shares of prompts); legal (probability of legal labels); right (the right label's share of it)",
            LEVEL_QUANTITIES,
        ),
        Column("task", pl.String, "", "text, or the few-shot task"),
        Column("shots", pl.Int64, "demonstrations", "-1 for texts"),
        *_UNIT,
    ),
    key=("copy", "series", "quantity", "task", "shots", "step", "unit"),
)

HEAD_UNITS = Table(
    doc="Ordinary induction of every head, one value per random sequence.",
    columns=(
        *_POINT,
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("score", pl.String, "", "which score", HEAD_SCORES),
        *_UNIT,
    ),
    key=("copy", "series", "score", "layer", "head", "step", "unit"),
)

RELATION_UNITS = Table(
    doc="The relation index of every head, one row per document, gate and variant; triples averaged within document. `slice`: "
    "argmax and tau are gates; free counts every opportunity, held those at which the head attends to the head word at the run's "
    "last checkpoint: fixed sets of events. A head that never passes in a document has no row.",
    columns=(
        *_POINT,
        Column("corpus", pl.String, "", "letters, things, trees, or the user's file"),
        Column("relation", pl.String, "", "all: triples of all relations together"),
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("slice", pl.String, "", "which opportunities count, under which gate", SLICES),
        Column("variant", pl.String, "", "which vector is pushed through the head", VARIANTS),
        Column("unit", pl.String, "", "document: the unit of independence"),
        Column("n", pl.Int64, "events", "passing events with a share and a null"),
        Column("index", pl.Float64, "share", "relation index given passing; nan without"),
        Column("null", pl.Float64, "share", "matched null of the same events"),
        Column("percentile", pl.Float64, "share", "scale-free twin: null .5"),
        Column("per_opportunity", pl.Float64, "share", "index with failed gates as 0"),
        Column("null_per_opportunity", pl.Float64, "share", "its null"),
    ),
    key=("copy", "series", "corpus", "relation", "slice", "variant", "layer", "head", "step", "unit"),
)

PASS_UNITS = Table(
    doc="How often every head attends to the head word, one row per document and gate; triples averaged within document.",
    columns=(
        *_POINT,
        Column("corpus", pl.String, "", "letters, things, trees, or the user's file"),
        Column("relation", pl.String, "", "all: triples of all relations together"),
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("slice", pl.String, "", "the gate", GATES),
        Column("unit", pl.String, "", "document: the unit of independence"),
        Column("n", pl.Int64, "triples", "triples with an opportunity, redraws counted"),
        Column("pass_rate", pl.Float64, "share", "passing share of opportunities"),
        Column(
            "null_pass_rate",
            pl.Float64,
            "share",
            "the head's own rate at other positions as far back that are no head words and no sinks; nan where there are none",
        ),
    ),
    key=("copy", "series", "corpus", "relation", "slice", "layer", "head", "step", "unit"),
)

_CURVE = (
    Column("quantity", pl.String, "", "what is followed"),
    Column("scope", pl.String, "", "task, corpus, or which heads"),
)
_SPAN = (
    Column("estimate", pl.Float64, "as quantity", "mean over units; for onsets a step"),
    Column("low", pl.Float64, "as estimate", "lower end of the 95% interval over units"),
    Column("high", pl.Float64, "as estimate", "upper end"),
)
_BASIS = (
    Column("n", pl.Int64, "observations", "events, tokens or prompts"),
    Column("n_units", pl.Int64, "units", "independent units"),
    Column("method", pl.String, "", "how the interval was made"),
    Column("reason", pl.String, "", "why something is nan; else empty"),
)

CURVES = Table(
    doc="Every quantity at every checkpoint, with its interval over documents, sequences or prompt sets.",
    columns=(
        *_POINT,
        *_CURVE,
        *_SPAN,
        Column("chance", pl.Float64, "as estimate", "what knows nothing would have; nan where it has no such level"),
        *_BASIS,
    ),
    key=("copy", "series", "quantity", "scope", "step"),
)

ONSETS = Table(
    doc="First checkpoint from which the lower limit exceeds chance + 25% of the final gain at two consecutive checkpoints.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        *_CURVE,
        *_SPAN,
        Column("place", pl.Int64, "checkpoints", "which checkpoint it is, 0 the first; -1: never"),
        Column("censored", pl.String, "", "already there, never, or empty", ("", "already there", "never")),
        Column("threshold", pl.Float64, "as quantity", "chance + 25% of the final gain"),
        Column("gain", pl.Float64, "as quantity", "final gain over chance"),
        *_BASIS,
    ),
    key=("series", "quantity", "scope"),
)

ONSET_DIFFERENCES = Table(
    doc="First minus second onset, in checkpoints; negative: the first comes earlier. The interval is at least one checkpoint wide "
    "on either side.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        Column("first", pl.String, "", "quantity"),
        Column("second", pl.String, "", "quantity"),
        *_SPAN,
        *_BASIS,
    ),
    key=("series", "first", "second"),
)

HEAD_ONSETS = Table(
    doc="Onset of every head, in every score that has a chance level: what a coincidence has to be compared with.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        Column("score", pl.String, "", "score of ordinary induction, or relation index per opportunity"),
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("place", pl.Int64, "checkpoints", "which checkpoint, 0 the first; -1: never"),
        Column("step", pl.Float64, "steps", "the same as a step; nan: never"),
        Column("censored", pl.String, "", "already there, never, or empty", ("", "already there", "never")),
    ),
    key=("series", "score", "layer", "head"),
)

SPECIFICITY = Table(
    doc="Share of all head curves whose onset lies in the window around the onset of a level: how special a coincidence would be.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        Column("level", pl.String, "", "the level of in-context learning"),
        Column("score", pl.String, "", "the heads' score"),
        Column("first_step", pl.Float64, "steps", "window: one checkpoint before the onset"),
        Column("last_step", pl.Float64, "steps", "one behind it"),
        *_SPAN,
        *_BASIS,
    ),
    key=("series", "level", "score"),
)

PERSISTENCE = Table(
    doc="Rank correlation of the maps of heads of two checkpoints, measured on different halves of the units (so the diagonal is "
    "the map's reliability), and how many of the strongest heads of the first are among those of the second.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        Column("score", pl.String, "", "score of the map"),
        Column("first", pl.Int64, "steps", "a checkpoint"),
        Column("second", pl.Int64, "steps", "another, or the same"),
        Column("estimate", pl.Float64, "rank correlation", "over heads; mean of both ways round"),
        Column("within_layer", pl.Float64, "rank correlation", "mean over layers; nan with fewer than 3 heads a layer"),
        Column("kept", pl.Float64, "share", "of the strongest heads that are among the strongest of the other"),
        Column("kept_by_chance", pl.Float64, "share", "the same of random heads"),
        Column("n", pl.Int64, "heads", "heads of the map"),
        Column("n_units", pl.Int64, "units", "documents or sequences of both halves"),
        Column("reason", pl.String, "", "why something is nan; else empty"),
    ),
    key=("series", "score", "first", "second"),
)

FOLLOWED = Table(
    doc="The heads that are followed: strongest at the last checkpoint on one half of the units; curves are from the other half.",
    columns=(
        Column("series", pl.String, "", "the training run"),
        Column("score", pl.String, "", "score by which they were chosen"),
        Column("rank", pl.Int64, "", "0 is the strongest"),
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head"),
        Column("chosen", pl.Float64, "as score", "its score on the half that chose it"),
    ),
    key=("series", "score", "rank"),
)

TABLES: dict[str, Table] = {
    "checkpoints": CHECKPOINTS,
    "level_units": LEVEL_UNITS,
    "head_units": HEAD_UNITS,
    "relation_units": RELATION_UNITS,
    "pass_units": PASS_UNITS,
    "curves": CURVES,
    "onsets": ONSETS,
    "onset_differences": ONSET_DIFFERENCES,
    "head_onsets": HEAD_ONSETS,
    "specificity": SPECIFICITY,
    "persistence": PERSISTENCE,
    "followed": FOLLOWED,
}
