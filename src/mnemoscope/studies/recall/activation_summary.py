"""Step 4, inferred: does an MLP weigh heads, where does its intercept point, what can its fit replace? Claims C2.3 and C2.4."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.recall_mlp import MLP_FITS, MLP_INTERCEPTS, MLP_REPLACEMENTS, MLP_WEIGHTS
from mnemoscope.stats.bootstrap import bootstrap_ratio, bootstrap_ratios
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.cross_products import Weights, weights
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.ratio import difference_of_ratios
from mnemoscope.stats.strata import strata_of
from mnemoscope.stats.verdict import Rule, Verdict, all_of, band, verdict

REWEIGHTS = Rule(
    text="causal weight e of the movers minus that of the other listed heads, in the layer whose MLP pushes the answer most "
    "(chosen on the other half of the topics), along answers and topics: above .25",
    sesoi=0.25,
    min_units=10,
)
NOT_ERASED = Rule(text="e of the movers there, plus .25 (they are not erased): above 0", sesoi=0.0, min_units=10)
POINTS = Rule(
    text="push of the within-topic intercept (weights from other topics) on the answer minus the relation's other answers, minus "
    "the same of the topic's plain mean output, in that layer: above .1 logits",
    sesoi=0.1,
    min_units=10,
)
BOOT = 1000


def summarise(
    tables: Mapping[str, pl.DataFrame], seed: int
) -> tuple[dict[str, pl.DataFrame], tuple[Estimate, Verdict], Estimate]:
    """All tables; for C2.3 the estimate and the verdict over both parts; for C2.4 the estimate."""
    cause = tables.get("mlp_cause")
    if cause is None or not cause.height:
        nothing = undefined("no MLP was measured", method="")
        return {}, (nothing, verdict(nothing, REWEIGHTS)), nothing
    fits = _fits(tables, seed)
    found = {
        "mlp_weights": _weights(tables, seed, fits),
        "mlp_fits": _held_out(tables["mlp_held_out"], seed, fits),
        "mlp_intercepts": _intercepts(tables["intercept_topics"]),
        "mlp_replacements": _replacements(tables["replacement_prompts"]),
    }
    layer_of = _answering(tables.get("answer_layers"))
    contrast, movers = _contrast(cause, layer_of, seed)
    judged = all_of([verdict(contrast, REWEIGHTS), verdict(movers, NOT_ERASED)])
    return found, (contrast, judged), _gain(tables["intercept_topics"], cause, layer_of)


def _columns(found: Estimate) -> dict[str, Any]:
    names = ("estimate", "low", "high", "n", "n_units", "method", "reason")
    return {name: getattr(found, name) for name in names}


def _mean(rows: pl.DataFrame, values: pl.Series) -> Estimate:
    """Over rows, clustered by topic, stratified by relation (B2.2)."""
    strata = rows["relation"].to_numpy()
    return clustered_mean(values.cast(pl.Float64).to_numpy(), rows["topic"].to_numpy(), strata=strata)


Place = tuple[str, int, str, str]


def _fits(tables: Mapping[str, pl.DataFrame], seed: int) -> dict[Place, tuple[list[str], Weights]]:
    """Regression weights over all relations, each about its own mean; units are topics, whatever the relation."""
    found: dict[Place, tuple[list[str], Weights]] = {}
    for place, some in tables["mlp_products"].group_by(["copy", "layer", "scope", "space"], maintain_order=True):
        parts = some["parts"][0].to_list()
        c = len(parts)
        topics, relations = some["topic"].to_numpy(), some["relation"].to_numpy()
        code = np.unique(topics, return_inverse=True)[1]
        aa, am, mm = (np.zeros((code.max() + 1, size)) for size in (c * c, c, 1))
        np.add.at(aa, code, np.array(some["aa"].to_list()))
        np.add.at(am, code, np.array(some["am"].to_list()))
        np.add.at(mm[:, 0], code, some["mm"].to_numpy())
        if len(aa) >= 3:
            rng = np.random.default_rng(seed_of(seed, "/".join(map(str, place))))
            stratum = strata_of(topics, relations)
            fit = weights(aa.reshape(-1, c, c), am, mm[:, 0], rng=rng, stratum=stratum)
            found[place] = parts, fit  # pyright: ignore[reportArgumentType]
    return found


def _weights(
    tables: Mapping[str, pl.DataFrame], seed: int, fits: Mapping[Place, tuple[list[str], Weights]]
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for place, some in tables["mlp_cause"].group_by(["copy", "layer", "scope", "space"], maintain_order=True):
        parts = some["part"].unique(maintain_order=True).to_list()
        key = ["relation", "topic"]
        wide = {
            name: some.pivot(on="part", index=key, values=name).select(parts).to_numpy().astype(float)
            for name in ("change", "size", "tangent")
        }
        who = some.pivot(on="part", index=key, values="n")
        topics, relations = who["topic"].to_numpy(), who["relation"].to_numpy()
        rng = np.random.default_rng(seed_of(seed, "cause " + "/".join(map(str, place))))
        ratio = bootstrap_ratios(wide["change"], wide["size"], topics, strata=relations, rng=rng, n_boot=BOOT)
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.nansum(wide["tangent"], axis=0) / np.nansum(wide["size"], axis=0)
        names, fit = fits.get(place, ([], None))  # pyright: ignore[reportArgumentType, reportCallIssue]
        movers = set(some.filter(pl.col("mover"))["part"].to_list())
        for i, part in enumerate(parts):
            one = _silent(ratio.at(i)) if ratio.n[i] == 0 else ratio.at(i)
            rows.append(
                {
                    **dict(zip(("copy", "layer", "scope", "space"), place, strict=True)),
                    "part": part,
                    "mover": part in movers,
                    **_columns(one),
                    "verdict": band(one).verdict,
                    "jacobian": float(slope[i]),
                    **_regressed(names, fit, part),
                }
            )
    return pl.DataFrame(rows, schema=MLP_WEIGHTS.schema)


def _silent(found: Estimate) -> Estimate:
    return replace(found, reason="the part does not vary here, beyond rounding")


def _regressed(names: list[str], fit: Weights | None, part: str) -> dict[str, float]:
    if fit is None or part not in names:
        return dict.fromkeys(("ols", "ols_low", "ols_high", "ridge", "ridge_low", "ridge_high", "vif"), float("nan"))
    i = names.index(part)
    found = {"vif": float(fit.vif[i])}
    for name, one in (("ols", fit.ols), ("ridge", fit.ridge)):
        found |= {
            name: float(one.estimate[i]),
            f"{name}_low": float(one.low[i]),
            f"{name}_high": float(one.high[i]),
        }
    return found


def _held_out(raw: pl.DataFrame, seed: int, fits: Mapping[Place, tuple[list[str], Weights]]) -> pl.DataFrame:
    """R2 over all relations; units are topics, or templates of a relation."""
    rows: list[dict[str, Any]] = []
    for place, some in raw.group_by(["copy", "layer", "scope", "space", "split", "model"], maintain_order=True):
        unit = pl.col("unit") if place[4] == "topics" else pl.format("{} {}", "relation", "unit")
        units = some.select(unit=unit)["unit"].to_numpy()
        rng = np.random.default_rng(seed_of(seed, "held out " + "/".join(map(str, place))))
        relations = some["relation"].to_numpy()
        ratio = bootstrap_ratio(
            some["error"].to_numpy(), some["base"].to_numpy(), units, strata=relations, rng=rng, n_boot=BOOT
        )
        r2 = replace(ratio, estimate=1 - ratio.estimate, low=1 - ratio.high, high=1 - ratio.low)
        fit = fits.get(place[:4], ([], None))[1]  # pyright: ignore[reportArgumentType, reportCallIssue]
        rows.append(
            {
                **dict(zip(("copy", "layer", "scope", "space", "split", "model"), place, strict=True)),
                **_columns(r2),
                "condition": fit.condition if fit else float("nan"),
                "penalty": fit.penalty if fit else float("nan"),
                "rank": float(some["rank"].median()),  # pyright: ignore[reportArgumentType]
            }
        )
    return pl.DataFrame(rows, schema=MLP_FITS.schema)


def _intercepts(raw: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    key = ["copy", "relation", "topic", "layer"]
    within, mean = (raw.filter(pl.col("intercept") == name).drop("intercept") for name in ("within", "mean"))
    both = within.join(mean, on=key, suffix="_mean")
    gain = both.select(*key, *(pl.col(q) - pl.col(f"{q}_mean") for q in ("margin", "group", "place", "rank")))
    every = pl.concat([raw, gain.with_columns(intercept=pl.lit("gain")).select(raw.columns)])
    for (copy, layer, name), some in every.group_by(["copy", "layer", "intercept"], maintain_order=True):
        for quantity in ("margin", "group", "place", "rank"):
            one = _mean(some, some[quantity])
            rows.append({"copy": copy, "layer": layer, "intercept": name, "quantity": quantity, **_columns(one)})
    return pl.DataFrame(rows, schema=MLP_INTERCEPTS.schema)


def _replacements(raw: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for (copy, layer, name), some in raw.group_by(["copy", "layer", "replacement"], maintain_order=True):
        lost = some.with_columns(right=pl.col("right") - pl.col("right_before"))
        for quantity in ("answer", "asked_topic", "right"):
            one = _mean(lost, lost[quantity])
            rows.append({"copy": copy, "layer": layer, "replacement": name, "quantity": quantity, **_columns(one)})
    return pl.DataFrame(rows, schema=MLP_REPLACEMENTS.schema)


def _answering(layers: pl.DataFrame | None) -> dict[str, int]:
    """Half -> the layer whose MLP pushes the answer most, on the other half."""
    if layers is None:
        return {}
    plain = layers.filter((pl.col("copy") == "trained") & (pl.col("run") == "plain"))
    found: dict[str, int] = {}
    for half in ("a", "b"):
        means = plain.filter(pl.col("half") != half).group_by("layer", maintain_order=True).agg(pl.col("mlp").mean())
        if means.height:
            found[half] = int(means.sort(["mlp", "layer"], descending=[True, False])["layer"][0])
    return found


def _contrast(cause: pl.DataFrame, layer_of: Mapping[str, int], seed: int) -> tuple[Estimate, Estimate]:
    """e of movers minus e of the other listed heads; and e of the movers plus .25. Both along answers and topics, pooled."""
    own = cause.filter(
        (pl.col("copy") == "trained")
        & (pl.col("scope") == "pooled")
        & (pl.col("space") == "answers")
        & (pl.col("part") != "remainder")
        & pl.col("size").is_not_nan()
        & pl.any_horizontal(
            pl.lit(False), *((pl.col("half") == h) & (pl.col("layer") == layer) for h, layer in layer_of.items())
        )
    )
    sums = own.group_by("relation", "topic", "mover", maintain_order=True).agg(pl.col("change", "size").sum())
    movers, others = (sums.filter(pl.col("mover") == value).drop("mover") for value in (True, False))
    both = movers.join(others, on=["relation", "topic"], suffix="_other").sort("relation", "topic")
    if not both.height:
        nothing = undefined("no movers beside other heads that say something along the answers", method="ratio of sums")
        return nothing, nothing
    a, b, c, d = (both[name].to_numpy() for name in ("change", "size", "change_other", "size_other"))
    rng, topics, strata = np.random.default_rng(seed), both["topic"].to_numpy(), both["relation"].to_numpy()
    e = bootstrap_ratio(a, b, topics, strata=strata, rng=rng, n_boot=BOOT)
    return difference_of_ratios((a, b), (c, d), topics, strata=strata, rng=rng), replace(
        e, estimate=e.estimate + 0.25, low=e.low + 0.25, high=e.high + 0.25
    )


def _gain(raw: pl.DataFrame, cause: pl.DataFrame, layer_of: Mapping[str, int]) -> Estimate:
    """Margin of the within-topic intercept minus that of the plain mean, in the answering layer of the topic's half."""
    half = cause.select("relation", "topic", "half").unique()
    own = raw.filter(pl.col("copy") == "trained").join(half, on=["relation", "topic"])
    own = own.filter(
        pl.any_horizontal(
            pl.lit(False), *((pl.col("half") == h) & (pl.col("layer") == layer) for h, layer in layer_of.items())
        )
    )
    within, mean = (own.filter(pl.col("intercept") == name) for name in ("within", "mean"))
    both = within.join(mean, on=["relation", "topic"], suffix="_mean")
    if not both.height:
        return undefined("no intercept was fitted in the answering layer", method="mean of differences")
    return _mean(both, both["margin"] - both["margin_mean"])
