"""Step 6, inferred: is the right answer suppressed in the last layer, by whom, and more than any top token is? Claim C2.7."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import logit

from mnemoscope.results.schema.recall_columns import COPIES
from mnemoscope.results.schema.recall_last import CONDITIONS, LAST_LAYER, LAST_LAYER_COMPONENTS, SIDES
from mnemoscope.stats.clusters import clustered_mean, clustered_means
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.matching import nearest
from mnemoscope.stats.verdict import Rule

CALIPER = 0.5  # of log odds: a prompt's control is the nearest position of every text
SUPPRESSED = Rule(
    text="drop of the answer's centred logit in the last layer (logits), on prompts whose answer stood on top before it, minus the "
    "drop of the top token at neutral-text positions of the same probability: interval (two-way by topic and text) above .1",
    sesoi=0.1,
    min_units=10,
)
NOTHING = "no prompt meets the condition"


def summarise(tables: Mapping[str, pl.DataFrame], known: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], Estimate]:
    """Both tables, and the estimate that decides C2.7. known: relation, topic, template, known (bool)."""
    raw, neutral = (tables.get(f"last_layer_{name}") for name in ("prompts", "neutral"))
    if raw is None or neutral is None or not raw.height:
        return {}, undefined("the last layer was not measured", method="")
    raw = raw.join(known, on=["relation", "topic", "template"], how="left").with_columns(
        pl.col("known").fill_null(False)
    )
    rows: list[dict[str, Any]] = []
    for copy in COPIES:
        for condition in CONDITIONS:
            rows += _rows(raw.filter(pl.col("copy") == copy), neutral.filter(pl.col("copy") == copy), copy, condition)
    frame = pl.DataFrame(rows, schema=LAST_LAYER.schema)
    found = {"last_layer": frame, "last_layer_components": _components(tables)}
    return found, _decisive(raw, neutral)


def _decisive(raw: pl.DataFrame, neutral: pl.DataFrame) -> Estimate:
    own = _chosen(raw.filter(pl.col("copy") == "trained"), "top_before")
    return _sides(own, neutral.filter(pl.col("copy") == "trained"), "drop")["difference"]


def _chosen(raw: pl.DataFrame, condition: str) -> pl.DataFrame:
    kept = {
        "all": pl.lit(True),
        "known": pl.col("known"),
        "top_before": pl.col("rank_before") == 0,
        "top_after": pl.col("rank_after") == 0,
    }[condition]
    return raw.filter(kept)


def _rows(raw: pl.DataFrame, neutral: pl.DataFrame, copy: str, condition: str) -> list[dict[str, Any]]:
    own = _chosen(raw, condition)
    rows: list[dict[str, Any]] = []
    for quantity in ("drop", "dilution", "write", "probability"):
        sides = _sides(own, neutral, quantity)
        place = {"copy": copy, "condition": condition, "quantity": quantity}
        rows += [{**place, "side": side, **record(sides[side])} for side in SIDES]
    return rows


def record(found: Estimate) -> dict[str, Any]:
    """An estimate as columns."""
    names = ("estimate", "low", "high", "p", "n", "n_units", "method", "reason")
    return {name: getattr(found, name) for name in names}


def _values(frame: pl.DataFrame, quantity: str) -> np.ndarray:
    column = pl.col("p_before") - pl.col("p_after") if quantity == "probability" else pl.col(quantity)
    return frame.select(column.alias("value"))["value"].to_numpy().astype(float)


def _sides(own: pl.DataFrame, neutral: pl.DataFrame, quantity: str) -> dict[str, Estimate]:
    """Facts (topics), matched neutral positions (texts), and their difference (both)."""
    if not own.height:
        return {side: undefined(NOTHING, method="mean") for side in SIDES}
    topics, strata, texts = own["topic"].to_numpy(), own["relation"].to_numpy(), neutral["document"].to_numpy()
    x, y = _values(own, quantity), _values(neutral, quantity)
    places = nearest(_odds(own), _odds(neutral), texts, caliper=CALIPER)
    prompt, match = np.nonzero(places >= 0)
    position = places[prompt, match]
    found = {"facts": clustered_mean(x, topics, strata=strata)}
    if not len(prompt):
        why = f"no neutral position within {CALIPER:g} of a prompt's log odds"
        return found | {side: undefined(why, method="matched mean") for side in SIDES[1:]}
    weight = 1 / np.bincount(prompt, minlength=len(own))[prompt]
    control = clustered_mean(y[position], texts[position], weights=weight)
    difference = clustered_mean(
        x[prompt] - y[position], topics[prompt], texts[position], weights=weight, strata=strata[prompt]
    )
    n = len(np.unique(prompt))  # prompts with a control; n_units: texts, or the smaller of texts and topics
    return found | {"neutral": replace(control, n=n), "difference": replace(difference, n=n)}


def _odds(frame: pl.DataFrame) -> np.ndarray:
    return logit(np.clip(frame["p_before"].to_numpy().astype(float), 1e-12, 1 - 1e-7))


def _components(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    parts, slopes = tables["last_layer_parts"], tables["frequency_slopes"]
    rows: list[dict[str, Any]] = []
    for (copy,), frame in parts.group_by(["copy"], maintain_order=True):
        names = frame["part"].unique().sort().to_list()
        ordered = frame.sort("part", "relation", "topic", "template")
        n = ordered.height // len(names)
        values = ordered["write"].to_numpy().reshape(len(names), n).T
        found = clustered_means(values, ordered["topic"].to_numpy()[:n], strata=ordered["relation"].to_numpy()[:n])
        means = ordered.with_columns(share=pl.col("sink_size") / (pl.col("sink_size") + pl.col("rest_size")))
        other = means.group_by("part", maintain_order=True).agg(pl.col("sink_write", "sink_mass", "share").mean())
        slope = slopes.filter(pl.col("copy") == copy).group_by("part", maintain_order=True).agg(pl.col("slope").mean())
        extra = {row["part"]: row for row in other.join(slope, on="part").iter_rows(named=True)}
        for i, name in enumerate(names):
            one = record(found.at(i))
            more = {
                "sink_share": extra[name]["share"],
                **{k: extra[name][k] for k in ("sink_write", "sink_mass", "slope")},
            }
            rows.append({"copy": copy, "part": name, **one, **more})
    return pl.DataFrame(rows, schema=LAST_LAYER_COMPONENTS.schema)
