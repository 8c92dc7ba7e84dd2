"""Tables of the causal part of the icl study: transplants, ablations, sharpened attention, and links per item.

First what jobs write, one row per item and intervention; then what `summarise` infers from them. All numbers about answers are in
nats: log probability of the whole right answer, and its margin over the nearest distractor at the first token that differs.
"""

import polars as pl

from mnemoscope.results.schema.icl_columns import BEHIND, COPY, estimate
from mnemoscope.results.schema.table import Column, Table

MEASURES = ("logprob", "margin")
SOURCES = ("same item", "other item", "shuffled answers", "neutral prefix")
PLACES = ("last token", "item tokens")
RUNS = ("before", "after")
OPS = ("mean", "resample", "zero")
SENTENCES = ("relevant", "distractor")

_PLACE = (COPY, Column("task", pl.String, "", "lines, passages, or the name of the user's task"))
_ITEM = (
    *_PLACE,
    Column("item", pl.String, "", "what is asked: the same in every run"),
    Column("unit", pl.String, "", "unit of inference: the item, or its line"),
    Column("draw", pl.Int64, "", "which of the item's prompts"),
)
_ANSWER = (
    Column("logprob", pl.Float64, "nats", "log probability of the right answer, all its tokens"),
    Column("margin", pl.Float64, "nats", "ahead of the nearest distractor where they first differ; nan without any"),
)
_CHANGE = (
    Column("logprob", pl.Float64, "nats", "change of the log probability of the right answer"),
    Column("margin", pl.Float64, "nats", "change of its margin; nan without distractors"),
)
_MEASURE = Column("measure", pl.String, "", "what is read of the answer", MEASURES)
_RUN = Column("run", pl.String, "", "which run is changed: before (no examples) or after (behind them)", RUNS)

CONTEXT_RUNS = Table(
    doc="The runs that transplants lie between, as they are: before examples, behind them, behind their controls. `shared`: tokens "
    "of the test item that are the same in all of them.",
    columns=(
        *_ITEM,
        Column("run", pl.String, "", "before; same item, shuffled answers, neutral prefix: what stands in front"),
        *_ANSWER,
        Column("shared", pl.Int64, "tokens", "of the test item, the same in all runs"),
        Column("padded", pl.Boolean, "", "neutral text brings all runs to one length (positions added to the stream)"),
    ),
    key=("copy", "task", "run", "item", "draw"),
)
TRANSPLANTS = Table(
    doc="Answers of the run before examples, in which the residual stream behind one block comes from another run.",
    columns=(
        *_ITEM,
        Column("source", pl.String, "", "the run that it comes from", SOURCES),
        Column("place", pl.String, "", "tokens that it is taken at, jointly", PLACES),
        Column("layer", pl.Int64, "", "behind this block"),
        *_ANSWER,
    ),
    key=("copy", "task", "source", "place", "layer", "item", "draw"),
)
RECOVERY = Table(
    doc="Recovery of a transplant: share of the gain from examples, minus that of the neutral prefix (which has 0 by definition: "
    "its rows hold its own recovery). Defined only where the gain's interval excludes 0.",
    columns=(
        *_PLACE,
        _MEASURE,
        Column("place", pl.String, "", "tokens that were transplanted", PLACES),
        Column("source", pl.String, "", "where they come from", SOURCES),
        Column("layer", pl.Int64, "", "behind this block; -1: mean over the upper half of the layers without the last"),
        *estimate("share of the gain", "recovery minus that of the neutral prefix"),
        Column("p_maxt", pl.Float64, "", "effect above the neutral prefix's, max-T over layers and places"),
        Column("recovery", pl.Float64, "share of the gain", "before subtracting; nan without a gain"),
        Column("recovery_low", pl.Float64, "share of the gain", "lower end of its 95% interval"),
        Column("recovery_high", pl.Float64, "share of the gain", "upper end"),
        Column("effect", pl.Float64, "nats", "mean of patched - before"),
        Column("gain", pl.Float64, "nats", "mean of after - before"),
        Column("ceiling", pl.Boolean, "", "the last layer: the answer itself is moved, no evidence"),
        *BEHIND,
    ),
    key=("copy", "task", "measure", "place", "source", "layer"),
)
_HEAD = (Column("layer", pl.Int64, "", "0 is the first"), Column("head", pl.Int64, "", "query head"))
HEAD_RISES = Table(
    doc="Rise of the log attention ratio of the last prompt token with examples, per head, on the half of the items on which heads "
    "are chosen and on the half on which they are judged.",
    columns=(
        *_PLACE,
        *_HEAD,
        Column("choosing", pl.Float64, "nats", "mean rise on the first half; nan where undefined"),
        Column("judging", pl.Float64, "nats", "mean rise on the other"),
        Column("chosen", pl.Boolean, "", "among the heads that are ablated together"),
    ),
    key=("copy", "task", "layer", "head"),
)
HEAD_CHANGES = Table(
    doc="Change of the answers behind examples when one head is mean-ablated, on the items that did not choose heads.",
    columns=(*_ITEM, *_HEAD, *_CHANGE),
    key=("copy", "task", "layer", "head", "item", "draw"),
)
HEAD_GAINS = Table(
    doc="Rise of every head's log attention ratio, beside what the answers lose behind examples without the head alone.",
    columns=(
        *HEAD_RISES.columns,
        Column("logprob", pl.Float64, "nats", "mean change of the answer without this head, judging half"),
        Column("margin", pl.Float64, "nats", "the same of its margin; nan without distractors"),
    ),
    key=HEAD_RISES.key,
)
ABLATIONS = Table(
    doc="Change of the answers when the outputs of a set of heads are replaced at the tokens that predict the answer. Set 0 is the "
    "chosen one, the others have as many heads in the same layers.",
    columns=(
        *_ITEM,
        _RUN,
        Column("set", pl.Int64, "", "0: the heads with the highest ratio gain"),
        Column("heads", pl.String, "", "its heads"),
        Column("op", pl.String, "", "what replaces them: their mean over items, another item's value, or 0", OPS),
        Column("judging", pl.Boolean, "", "not used to choose the heads"),
        Column("complete", pl.Boolean, "", "all layer-matched sets are there"),
        *_CHANGE,
    ),
    key=("copy", "task", "run", "op", "set", "item", "draw"),
)
ABLATION = Table(
    doc="Effect of ablating the chosen heads on items that did not choose them, and its excess over layer-matched random sets.",
    columns=(
        *_PLACE,
        _MEASURE,
        _RUN,
        Column("op", pl.String, "", "what replaces them", OPS),
        Column("against", pl.String, "", "what is subtracted", ("nothing", "random heads")),
        Column("heads", pl.String, "", "the chosen heads"),
        *estimate("nats", "mean change (minus the mean over random sets)"),
        Column("random_low", pl.Float64, "nats", "2.5% of the random sets' mean changes; nan where none were run"),
        Column("random_high", pl.Float64, "nats", "97.5%"),
        Column("p_sets", pl.Float64, "", "share of sets, the chosen one included, with as large a drop"),
        Column("smallest_p", pl.Float64, "", "the smallest that so many sets allow"),
        Column("n_sets", pl.Int64, "sets", "layer-matched random sets"),
        *BEHIND,
    ),
    key=("copy", "task", "measure", "run", "op", "against"),
)
ABLATION_SETS = Table(
    doc="Mean change per set of heads on the judging items (mean ablation): what the band of the page is made of.",
    columns=(
        *_PLACE,
        _MEASURE,
        _RUN,
        Column("set", pl.Int64, "", "0: the chosen one"),
        Column("heads", pl.String, "", "its heads"),
        Column("effect", pl.Float64, "nats", "mean change; nan without distractors"),
    ),
    key=("copy", "task", "measure", "run", "set"),
)
_GROUP = (
    _RUN,
    Column("layer", pl.Int64, "", "layer whose attention is changed"),
    Column("heads", pl.String, "", "all of its heads, or those chosen for their ratio gain", ("all", "chosen")),
)
SHARPENING = Table(
    doc="Change of the answers when attention to one sentence is multiplied by g and renormalised, at all tokens that predict the "
    "answer, in one layer.",
    columns=(
        *_ITEM,
        *_GROUP,
        Column(
            "sentence", pl.String, "", "the relevant one, or a distractor (positions balanced over items)", SENTENCES
        ),
        Column("g", pl.Float64, "", "factor"),
        Column("attention", pl.Float64, "share of attention", "on the sentence before, mean over the heads"),
        *_CHANGE,
    ),
    key=("copy", "task", "run", "layer", "heads", "sentence", "g", "item", "draw"),
)
DOSES = Table(
    doc="Mean change of the answers per dose.",
    columns=(
        *_PLACE,
        _MEASURE,
        *_GROUP,
        Column("sentence", pl.String, "", "sentence that is attended to more or less", SENTENCES),
        Column("g", pl.Float64, "", "factor; 1 changes nothing"),
        *estimate("nats", "mean change"),
        Column("attention", pl.Float64, "share of attention", "on the sentence before"),
        *BEHIND,
    ),
    key=("copy", "task", "measure", "run", "layer", "heads", "sentence", "g"),
)
DOSE_SLOPES = Table(
    doc="Change of the answers per doubling of attention: least squares through 0 on log2 g, item by item.",
    columns=(
        *_PLACE,
        _MEASURE,
        *_GROUP,
        Column("sentence", pl.String, "", "difference: relevant minus distractor", (*SENTENCES, "difference")),
        *estimate("nats per doubling", "mean slope"),
        Column("p_maxt", pl.Float64, "", "max-T corrected over the layers of the run, two-sided"),
        *BEHIND,
    ),
    key=("copy", "task", "measure", "run", "heads", "sentence", "layer"),
)
ADJUSTED = ("items", "items and conditions")
STRATA = "conditions and formats"
LINKS = Table(
    doc="Does a prompt's change inside go with its change in behaviour? Regression within items (B7.5). `within` items and "
    "conditions: the mean of every condition is taken out first, so that two things that both rise do not make a link. `within` "
    "conditions and formats: over prompts, a correlation.",
    columns=(
        *_PLACE,
        Column("inside", pl.String, "", "what changes inside: alignment, probe margin, or attention ratio"),
        Column("about", pl.String, "", "its hypothesis, target, or sentence"),
        Column("behaviour", pl.String, "", "what changes outside: logprob, margin, right, or -|error|"),
        Column("within", pl.String, "", "means that are taken out first", (*ADJUSTED, STRATA)),
        Column("layer", pl.Int64, "", "-1: mean over the upper half of the layers (ratio: over all)"),
        *estimate("standard deviations", "slope of behaviour on the inside, both in within-item standard deviations"),
        Column("slope", pl.Float64, "behaviour per unit inside", "the same in units of the two"),
        *BEHIND,
    ),
    key=("copy", "task", "inside", "about", "behaviour", "within", "layer"),
)
LINK_POINTS = Table(
    doc="The points behind the links at layer -1: change of every prompt that has both, from before to after examples.",
    columns=(
        *_PLACE,
        Column("inside", pl.String, "", "what changes inside"),
        Column("about", pl.String, "", "its hypothesis, target, or sentence"),
        Column("behaviour", pl.String, "", "what changes outside"),
        Column("item", pl.String, "", "what is asked"),
        Column("draw", pl.Int64, "", "which of the item's prompts"),
        Column("change_inside", pl.Float64, "of the measure", "after - before"),
        Column("change_behaviour", pl.Float64, "of the behaviour", "after - before"),
    ),
    key=("copy", "task", "inside", "about", "behaviour", "item", "draw"),
)

TABLES: dict[str, Table] = {
    "icl_context_runs": CONTEXT_RUNS,
    "icl_transplants": TRANSPLANTS,
    "icl_recovery": RECOVERY,
    "icl_head_rises": HEAD_RISES,
    "icl_head_changes": HEAD_CHANGES,
    "icl_head_gains": HEAD_GAINS,
    "icl_ablations": ABLATIONS,
    "icl_ablation": ABLATION,
    "icl_ablation_sets": ABLATION_SETS,
    "icl_sharpening": SHARPENING,
    "icl_doses": DOSES,
    "icl_dose_slopes": DOSE_SLOPES,
    "icl_links": LINKS,
    "icl_link_points": LINK_POINTS,
}
