"""Tables of the icl study: what examples in the prompt change in answers, representations and attention.

First what jobs write, one row per prompt (and layer, head): sufficient statistics. Then what `summarise` infers from them. A prompt
is known by task, condition, item and draw; `copy` tells the model from its control with freshly drawn weights. Where a row is a
contrast, `versus` names the condition that is subtracted; it is empty where the row is about one condition.
"""

import polars as pl

from mnemoscope.results.schema import icl_cause
from mnemoscope.results.schema.icl_columns import BEHIND, COPY, estimate
from mnemoscope.results.schema.table import Column, Table

TOKENS = ("all", "relevant")
POOLINGS = ("max", "mean", "last")
MEASURES = ("right", "content", "error", "parse failure", "logprob", "margin")
KINDS = ("spearman", "partial", "tau-a")
DISTANCES = ("cosine", "correlation")

_PROMPT = (
    COPY,
    Column("task", pl.String, "", "lines, passages, simple, persona, or the name of the user's task"),
    Column("condition", pl.String, "", "what stands in front of the item; lines: number of points"),
    Column("item", pl.String, "", "what is asked: the same under every condition"),
    Column("draw", pl.Int64, "", "which of the item's prompts"),
)
_CONTRAST = (
    *_PROMPT[:3],
    Column(
        "versus",
        pl.String,
        "",
        'condition that is subtracted; empty: none is; "..., beyond the re-initialised copy" or "... the same without a persona": '
        "minus that change",
    ),
)
_POOLED = (
    Column("tokens", pl.String, "", "pooled tokens: all of the prompt, or the relevant ones of the test item", TOKENS),
    Column("pooling", pl.String, "", "how their vectors became one", POOLINGS),
    Column(
        "layer", pl.Int64, "", "0: embedding, l: residual stream behind block l; -1: mean over the upper half of these"
    ),
)


PROMPTS = Table(
    doc="One row per prompt: what was asked, and what the design says about it.",
    columns=(
        *_PROMPT[1:],
        Column("text", pl.String, "", "the prompt"),
        Column("answer", pl.String, "", "the right continuation"),
        Column("n_tokens", pl.Int64, "tokens", "length of the prompt"),
        Column("ids", pl.List(pl.Int64), "", "its tokens"),
        Column("labels", pl.String, "JSON", "design variables of the prompt by name"),
    ),
    key=("task", "condition", "item", "draw"),
)
ANSWERS = Table(
    doc="One row per prompt: what the model said, and how probable it found the right answer.",
    columns=(
        *_PROMPT,
        Column("said", pl.String, "", "greedy continuation up to its end of line"),
        Column("right", pl.Float64, "0 or 1", "said what was asked for, in the form asked for; nan for lines"),
        Column("content", pl.Float64, "0 or 1", "said the right thing in any form; nan for lines"),
        Column("error", pl.Float64, "y", "lines: |said - true|, clipped where nothing could be read; else nan"),
        Column("unread", pl.Float64, "0 or 1", "nothing could be read from what was said"),
        Column("logprob", pl.Float64, "nats", "log probability of the right answer, all its tokens"),
        Column("margin", pl.Float64, "nats", "that minus the largest among the distractors; nan without any"),
    ),
    key=("copy", "task", "condition", "item", "draw"),
)
VECTORS = Table(
    doc="Pooled residual vectors: sufficient for similarity and probes. See `Config.stored` for which are kept.",
    columns=(*_PROMPT, *_POOLED, Column("vector", pl.List(pl.Float32), "", "d_model numbers")),
    key=("copy", "task", "tokens", "pooling", "layer", "condition", "item", "draw"),
)
ATTENTION = Table(
    doc="Attention of the last prompt token, per prompt, layer and head; a mean per token of each group. Sinks (special tokens, "
    "the first column, tokens without a letter or digit) are in no group.",
    columns=(
        *_PROMPT,
        Column("layer", pl.Int64, "", "0 is the first"),
        Column("head", pl.Int64, "", "query head; -1: the mean over heads, as published"),
        Column("relevant", pl.Float32, "attention per token", "the sentence that answers"),
        Column("distractor", pl.Float32, "attention per token", "the other sentences of the passage; nan without any"),
        Column("demonstration", pl.Float32, "attention per token", "the example in front; nan without one"),
        Column("rest", pl.Float32, "attention per token", "everything else that is no sink"),
        Column("sink", pl.Float32, "share of attention", "on all sinks together"),
        Column("sentences", pl.List(pl.Float32), "attention per token", "every sentence of the passage in text order"),
        Column("place", pl.Int64, "", "which of them is the relevant one"),
    ),
    key=("copy", "task", "condition", "item", "draw", "layer", "head"),
)
BEHAVIOUR = Table(
    doc="Behaviour per condition, and its paired change between conditions of the same items.",
    columns=(
        *_CONTRAST,
        Column("measure", pl.String, "", "what is averaged", MEASURES),
        *estimate("share, y, or nats", "mean over prompts (of the difference)"),
        Column("chance", pl.Float64, "as estimate", "what needs no reading; nan where there is no such number"),
        *BEHIND,
    ),
    key=("copy", "task", "condition", "versus", "measure"),
)
ALIGNMENT = Table(
    doc="Representational similarity per layer: rank correlation of the distances between prompts with a hypothesis, over pairs "
    "of prompts from different units; permutations move units.",
    columns=(
        *_CONTRAST,
        Column("hypothesis", pl.String, "", "which prompts should be alike"),
        *_POOLED,
        Column(
            "distance",
            pl.String,
            "",
            "between vectors: cosine (published, and what claims rest on), or 1 - Pearson's r",
            DISTANCES,
        ),
        Column("kind", pl.String, "", "spearman; partial: nuisances taken out; tau-a of Kendall", KINDS),
        *estimate("rank correlation", "alignment (or its change)"),
        Column("p_maxt", pl.Float64, "", "max-T corrected over layers"),
        Column("null_low", pl.Float64, "rank correlation", "2.5% of the permuted alignments"),
        Column("null_high", pl.Float64, "rank correlation", "97.5% of them"),
        Column("ceiling", pl.Float64, "rank correlation", "what a perfect hypothesis could reach; nan: no ceiling"),
        *BEHIND,
    ),
    key=("copy", "task", "hypothesis", "tokens", "pooling", "distance", "kind", "condition", "versus", "layer"),
)
ITEMS = Table(
    doc="Alignment of every prompt on its own: rank correlation of its cosine distances to other items with the hypothesis (B7.5).",
    columns=(
        *_PROMPT,
        Column("hypothesis", pl.String, "", "which prompts should be alike"),
        *_POOLED,
        Column("alignment", pl.Float64, "rank correlation", "nan where distances or hypothesis are constant"),
    ),
    key=("copy", "task", "hypothesis", "tokens", "pooling", "layer", "condition", "item", "draw"),
)
RDMS = Table(
    doc="Mean cosine distance between the prompts of two groups of items, before and after, where alignment rose most.",
    columns=(
        *_PROMPT[1:3],
        Column("hypothesis", pl.String, "", "which prompts should be alike"),
        *_POOLED,
        Column("row", pl.String, "", "unit"),
        Column("column", pl.String, "", "unit"),
        Column("place", pl.Int64, "", "row number times number of units + column number: the drawing order"),
        Column("distance", pl.Float64, "rank, 0 to 1", "rank of the mean distance among all"),
        Column("expected", pl.Float64, "rank, 0 to 1", "rank of the hypothesis"),
    ),
    key=("task", "hypothesis", "tokens", "pooling", "layer", "condition", "row", "column"),
)
PROBES = Table(
    doc="What a linear reader finds, on items it has not seen: accuracy above what needs no input, or R2 about the training mean.",
    columns=(
        *_CONTRAST,
        Column("target", pl.String, "", "what is read"),
        Column("labels", pl.String, "", "task; control (labels on a recurring word); shuffled (among items)"),
        *_POOLED,
        *estimate("accuracy above base, or R2", "or their paired change; above layer 0: see gain0"),
        Column("base", pl.Float64, "accuracy, or squared error", "what needs no input"),
        Column("gain0", pl.Float64, "as estimate", "above the same probe at layer 0"),
        *BEHIND,
    ),
    key=("copy", "task", "target", "labels", "tokens", "pooling", "condition", "versus", "layer"),
)
READINGS = Table(
    doc="What a probe read from every prompt, on folds that left its item out (B7.3); for the links of B7.5.",
    columns=(
        *_PROMPT,
        Column("target", pl.String, "", "what is read"),
        *_POOLED,
        Column("score", pl.Float64, "0 to 1, or squared error", "right or not; numbers: squared error"),
        Column("margin", pl.Float64, "nats, or minus absolute error", "of the true class over the best other"),
    ),
    key=("copy", "task", "target", "tokens", "pooling", "layer", "condition", "item", "draw"),
)
RATIOS = Table(
    doc="Attention ratio per layer and head: log attention per token of the relevant sentence over the others, minus its mean "
    "when every sentence in turn is called relevant, within position.",
    columns=(
        *_CONTRAST,
        Column("layer", pl.Int64, "", "0 is the first; -1: mean over layers"),
        Column("head", pl.Int64, "", "query head; -1: attention averaged over heads, as published"),
        *estimate("nats", "excess of the log ratio (or its change)"),
        Column("p_maxt", pl.Float64, "", "max-T corrected over heads of all layers"),
        Column("ratio", pl.Float64, "nats", "the log ratio itself"),
        Column("sink", pl.Float64, "share of attention", "on sinks"),
        *BEHIND,
    ),
    key=("copy", "task", "condition", "versus", "layer", "head"),
)
LEFT_OUT = Table(
    doc="What of the user's file was not asked, with the reason.",
    columns=(
        Column("id", pl.String, "", "task / input, or where it stands in the file"),
        Column("reason", pl.String, "", "one of a few sentences"),
        Column("detail", pl.String, "", "what makes this case special"),
    ),
    key=("id", "reason"),
)

TABLES: dict[str, Table] = {
    "icl_left_out": LEFT_OUT,
    "icl_prompts": PROMPTS,
    "icl_answers": ANSWERS,
    "icl_vectors": VECTORS,
    "icl_attention": ATTENTION,
    "icl_behaviour": BEHAVIOUR,
    "icl_alignment": ALIGNMENT,
    "icl_items": ITEMS,
    "icl_rdms": RDMS,
    "icl_probes": PROBES,
    "icl_readings": READINGS,
    "icl_ratios": RATIOS,
    **icl_cause.TABLES,
}
