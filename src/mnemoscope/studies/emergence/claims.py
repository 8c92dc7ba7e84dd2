"""The claims of the emergence study, each with a rule that was written down before the data were seen (methods P1.7, B2.3, B3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.onset import Onset, coincidence
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, all_of, verdict
from mnemoscope.studies.claim_row import claim_row
from mnemoscope.studies.emergence.curves import Block, Curve
from mnemoscope.studies.emergence.maps import early_late
from mnemoscope.studies.emergence.timing import difference

WITHIN = 2  # checkpoints: a coincidence
SEEDS = 3  # training runs that a statement about training needs
LEVELS = ("loss_reduction", "format", "pattern")
FORMED, CONDITIONAL, PASSING = "ri per opportunity", "ri on fixed events", "pass rate"

ORDER = Rule(
    text="each level appears later than the one before it: the difference of onsets (checkpoints, later minus earlier level; all "
    "tasks at the most shots) lies above 0 for format after loss reduction and for pattern after format; with 3 training runs or "
    "more over runs, else in every run that is there, and about that run only",
    sesoi=0.0,
)
COINCIDE = Rule(
    text="onset of the followed heads' relation index per opportunity (RI-ctx-src above its matched null, argmax gate; heads "
    "chosen at the last checkpoint on other documents) minus onset of pattern discovery lies within 2 checkpoints, over at least 3 "
    "training runs",
    sesoi=float(WITHIN),
    side="within",
)
WRITES = Rule(
    text="what the followed heads write (RI-ctx-src above its matched null, on the fixed events at which they attend at the last "
    "checkpoint) rises by more than .05 from the checkpoint before the onset of pattern discovery to the one behind it",
    sesoi=SESOI["ri_excess"],
)
LASTS = Rule(
    text="rank correlation of the map of heads (RI-ctx-src per opportunity above its null) at the onset of pattern discovery with "
    "the map at the last checkpoint, measured on different documents, lies above .5",
    sesoi=0.5,
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: its named onsets, and what claims need beside them."""

    series: str
    steps: Sequence[int]  # checkpoints that every measure has
    named: Mapping[str, tuple[Curve, Onset]]
    lacking: Mapping[str, str]  # names without an onset: what there is too little of
    ri: Block | None  # relation index per opportunity above its null, all heads


def claims(runs: Sequence[Run]) -> pl.DataFrame:
    """C1.5 and C1.6 in their parts, and whether early heads are the late ones."""
    rows = [_order(runs), _coincidence(runs), _writing(runs), _lasting(runs)]
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def _lacking(run: Run, names: Sequence[str]) -> str:
    missing = lacks(run, names)
    return f"{run.series}: no onset can be asked of {missing}" if missing else ""


def lacks(run: Run, names: Sequence[str]) -> str:
    """Which of the names have no onset and why, names with the same reason together; "" if all have one."""
    missing: dict[str, list[str]] = {}
    for name in names:
        if name not in run.named:
            why, word = run.lacking.get(name, "not measured"), name.replace("_", " ")
            missing.setdefault(why, []).append(
                word.replace("ri ", "relation index ") if word.startswith("ri ") else word
            )
    return "; ".join(f"{', '.join(which)}: {why}" for why, which in missing.items())


def _order(runs: Sequence[Run]) -> dict[str, Any]:
    name, evidence = "C1.5 levels appear in the order loss, format, pattern", "onset_differences"
    reason = next((why for run in runs if (why := _lacking(run, LEVELS))), "")
    if reason:
        return _untestable(name, reason, ORDER, evidence)
    pairs = [(b, a) for a, b in pairwise(LEVELS)]
    each = {pair: [difference(run.named[pair[0]], run.named[pair[1]]) for run in runs] for pair in pairs}
    judged = [part for found in each.values() for part in _over_runs(found)]
    whole = all_of(verdict(part, ORDER) for part in judged)
    weakest = min(judged, key=lambda part: math.inf if math.isnan(part.estimate) else part.low)
    return claim_row(name, weakest, ORDER, whole, evidence)


def _over_runs(found: Sequence[Estimate]) -> list[Estimate]:
    """One estimate over training runs where there are enough of them; else one per run."""
    seen = np.array([one.estimate for one in found if not math.isnan(one.estimate)])
    if len(seen) < SEEDS:
        return list(found)
    over = clustered_mean(seen, np.arange(len(seen)))
    if math.isnan(over.low):  # all runs agree: the grid alone is uncertain
        half = 1.0
        return [Estimate(estimate=over.estimate, low=over.estimate - half, high=over.estimate + half, p=math.nan, n=over.n,
                         n_units=over.n_units, method="all training runs agree, +-1 for the grid")]  # fmt: skip
    return [over]


def _coincidence(runs: Sequence[Run]) -> dict[str, Any]:
    name, evidence = "C1.6 semantic heads form when pattern discovery appears", "onset_differences"
    reason = next((why for run in runs if (why := _lacking(run, (FORMED, "pattern")))), "")
    if reason:
        return _untestable(name, reason, COINCIDE, evidence)
    first, second = ([run.named[which][1] for run in runs] for which in (FORMED, "pattern"))
    over, judged = coincidence(first, second, within=WITHIN, min_seeds=SEEDS)
    if math.isnan(over.estimate):
        one = difference(runs[0].named[FORMED], runs[0].named["pattern"])
        shown = one.reason or f"in {runs[0].series} {one.estimate:g} [{one.low:g}, {one.high:g}] checkpoints"
        alone = Verdict(verdict=judged.verdict, reason=f"{judged.reason}; {shown}", mde=math.nan)
        return claim_row(name, one, COINCIDE, alone, evidence)
    return claim_row(name, over, COINCIDE, judged, evidence)


def _writing(runs: Sequence[Run]) -> dict[str, Any]:
    name, evidence = "C1.6 what semantic heads write rises with pattern discovery", "curves"
    found = [_rise(run) for run in runs]
    judged = all_of(verdict(one, WRITES) for one in found)
    return claim_row(name, _weakest(found), WRITES, judged, evidence)


def _rise(run: Run) -> Estimate:
    """After minus before, paired within document, on the same events."""
    method = "difference of checkpoints, paired in documents"
    reason = _lacking(run, ("pattern", CONDITIONAL))
    onset = None if reason else run.named["pattern"][1]
    if onset is None or onset.censored:
        return undefined(reason or f"{run.series}: pattern discovery: {onset.censored if onset else ''}", method=method)
    curve = run.named[CONDITIONAL][0]
    steps = curve.steps.tolist()
    before, after = (
        steps.index(run.steps[onset.index - 1]),
        steps.index(run.steps[min(onset.index + 1, len(run.steps) - 1)]),
    )
    return clustered_mean(curve.values[after] - curve.values[before], np.array(curve.units))


def _lasting(runs: Sequence[Run]) -> dict[str, Any]:
    name, evidence = "C1.6 the heads of the onset are the heads of the end", "persistence"
    found: list[Estimate] = []
    for run in runs:
        reason = _lacking(run, ("pattern",)) or ("" if run.ri is not None else f"{run.series}: no relation index")
        onset = None if reason else run.named["pattern"][1]
        if onset is None or onset.censored or run.ri is None:
            why = reason or f"{run.series}: pattern discovery: {onset.censored if onset else ''}"
            found.append(undefined(why, method="map correlation"))
        else:
            found.append(early_late(run.ri, run.ri.steps.tolist().index(run.steps[onset.index])))
    judged = all_of(verdict(one, LASTS) for one in found)
    return claim_row(name, _weakest(found), LASTS, judged, evidence)


def _weakest(found: Sequence[Estimate]) -> Estimate:
    return min(found, key=lambda one: math.inf if math.isnan(one.low) else one.low)


def _untestable(name: str, reason: str, rule: Rule, evidence: str) -> dict[str, Any]:
    nothing = undefined(reason, method="onsets")
    return claim_row(name, nothing, rule, verdict(nothing, rule), evidence)
