"""When things appear: onsets, their differences, and how special a coincidence is (binding decision B3). No torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.emergence import (
    HEAD_ONSETS,
    HEAD_SCORES,
    LEVEL_QUANTITIES,
    ONSET_DIFFERENCES,
    ONSETS,
    SPECIFICITY,
)
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.onset import Onset, onset, onset_difference, share_in_window
from mnemoscope.studies.emergence.curves import Block, Curve

FEWEST = 3  # checkpoints, and units
WINDOW = 1  # checkpoints on either side of a level's onset


def no_onset(curve: Curve, common: Sequence[int]) -> str:
    """Why the onset of a curve cannot be asked on the checkpoints that every measure has; "" if it can."""
    kept = np.isin(curve.steps, common)
    n_units = curve.values.shape[1]
    if kept.sum() < FEWEST:
        return f"{int(kept.sum())} checkpoints with every measure ({FEWEST} needed)"
    if kept.sum() < len(common):
        return f"measured at {int(kept.sum())} of {len(common)} checkpoints"
    if n_units < FEWEST:
        return f"too few {_units(curve)} ({n_units}, {FEWEST} needed; raise the limit)"
    if np.isnan(curve.chance[kept]).all():
        return "no chance level"
    return "undefined at the last checkpoint" if np.isnan(curve.values[kept][-1]).all() else ""


def _units(curve: Curve) -> str:
    """What the units of a curve are called."""
    if curve.quantity in LEVEL_QUANTITIES:
        return "texts" if curve.falls else "prompt sets"
    name = "sequences" if curve.quantity in HEAD_SCORES else "documents"
    return f"{name} that did not choose the heads" if curve.scope.endswith("followed heads") else name


def curve_onset(curve: Curve, seed: int, common: Sequence[int]) -> Onset | None:
    """The onset of a curve on the checkpoints that every measure has; None where it cannot be asked (`no_onset`).

    Curves of the same units resample them alike, so that their differences are differences of one resample.
    """
    if no_onset(curve, common):
        return None
    kept = np.isin(curve.steps, common)  # where the curve is undefined it is not above anything
    chance = float(np.nanmean(curve.chance[kept]))
    sign = -1.0 if curve.falls else 1.0
    rng = np.random.default_rng(seed_of(seed, f"onset {len(curve.units)} {curve.units[0].partition(':')[0]}"))
    return onset(sign * curve.values[kept], curve.steps[kept], chance=sign * chance, rng=rng)


def onset_row(series: str, curve: Curve, found: Onset) -> dict[str, Any]:
    """A row of the table `onsets`."""
    sign = -1.0 if curve.falls else 1.0
    return {
        "series": series,
        "quantity": curve.quantity,
        "scope": curve.scope,
        "estimate": found.step,
        "low": found.low,
        "high": found.high,
        "place": found.index,
        "censored": found.censored,
        "threshold": sign * found.threshold,
        "gain": sign * found.gain,
        "n": found.n,
        "n_units": found.n_units,
        "method": "lower 95% limit above chance + 25% of the final gain, twice running; item bootstrap",
        "reason": found.reason,
    }


def onsets(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The table `onsets`."""
    return pl.DataFrame(list(rows), schema=ONSETS.schema)


def difference(first: tuple[Curve, Onset], second: tuple[Curve, Onset]) -> Estimate:
    """First minus second onset in checkpoints."""
    return onset_difference(first[1], second[1], same_items=first[0].units == second[0].units)


def difference_rows(series: str, found: Mapping[str, tuple[Curve, Onset]]) -> pl.DataFrame:
    """All pairs of the named onsets."""
    names = list(found)
    rows: list[dict[str, Any]] = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            d = difference(found[first], found[second])
            rows.append({"series": series, "first": first, "second": second, **_basis(d)})
    return pl.DataFrame(rows, schema=ONSET_DIFFERENCES.schema)


def head_onsets(
    series: str, score: str, found: Block, chance: Float[np.ndarray, " checkpoint"], seed: int, common: Sequence[int]
) -> pl.DataFrame:
    """The onset of every head in one score; heads whose score is undefined have none and are left out."""
    kept = np.isin(found.steps, common)
    if kept.sum() < FEWEST or len(found.units) < FEWEST:
        return pl.DataFrame(schema=HEAD_ONSETS.schema)
    level = float(np.nanmean(chance[kept]))
    rows: list[dict[str, Any]] = []
    for i, (layer, head) in enumerate(found.heads):
        values = found.values[kept][:, :, i]
        if np.isnan(values).all(1).any():
            continue
        rng = np.random.default_rng(seed_of(seed, f"head onset {score} {layer} {head}"))
        one = onset(values, found.steps[kept], chance=level, rng=rng, n_boot=1)
        rows.append(
            {
                "series": series,
                "score": score,
                "layer": layer,
                "head": head,
                "place": one.index,
                "step": one.step,
                "censored": one.censored,
            }
        )
    return pl.DataFrame(rows, schema=HEAD_ONSETS.schema)


def specificity(
    series: str, named: Mapping[str, tuple[Curve, Onset]], heads: pl.DataFrame, steps: Sequence[int]
) -> pl.DataFrame:
    """Per level and score, the share of all head curves with an onset within one checkpoint of the level's."""
    rows: list[dict[str, Any]] = []
    for level, (_, found) in named.items():
        if found.censored:
            continue
        window = (max(0, found.index - WINDOW), min(len(steps) - 1, found.index + WINDOW))
        for score, places in _by_score(heads):
            share = share_in_window(places, window)
            place = {"series": series, "level": level, "score": score}
            ends = {"first_step": float(steps[window[0]]), "last_step": float(steps[window[1]])}
            rows.append({**place, **ends, **_basis(share)})
    return pl.DataFrame(rows, schema=SPECIFICITY.schema)


def _by_score(heads: pl.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    for (score,), part in heads.group_by(["score"], maintain_order=True):
        yield str(score), part["place"].to_numpy()
    if heads.height:
        yield "all scores", heads["place"].to_numpy()


def _basis(d: Estimate) -> dict[str, Any]:
    names = ("estimate", "low", "high", "n", "n_units", "method", "reason")
    return {name: getattr(d, name) for name in names}
