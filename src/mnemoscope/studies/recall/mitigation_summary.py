"""Step 7, inferred: does a remedy beat one temperature on relations it was not fitted on, and what does it cost? Claim C2.8."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.schema.recall_last import CALIBRATION_CURVES, MITIGATION, REMEDIES
from mnemoscope.stats.calibration import calibration_error
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import Rule, Verdict, all_of, verdict

LIMIT = 0.02  # nats that neutral text may cost
CANDIDATES = ("heads", "frequency", "scale", "skip")
BETTER = Rule(
    text="NLL of held-out facts (nats) with temperature alone minus with the chosen remedy and its own temperature, both fitted on "
    "other relations: above .02",
    sesoi=0.02,
    min_units=10,
)
SHARPER = Rule(text="the same of the Brier score: above 0", sesoi=0.0, min_units=10)
CHEAP = Rule(
    text=".02 nats minus the rise of the NLL of neutral text under the remedy (at temperature 1; texts that did not choose "
    "it): above 0",
    sesoi=0.0,
    min_units=5,
)
CONFIDENT = Rule(
    text="probability of the answer with the remedy minus without, both at temperature 1: above .02",
    sesoi=0.02,
    min_units=10,
)
SCORES = {  # score -> (column, sign of a gain)
    "nll": ("nll", -1),
    "brier": ("brier", -1),
    "p_answer": ("p_answer", 1),
    "p_plain": ("p_plain", 1),
    "accuracy": ("correct", 1),
}
BINS = 10


def summarise(tables: Mapping[str, pl.DataFrame]) -> tuple[dict[str, pl.DataFrame], Estimate, Verdict, str]:
    """Both tables, the estimate shown with C2.8, its verdict over all parts, and the chosen remedy ("" if none)."""
    facts, neutral = tables.get("mitigation_facts"), tables.get("mitigation_neutral")
    if facts is None or neutral is None or not facts.height:
        nothing = undefined("no remedy was tried", method="")
        return {}, nothing, verdict(nothing, BETTER), ""
    each = _by_fact(facts)
    found = {"mitigation": _scores(facts, each, neutral), "calibration_curves": _curves(facts)}
    name = _choice(tables["mitigation_fits"], neutral)
    parts = [
        (_gain(each, name, "temperature", "nll", -1), BETTER),
        (_gain(each, name, "temperature", "brier", -1), SHARPER),
        (_room(neutral, name), CHEAP),
        (_gain(each, name, "none", "p_plain", 1), CONFIDENT),
    ]
    return found, parts[0][0], all_of(verdict(estimate, rule) for estimate, rule in parts), name


def _by_fact(facts: pl.DataFrame) -> pl.DataFrame:
    """One row per remedy and fact; random draws are averaged."""
    columns = [pl.col(column).cast(pl.Float64).mean() for column in {column for column, _ in SCORES.values()}]
    return (
        facts.group_by("remedy", "relation", "topic", maintain_order=True)
        .agg(columns)
        .sort("remedy", "relation", "topic")
    )


def _paired(each: pl.DataFrame, name: str, other: str) -> pl.DataFrame:
    key = ["relation", "topic"]
    mine, base = (each.filter(pl.col("remedy") == one) for one in (name, other))
    return mine.join(base, on=key, suffix="_other").sort(key)


def _gain(each: pl.DataFrame, name: str, other: str, column: str, sign: int) -> Estimate:
    both = _paired(each, name, other)
    if not both.height:
        return undefined(f"remedy {name!r} was not tried", method="mean of differences")
    values = sign * (both[column] - both[f"{column}_other"]).to_numpy()
    return clustered_mean(values, both["topic"].to_numpy(), both["relation"].to_numpy())


def _scores(facts: pl.DataFrame, each: pl.DataFrame, neutral: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for name in REMEDIES:
        own = each.filter(pl.col("remedy") == name)
        if not own.height:
            continue
        for score, (column, sign) in SCORES.items():
            level = clustered_mean(own[column].to_numpy(), own["topic"].to_numpy(), own["relation"].to_numpy())
            rows.append(_row(name, score, level, _gain(each, name, "temperature", column, sign)))
        for score, column in (("neutral_plain", "nll_plain"), ("neutral", "nll")):
            texts = _texts(neutral, name, column)
            level = clustered_mean(texts["value"].to_numpy(), texts["document"].to_numpy())
            rows.append(_row(name, score, level, _rise(neutral, name, column)))
        rows.append(_row(name, "ece", _error(facts, name), undefined("no interval", method="")))
    return pl.DataFrame(rows, schema=MITIGATION.schema)


def _row(name: str, score: str, level: Estimate, gain: Estimate) -> dict[str, Any]:
    return {
        "remedy": name,
        "score": score,
        "estimate": level.estimate,
        "low": level.low,
        "high": level.high,
        "gain": gain.estimate,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "n": level.n,
        "n_units": level.n_units,
        "method": level.method,
        "reason": level.reason or gain.reason,
    }


def _texts(neutral: pl.DataFrame, name: str, column: str) -> pl.DataFrame:
    """One value per neutral text, averaged over folds and draws."""
    own = neutral.filter(pl.col("remedy") == name)
    return own.group_by("document", maintain_order=True).agg(value=pl.col(column).mean()).sort("document")


def _rise(neutral: pl.DataFrame, name: str, column: str, *, odd: bool | None = None) -> Estimate:
    """NLL of neutral texts with the remedy minus without; odd: only texts of odd (or even) number."""
    mine, plain = _texts(neutral, name, column), _texts(neutral, "none", "nll_plain")
    both = mine.join(plain, on="document", suffix="_plain").sort("document")
    if odd is not None:
        both = both.filter(pl.col("document") % 2 == int(odd))
    if not both.height:
        return undefined(f"remedy {name!r} was not tried", method="mean of differences")
    values = (both["value"] - both["value_plain"]).to_numpy()
    return clustered_mean(values, both["document"].to_numpy())


def _room(neutral: pl.DataFrame, name: str) -> Estimate:
    found = _rise(neutral, name, "nll_plain", odd=True)
    return replace(found, estimate=LIMIT - found.estimate, low=LIMIT - found.high, high=LIMIT - found.low)


def _choice(fits: pl.DataFrame, neutral: pl.DataFrame) -> str:
    """The remedy of smallest training NLL among those that cost less than the limit on the even texts; else of all."""
    means = (
        fits.filter(pl.col("chosen") & pl.col("remedy").is_in(CANDIDATES))
        .group_by("remedy", maintain_order=True)
        .agg(pl.col("train_nll").mean())
        .sort("train_nll", "remedy")
    )
    names = means["remedy"].to_list()
    cheap = [name for name in names if _rise(neutral, name, "nll_plain", odd=False).estimate < LIMIT]
    return next(iter([*cheap, *names]), "")


def _curves(facts: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for name in REMEDIES:
        own = facts.filter(pl.col("remedy") == name).sort("confidence", "variant", "relation", "topic")
        n = own.height
        if n < 2 * BINS:
            continue
        place = np.arange(n) * BINS // n
        confidence, correct = own["confidence"].to_numpy(), own["correct"].to_numpy().astype(float)
        rows += [
            {
                "remedy": name,
                "bin": b,
                "confidence": float(confidence[place == b].mean()),
                "accuracy": float(correct[place == b].mean()),
                "n": int((place == b).sum()),
            }
            for b in range(BINS)
        ]
    return pl.DataFrame(rows, schema=CALIBRATION_CURVES.schema)


def _error(facts: pl.DataFrame, name: str) -> Estimate:
    """Debiased calibration error of the top token; over random draws, their mean. No interval."""
    own = facts.filter(pl.col("remedy") == name)
    draws = own.partition_by("variant") if name == "random" else [own]  # elsewhere variants differ between folds
    values = [calibration_error(one["confidence"].to_numpy(), one["correct"].to_numpy()) for one in draws]
    found = undefined("no interval is given for a calibration error", method="debiased, 15 bins of equal mass")
    return replace(found, estimate=float(np.mean(values)), n=own.height, n_units=own["topic"].n_unique())
