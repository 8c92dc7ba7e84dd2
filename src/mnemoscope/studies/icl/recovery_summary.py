"""Recovery of transplants: how much of what examples bring comes with the state alone (B7.6). No torch."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl_cause import MEASURES, PLACES, RECOVERY
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.maxt import sign_flip_max_t
from mnemoscope.stats.ratio import difference_of_ratios, guarded_ratio
from mnemoscope.stats.verdict import Rule, Verdict, all_of, verdict
from mnemoscope.studies.icl.cause_rows import Claimed, estimate_of, grid, row_of, sentence, units_of
from mnemoscope.studies.icl.config import Config

SAME, NEUTRAL = "same item", "neutral prefix"
LEFT_OUT = ("simple", "persona")  # tasks without transplants
UPPER = -1  # layer: mean over the upper half without the last
CARRIED = Rule(
    text="share of the gain in log probability that the state of the same item's run brings, mean over the upper half of the "
    "layers without the last: above .1, in itself and beyond a neutral prefix; testable where examples gain, over neutral text too",
    sesoi=0.1,
)
ABOVE, IN_ITSELF = "of the gain beyond the neutral prefix", "of the gain"
STATES = {"last token": "the last token's state", "item tokens": "the state of the item's tokens"}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """One copy, task and measure: changes from the run before, in nats."""

    place: Mapping[str, str]
    cells: tuple[tuple[str, str, int], ...]  # source, place, layer
    effect: Float[np.ndarray, "cell prompt"]
    gain: Float[np.ndarray, " prompt"]
    units: np.ndarray
    last: int


def recovery(tables: Mapping[str, pl.DataFrame], config: Config) -> pl.DataFrame:
    """icl_recovery."""
    rows: list[dict[str, Any]] = []
    for (copy, task), patched in (
        tables["icl_transplants"].partition_by(["copy", "task"], as_dict=True, maintain_order=True).items()
    ):
        whole = tables["icl_context_runs"].filter((pl.col("copy") == copy) & (pl.col("task") == task))
        for measure in MEASURES:
            part = _part({"copy": str(copy), "task": str(task), "measure": measure}, patched, whole)
            if not np.isnan(part.gain).all():
                rows += _rows(part, config)
    return pl.DataFrame(rows, schema=RECOVERY.schema)


def _part(place: Mapping[str, str], patched: pl.DataFrame, whole: pl.DataFrame) -> _Part:
    cells, prompts, values = grid(patched, ["source", "place", "layer"], place["measure"])
    runs, _, base = grid(whole, ["run"], place["measure"])
    at = {run: base[i] for i, run in enumerate(runs["run"])}
    named = [(str(s), str(p), int(layer)) for s, p, layer in cells.rows()]
    effect, last = values - at["before"], max(layer for _, _, layer in named)
    for source, where in dict.fromkeys((s, p) for s, p, _ in named):
        own = [i for i, (s, p, layer) in enumerate(named) if (s, p) == (source, where) and layer in inner(last + 1)]
        if own:
            named.append((source, where, UPPER))
            effect = np.vstack([effect, effect[own].mean(0)])
    gain = at[SAME] - at["before"]
    return _Part(place=place, cells=tuple(named), effect=effect, gain=gain, units=units_of(prompts), last=last)


def inner(n_layers: int) -> range:
    """The upper half of the layers without the last: blocks (n + 1) // 2 - 1 to n - 2."""
    return range(max(0, (n_layers + 1) // 2 - 1), n_layers - 1)


def _rows(part: _Part, config: Config) -> Iterator[dict[str, Any]]:
    at = dict(zip(part.cells, part.effect, strict=True))
    above = {(s, p, layer): row - (0 if s == NEUTRAL else at[NEUTRAL, p, layer]) for (s, p, layer), row in at.items()}
    corrected = _max_t(part, above, config)
    gain = clustered_mean(part.gain, part.units)
    for (source, place, layer), row in at.items():
        rng = np.random.default_rng(seed_of(config.seed, f"recovery/{part.place}/{source}/{place}/{layer}"))
        own = guarded_ratio(row, part.gain, part.units, rng=rng, floor=0.0)
        found = own
        if source != NEUTRAL:
            neutral = (at[NEUTRAL, place, layer], part.gain)
            found = difference_of_ratios((row, part.gain), neutral, part.units, rng=rng)
        yield {
            **part.place,
            "place": place,
            "source": source,
            "layer": layer,
            **row_of(_said(found)),
            "p_maxt": corrected.get((source, place, layer), math.nan),
            "recovery": own.estimate,
            "recovery_low": own.low,
            "recovery_high": own.high,
            "effect": float(np.nanmean(row)) if np.isfinite(row).any() else math.nan,
            "gain": gain.estimate,
            "ceiling": layer == part.last,
        }


def _said(found: Estimate) -> Estimate:
    """The reason in the words of this study."""
    if math.isnan(found.estimate) and "denominator" in found.reason:
        return replace(found, reason=f"examples gain nothing to recover: {found.reason}")
    return found


def _max_t(part: _Part, above: Mapping[tuple[str, str, int], np.ndarray], config: Config) -> dict[Any, float]:
    """Per source, over the places and all layers but the last."""
    found: dict[Any, float] = {}
    for source in dict.fromkeys(s for s, _, _ in part.cells):
        cells = [cell for cell in part.cells if cell[0] == source and cell[2] not in (part.last, UPPER)]
        if not cells:
            continue
        values = np.stack([above[cell] for cell in cells], axis=1)
        rng = np.random.default_rng(seed_of(config.seed, f"recovery max-T/{part.place}/{source}"))
        test = sign_flip_max_t(values, part.units, rng=rng, n_perm=config.permutations, side="two-sided")
        found |= {cell: float(p) for cell, p in zip(cells, test.p, strict=True)}
    return found


def recovery_claims(tables: Mapping[str, pl.DataFrame], gains: Mapping[str, str]) -> list[Claimed]:
    """One claim per task and place; controls are said beside it."""
    table = tables["icl_recovery"].filter((pl.col("copy") == "trained") & (pl.col("measure") == "logprob"))
    claims: list[Claimed] = []
    there = table["task"].unique(maintain_order=True).to_list()
    for task in (*there, *(one for one in gains if one not in there and one not in LEFT_OUT)):
        for number, place in enumerate(PLACES):
            name = f"C3.8{'ab'[number]} {STATES[place]} carries the gain ({task})"
            own = table.filter((pl.col("task") == task) & (pl.col("place") == place) & (pl.col("layer") == UPPER))
            rows = {row["source"]: row for row in own.iter_rows(named=True)}
            why = (
                "no layer lies between the middle and the last"
                if task in there
                else "no item's runs fit into the context and end in the same tokens"
            )
            nothing = undefined(why, method="transplant")
            found = estimate_of(rows[SAME]) if SAME in rows else nothing
            found, judged, what = _both(found, rows.get(SAME), gains.get(task, ""))
            others = [f"in itself {rows[SAME]['recovery']:.2g}"] if SAME in rows and what != IN_ITSELF else []
            others += [f"beyond the neutral prefix {rows[SAME]['estimate']:.2g}"] if what == IN_ITSELF else []
            others += [f"{s} {_number(row)}" for s, row in rows.items() if s != SAME]
            control = _control(tables, task, place)
            text = sentence(name, judged, found, what, ", ".join([*others, *control]))
            claims.append(
                Claimed(name=name, found=found, judged=judged, rule=CARRIED, evidence="icl_recovery", text=text)
            )
    return claims


def _control(tables: Mapping[str, pl.DataFrame], task: str, place: str) -> list[str]:
    """What the same transplant does in the re-initialised copy, in nats: its share of no gain is no number."""
    rows = tables["icl_recovery"].filter(
        (pl.col("copy") == "reinitialised")
        & (pl.col("task") == task)
        & (pl.col("measure") == "logprob")
        & (pl.col("place") == place)
        & (pl.col("layer") == UPPER)
        & (pl.col("source") == SAME)
    )
    return [f"re-initialised copy {rows['effect'][0]:.2g} nats of {rows['gain'][0]:.2g}"] if rows.height else []


def _both(found: Estimate, row: Mapping[str, Any] | None, obstacle: str) -> tuple[Estimate, Verdict, str]:
    """Above the neutral prefix, and in itself: where neutral text does harm, doing nothing would be a recovery.

    The smaller of the two numbers is the claim's where the first alone would do.
    """
    above = verdict(found, CARRIED, precondition=obstacle)
    if row is None or above.verdict != "supported":
        return found, above, ABOVE
    own = replace(found, estimate=row["recovery"], low=row["recovery_low"], high=row["recovery_high"], p=math.nan)
    judged = all_of([above, verdict(own, CARRIED)])
    return (own, judged, IN_ITSELF) if own.estimate < found.estimate else (found, judged, ABOVE)


def _number(row: Mapping[str, Any]) -> str:
    kind = "itself " if row["source"] == NEUTRAL else ""
    return f"{kind}{row['estimate']:.2g}"
