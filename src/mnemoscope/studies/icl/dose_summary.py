"""Dose curves of sharpened and flattened attention, relevant sentence against a distractor (B7.6). No torch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl_cause import DOSE_SLOPES, DOSES, MEASURES
from mnemoscope.stats.clusters import clustered_mean, clustered_means
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.maxt import sign_flip_max_t
from mnemoscope.stats.verdict import SESOI, Rule, verdict
from mnemoscope.studies.icl.cause_rows import Claimed, grid, row_of, sentence, units_of
from mnemoscope.studies.icl.config import Config

DIFFERENCE = "difference"
SHARPER = Rule(
    text="change of the margin (nats) per doubling of one layer's attention to the relevant sentence, minus the same for a "
    "distractor at balanced positions; layer chosen on half of the units, judged on the rest: above .1",
    sesoi=SESOI["effect_logit"],
)
WHERE = {"after": "behind examples", "before": "without examples"}


def doses(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """icl_doses and icl_dose_slopes."""
    curves: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    for (copy, task, run), frame in (
        tables["icl_sharpening"].partition_by(["copy", "task", "run"], as_dict=True, maintain_order=True).items()
    ):
        for measure in MEASURES:
            place = {"copy": copy, "task": task, "measure": measure, "run": run}
            if not frame[measure].is_nan().all():
                curves += _curves(place, frame)
                slopes += _slopes(place, frame, config)
    return {
        "icl_doses": pl.DataFrame(curves, schema=DOSES.schema),
        "icl_dose_slopes": pl.DataFrame(slopes, schema=DOSE_SLOPES.schema),
    }


def _curves(place: Mapping[str, Any], frame: pl.DataFrame) -> list[dict[str, Any]]:
    cells, prompts, values = grid(frame, ["heads", "layer", "sentence", "g"], place["measure"])
    _, _, attention = grid(frame, ["heads", "layer", "sentence", "g"], "attention")
    found = clustered_means(values.T, units_of(prompts))
    return [
        {**place, **cell, **row_of(found.at(i)), "attention": float(attention[i].mean())}
        for i, cell in enumerate(cells.iter_rows(named=True))
    ]


Slopes = dict[tuple[str, int, str], Float[np.ndarray, " prompt"]]  # heads, layer, sentence


def slopes_of(frame: pl.DataFrame, measure: str) -> tuple[Slopes, np.ndarray]:
    """Least-squares slope through 0 of the change on log2 g, per prompt; and the prompts' units.

    b = sum_g x_g y_g / sum_g x_g^2, x = log2 g. "difference": relevant minus distractor.
    """
    cells, prompts, values = grid(frame, ["heads", "layer", "sentence", "g"], measure)
    found: Slopes = {}
    for key in cells.select("heads", "layer", "sentence").unique(maintain_order=True).rows():
        own = [i for i, row in enumerate(cells.rows()) if row[:3] == key]
        x = np.log2(cells["g"].to_numpy()[own])
        found[key] = x @ values[own] / (x @ x)
    for heads, layer in dict.fromkeys(key[:2] for key in found):
        if (heads, layer, "distractor") in found:
            found[heads, layer, DIFFERENCE] = found[heads, layer, "relevant"] - found[heads, layer, "distractor"]
    return found, units_of(prompts)


def _slopes(place: Mapping[str, Any], frame: pl.DataFrame, config: Config) -> list[dict[str, Any]]:
    found, units = slopes_of(frame, place["measure"])
    rows: list[dict[str, Any]] = []
    for heads, sentence_ in dict.fromkeys((h, s) for h, _, s in found):
        layers = [layer for h, layer, s in found if (h, s) == (heads, sentence_)]
        values = np.stack([found[heads, layer, sentence_] for layer in layers], axis=1)
        means = clustered_means(values, units)
        rng = np.random.default_rng(seed_of(config.seed, f"doses/{place}/{heads}/{sentence_}"))
        test = sign_flip_max_t(values, units, rng=rng, n_perm=config.permutations, side="two-sided")
        rows += [
            {
                **place,
                "heads": heads,
                "sentence": sentence_,
                "layer": layer,
                **row_of(means.at(i)),
                "p_maxt": float(test.p[i]),
            }
            for i, layer in enumerate(layers)
        ]
    return rows


def dose_claims(tables: Mapping[str, pl.DataFrame], gains: Mapping[str, str], config: Config) -> list[Claimed]:
    """One claim per task and run: is more attention to what is relevant more of the right answer?"""
    table = tables["icl_sharpening"].filter((pl.col("copy") == "trained") & (pl.col("heads") == "all"))
    claims: list[Claimed] = []
    for task in table["task"].unique(maintain_order=True):
        for number, run in enumerate(WHERE):
            frame = table.filter((pl.col("task") == task) & (pl.col("run") == run))
            name = f"C3.9{'bc'[number]} attention to the relevant sentence makes the answer, {WHERE[run]} ({task})"
            layer, found = _judged(frame)
            judged = verdict(found, SHARPER, precondition=gains.get(task, ""))
            what = f"nats per doubling beyond a distractor (layer {layer})"
            text = sentence(name, judged, found, what, _control(tables, task, run, layer))
            claims.append(
                Claimed(name=name, found=found, judged=judged, rule=SHARPER, evidence="icl_dose_slopes", text=text)
            )
    return claims


def _control(tables: Mapping[str, pl.DataFrame], task: str, run: str, layer: int) -> str:
    """The same layer of the re-initialised copy, all its items."""
    rows = tables["icl_dose_slopes"].filter(
        (pl.col("copy") == "reinitialised")
        & (pl.col("task") == task)
        & (pl.col("run") == run)
        & (pl.col("measure") == "margin")
        & (pl.col("heads") == "all")
        & (pl.col("sentence") == DIFFERENCE)
        & (pl.col("layer") == layer)
    )
    return f"re-initialised copy {rows['estimate'][0]:.2g}" if rows.height else ""


def _judged(frame: pl.DataFrame) -> tuple[int, Estimate]:
    """The layer with the largest difference on every other unit, and its difference on the rest."""
    if frame["margin"].is_nan().all():
        return -1, undefined("no prompt has a distractor to be ahead of", method="dose slope")
    slopes, units = slopes_of(frame, "margin")
    order = {unit: i for i, unit in enumerate(sorted(set(units)))}
    judging = np.array([order[unit] % 2 == 1 for unit in units])
    own = {layer: values for (_, layer, s), values in slopes.items() if s == DIFFERENCE}
    means = {layer: _mean(values[~judging]) for layer, values in own.items()}
    known = [layer for layer, mean in means.items() if not math.isnan(mean)]
    if not known or not judging.any():
        return -1, undefined(
            "too few units to choose a layer on one half and judge it on the other", method="dose slope"
        )
    layer = max(known, key=lambda at: (means[at], -at))
    return layer, clustered_mean(own[layer][judging], units[judging])


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
