"""Step 5, inferred: do answers flip with what the movers carry, and was it the topic or the attribute? Claim C2.5."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.schema.recall_application import ANSWER_TERMS, APPLICATION, EXCHANGES, RUNS
from mnemoscope.results.schema.recall_columns import COPIES
from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.clusters import bounded_mean, clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.ratio import guarded_ratio
from mnemoscope.stats.verdict import Rule, Verdict, all_of, verdict
from mnemoscope.studies.recall.last_layer_summary import record

POOLED = ""
SHARES = {  # quantity -> (column, value)
    "flips_answers": ("top_answer", "partner"),
    "flips_vocabulary": ("top_vocabulary", "partner"),
    "attribute_answers": ("top_answer", "attribute"),
    "attribute_vocabulary": ("top_vocabulary", "attribute"),
}
FRACTIONS = ("movers", "bystanders")  # the ceilings' own fractions are 1 wherever the last tokens are the same
FLIPS = Rule(
    text="share of prompts whose top answer of the relation becomes r(X') when the movers (chosen on other topics) say what they "
    "say about X', minus the same for bystander heads of the same layers: above .05",
    sesoi=0.05,
    min_units=10,
)
CARRIED = Rule(
    text="movers' output of relation r' on X' in the prompt of r on X, where all heads' output does bring r'(X'): "
    "share answering r(X') (topic carried, function applied "
    "later) minus share answering r'(X') (attribute carried): above .05",
    sesoi=0.05,
    min_units=6,
)
LOCAL = Rule(
    text="share of all positive direct push on r(X) minus r(X') that comes from two MLPs chosen on the other half of the topics: "
    "above .5",
    sesoi=0.5,
    min_units=10,
)
CHANGED = Rule(
    text="push of these two MLPs on r(X) minus r(X'), plain minus with the movers' exchange: above .1 logits",
    sesoi=0.1,
    min_units=10,
)


def summarise(
    tables: Mapping[str, pl.DataFrame], known: pl.DataFrame, seed: int
) -> tuple[dict[str, pl.DataFrame], Estimate, Verdict]:
    """Both tables; the estimate shown with C2.5 (the decisive control, all facts) and its verdict over all parts.

    known: relation, topic, template, known (bool).
    """
    raw, layers = tables.get("exchange_prompts"), tables.get("answer_layers")
    if raw is None or layers is None or not raw.height:
        nothing = undefined("no exchange was measured", method="")
        return {}, nothing, verdict(nothing, CARRIED)
    rows: list[dict[str, Any]] = []
    for copy in COPIES:
        own = raw.filter(pl.col("copy") == copy)
        for name in (POOLED, *own["relation"].unique().sort().to_list()):
            some = own if name == POOLED else own.filter(pl.col("relation") == name)
            for facts, part in (("all", some), ("known", _both_known(some, known))):
                place = {"copy": copy, "relation": name, "facts": facts}
                rows += [{**place, **row} for row in _cells(part, np.random.default_rng(seed))]
    found = {"application": pl.DataFrame(rows, schema=APPLICATION.schema), "answer_terms": _terms(layers)}
    trained = raw.filter(pl.col("copy") == "trained")
    carried = _carried(trained)
    local, changed = _local(layers.filter(pl.col("copy") == "trained"), seed)
    parts = [(_flips(trained), FLIPS), (carried, CARRIED), (local, LOCAL), (changed, CHANGED)]
    return found, carried, all_of(verdict(estimate, rule) for estimate, rule in parts)


def _both_known(some: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Prompts whose topic and partner are known on other templates."""
    there = known.filter(pl.col("known")).drop("known")
    its = there.rename({"topic": "partner"})
    return some.join(there, on=["relation", "topic", "template"], how="semi").join(
        its, on=["relation", "partner", "template"], how="semi"
    )


def _cells(some: pl.DataFrame, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    plain = some.filter(pl.col("exchange") == "none").select("relation", "topic", "template", plain="difference")
    effects = some.join(plain, on=["relation", "topic", "template"]).with_columns(
        effect=pl.col("difference") - pl.col("plain"), whole=pl.col("source_difference") - pl.col("plain")
    )
    for exchange in EXCHANGES:
        part = effects.filter(pl.col("exchange") == exchange)
        if not part.height:
            continue
        control = exchange.startswith("other")
        for quantity, (column, value) in SHARES.items():
            if control or value != "attribute":
                rows.append({"exchange": exchange, "quantity": quantity, **record(_share(part, column, value))})
        if exchange in FRACTIONS:
            rows += [{"exchange": exchange, **row} for row in _fractions(part, effects, rng)]
    return rows


def _who(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What is independent, and its strata: topics, relations (B2.2)."""
    return rows["topic"].to_numpy(), rows["relation"].to_numpy()


def _share(part: pl.DataFrame, column: str, value: str) -> Estimate:
    hits = (part[column] == value).cast(pl.Float64).to_numpy()
    topics, strata = _who(part)
    return bounded_mean(hits, topics, strata=strata, limits=(0.0, 1.0))


def _fractions(part: pl.DataFrame, effects: pl.DataFrame, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Of the difference of the two prompts' own runs, and of what the ceilings reach."""
    rows = [{"quantity": "of_difference", **record(_fraction(part, "whole", rng))}]
    for ceiling in ("all_last", "all_positions"):
        most = effects.filter(pl.col("exchange") == ceiling).select("relation", "topic", "template", most="effect")
        both = part.join(most, on=["relation", "topic", "template"])
        rows.append({"quantity": f"of_{ceiling}", **record(_fraction(both, "most", rng))})
    return rows


def _fraction(rows: pl.DataFrame, of: str, rng: np.random.Generator) -> Estimate:
    topics, strata = _who(rows)
    effect, whole = rows["effect"].to_numpy(), rows[of].to_numpy()
    return guarded_ratio(effect, whole, topics, strata=strata, rng=rng, floor=0.0, n_boot=1000)


def _flips(trained: pl.DataFrame) -> Estimate:
    """Flips by movers minus flips by bystanders, prompt by prompt (0 where a layer has no bystander)."""
    key = ["relation", "topic", "template"]
    hit = trained.with_columns(hit=(pl.col("top_answer") == "partner").cast(pl.Float64))
    movers = hit.filter(pl.col("exchange") == "movers").select(*key, "hit")
    others = hit.filter(pl.col("exchange") == "bystanders").select(*key, other="hit")
    both = movers.join(others, on=key, how="left").with_columns(pl.col("other").fill_null(0.0))
    if not both.height:
        return undefined("no head was found to move the topic", method="mean of differences")
    values = both["hit"].to_numpy() - both["other"].to_numpy()
    topics, strata = _who(both)
    return bounded_mean(values, topics, strata=strata, limits=(-1.0, 1.0))


def _carried(trained: pl.DataFrame) -> Estimate:
    key = ["relation", "topic", "template", "source_relation"]
    able = trained.filter((pl.col("exchange") == "other_relation_all") & (pl.col("top_answer") == "attribute"))
    control = trained.filter(pl.col("exchange") == "other_relation").join(able.select(key), on=key, how="semi")
    if not control.height:
        return undefined("no two known relations share topics, or there are no movers", method="mean of differences")
    values = control.select(
        value=(pl.col("top_answer") == "partner").cast(pl.Float64)
        - (pl.col("top_answer") == "attribute").cast(pl.Float64)
    )["value"].to_numpy()
    topics, strata = _who(control)
    return bounded_mean(values, topics, strata=strata, limits=(-1.0, 1.0))


def _terms(layers: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for (copy, run, layer), some in layers.group_by(["copy", "run", "layer"], maintain_order=True):
        for term in ("attn", "mlp", *(("place",) if run == RUNS[0] else ())):
            topics, strata = _who(some)
            one = record(clustered_mean(some[term].to_numpy().astype(float), topics, strata=strata))
            rows.append({"copy": copy, "run": run, "layer": layer, "term": term, **one})
    return pl.DataFrame([{k: v for k, v in row.items() if k != "p"} for row in rows], schema=ANSWER_TERMS.schema)


def _local(layers: pl.DataFrame, seed: int) -> tuple[Estimate, Estimate]:
    """Share of the positive push from two MLPs chosen on the other half, and how much of it the exchange takes."""
    plain = layers.filter(pl.col("run") == "plain")
    if not plain.height or plain["half"].n_unique() < 2:
        nothing = undefined("both halves of the topics are needed, and a stream that is a sum", method="ratio of sums")
        return nothing, nothing
    pushes, changes = (pl.concat(parts) for parts in zip(*(_pushes(layers, half) for half in ("a", "b")), strict=True))
    chosen, whole = pushes["chosen"].to_numpy(), pushes["whole"].to_numpy()
    topics, strata = _who(pushes)
    share = bootstrap_ratio(chosen, whole, topics, strata=strata, rng=np.random.default_rng(seed), n_boot=1000)
    if not changes.height:
        return share, undefined("no head was found to move the topic", method="mean")
    topics, strata = _who(changes)
    moved = clustered_mean(changes["change"].to_numpy(), topics, strata=strata)
    return share, replace(moved, method=moved.method.replace("mean", "mean of differences", 1))


def _pushes(layers: pl.DataFrame, half: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Per prompt of a half: push of the chosen MLPs and all positive push; and what the exchange changes of the first."""
    plain = layers.filter((pl.col("run") == "plain") & (pl.col("half") != half))
    means = plain.group_by("layer", maintain_order=True).agg(pl.col("attn", "mlp").mean()).sort("layer")
    best = means.sort("mlp", descending=True)["layer"].head(2).to_list()
    attn = means.filter(pl.col("attn") > 0)["layer"].to_list()
    mlp = means.filter(pl.col("mlp") > 0)["layer"].to_list()
    push = pl.col("mlp").filter(pl.col("layer").is_in(best)).sum()
    every = (
        pl.col("mlp").filter(pl.col("layer").is_in(mlp)).sum()
        + pl.col("attn").filter(pl.col("layer").is_in(attn)).sum()
    )
    key = ["relation", "topic", "template"]
    own = (
        layers.filter(pl.col("half") == half)
        .group_by(*key, "run", maintain_order=True)
        .agg(chosen=push, whole=every)
        .sort(*key, "run")
    )
    here = own.filter(pl.col("run") == "plain")
    both = here.join(own.filter(pl.col("run") == "exchanged").select(*key, after="chosen"), on=key)
    return here.drop("run"), both.select(*key, change=pl.col("chosen") - pl.col("after"))
