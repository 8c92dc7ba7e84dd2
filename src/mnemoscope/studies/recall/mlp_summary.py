"""What the recall study infers from the movers on: MLPs, function application, the last layer, mitigation; C2.3-2.5, 2.7, 2.8."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.verdict import Rule, Verdict, verdict
from mnemoscope.studies.claim_row import claim_row
from mnemoscope.studies.recall import activation_summary, application_summary, last_layer_summary, mitigation_summary
from mnemoscope.studies.recall.config import Config

_PARTS = (
    application_summary.FLIPS,
    application_summary.CARRIED,
    application_summary.LOCAL,
    application_summary.CHANGED,
)
REWEIGHTS = Rule(  # the estimate shown is that of the first part
    text=f"(1) {activation_summary.REWEIGHTS.text}; and (2) {activation_summary.NOT_ERASED.text}",
    sesoi=activation_summary.REWEIGHTS.sesoi,
    min_units=activation_summary.REWEIGHTS.min_units,
)
_REMEDY = (
    mitigation_summary.BETTER,
    mitigation_summary.SHARPER,
    mitigation_summary.CHEAP,
    mitigation_summary.CONFIDENT,
)
MITIGATES = Rule(  # the estimate shown is that of the first part
    text="all of, for the remedy of smallest training NLL among those that neutral text allows: "
    + "; ".join(f"({i}) {part.text}" for i, part in enumerate(_REMEDY, 1)),
    sesoi=mitigation_summary.BETTER.sesoi,
    min_units=mitigation_summary.BETTER.min_units,
)
FUNCTION = Rule(  # the estimate shown is that of the second part
    text="all of: " + "; ".join(f"({i}) {part.text}" for i, part in enumerate(_PARTS, 1)),
    sesoi=application_summary.CARRIED.sesoi,
    min_units=application_summary.CARRIED.min_units,
)
KNOWN_RANK = 10  # as in `knowledge.known`: first among the relation's answers, among the first ten of the vocabulary


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """The inferred tables of steps 4 to 7, and their claims; not testable where nothing was measured."""
    known = known_facts(tables)
    found, suppressed = last_layer_summary.summarise(tables, known)
    weighed, (contrast, reweights), gain = activation_summary.summarise(tables, config.seed)
    applied, carried, function = application_summary.summarise(tables, known, config.seed)
    remedied, gained, mitigated, name = mitigation_summary.summarise(tables)
    claims = [
        claim(
            "C2.3 the MLP weighs heads: movers stay, others go", contrast, REWEIGHTS, "mlp_weights", judged=reweights
        ),
        claim("C2.4 the intercept points to the answer", gain, activation_summary.POINTS, "mlp_intercepts"),
        claim(
            "C2.5 a deep MLP applies the relation to the topic that was carried",
            carried,
            FUNCTION,
            "application",
            judged=function,
        ),
        claim(
            "C2.7 the last layer suppresses the right answer", suppressed, last_layer_summary.SUPPRESSED, "last_layer"
        ),
        claim(
            f"C2.8 a remedy raises confidence on new relations ({name or 'none'})",
            gained,
            MITIGATES,
            "mitigation",
            judged=mitigated,
        ),
    ]
    return {**found, **weighed, **applied, **remedied, "claims": pl.DataFrame(claims, schema=CLAIMS.schema)}


def known_facts(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """relation, topic, template, known: on at least half of the fact's *other* templates it is known (B6.3)."""
    raw = tables["knowledge_prompts"].filter((pl.col("copy") == "trained") & (pl.col("shots") == 0))
    right = (pl.col("place") == 0) & (pl.col("rank") < KNOWN_RANK)
    one = raw.select("relation", "topic", "template", right=right.cast(pl.Float64))
    others = (pl.col("right").sum().over("relation", "topic") - pl.col("right")) / (
        pl.len().over("relation", "topic") - 1
    )
    return one.with_columns(share=others).select("relation", "topic", "template", known=pl.col("share") >= 0.5)


def claim(name: str, estimate: Estimate, rule: Rule, evidence: str, *, judged: Verdict | None = None) -> dict[str, Any]:
    """A row of the claims table; `judged` where the verdict follows from several parts."""
    return claim_row(name, estimate, rule, judged or verdict(estimate, rule), evidence)
