"""Probes of every layer, before and after examples, on the same folds (B7.3). No torch.

Read are the last token's vectors (one token whatever the prompt's length, so these carry the claims) and the max-pooled
vectors of the whole prompt (as published). Rows of layer -1 average the readings of the upper half of the layers, prompt by
prompt, before anything is inferred.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.errors import InputError
from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl import PROBES, READINGS
from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.probe import Reading, classify, estimate_value, grouped_folds
from mnemoscope.stats.probe_controls import control_labels, recurring, redrawn_among_candidates, shuffled_among_items
from mnemoscope.stats.probe_scores import probe_gain, probe_score, refitted
from mnemoscope.studies.icl.alignment_summary import BEYOND, upper
from mnemoscope.studies.icl.behaviour_summary import cells
from mnemoscope.studies.icl.config import READ, Config
from mnemoscope.studies.icl.design import NEUTRAL, PRESENT, Target
from mnemoscope.studies.icl.frames import Pooled

Read = dict[str, list[Reading]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A target on one task's prompts: labels, what is allowed, units and folds; the same under every condition."""

    target: Target
    labels: np.ndarray
    candidates: np.ndarray | None
    units: np.ndarray
    folds: np.ndarray
    penalties: tuple[float, ...]

    def read(self, patterns: np.ndarray) -> Reading:
        """Fit and read."""
        more = {"penalties": self.penalties}
        if self.target.numeric:
            return estimate_value(patterns, self.labels, self.units, self.folds, **more)
        return classify(patterns, self.labels, self.units, self.folds, candidates=self.candidates, **more)


def relabelled(asked: Question, labels: np.ndarray, rng: np.random.Generator, *, repeats: int = 1) -> Question:
    """The same question of other labels, on folds balanced over them.

    On folds that balance the true labels, others are lopsided: what is rare in training is frequent in the test, and their
    scores fall below chance.
    """
    level = None if asked.target.numeric else labels
    n_folds = int(asked.folds.max()) + 1
    folds = grouped_folds(asked.units, n_folds=n_folds, rng=rng, labels=level, repeats=repeats)
    allowed = asked.candidates
    if allowed is not None:  # one column for each label that is left
        allowed = allowed[:, np.isin(np.unique(asked.labels), labels)]
    return replace(asked, labels=labels, candidates=allowed, folds=folds)


def question(one: Pooled, target: Target, config: Config) -> Question:
    """Raises InputError for fewer units than folds and for labels of one class."""
    labels = one.task.label(target.label)
    labels = labels.astype(float) if target.numeric else labels.astype(str)
    if len(np.unique(labels)) < 2:
        raise InputError(
            "a probe needs labels of at least two classes", found=f"{target.label} of task {one.task.name}"
        )
    options = np.unique(labels)
    allowed = None
    if target.present:
        there = [set(text.split(PRESENT)) for text in one.task.label(target.present)]
        allowed = np.array([[str(option) in own for option in options] for own in there])
    rng = np.random.default_rng(seed_of(config.seed, f"folds {one.task.name} {target.name}"))
    folds = grouped_folds(
        one.task.units,
        n_folds=config.folds,
        rng=rng,
        labels=None if target.numeric else labels,
        repeats=3 if config.thorough else 1,
    )
    return Question(
        target=target,
        labels=labels,
        candidates=allowed,
        units=one.task.units,
        folds=folds,
        penalties=config.penalties(target.numeric),
    )


def probes(every: tuple[Pooled, ...], config: Config) -> tuple[pl.DataFrame, pl.DataFrame]:
    """icl_probes and icl_readings of one task's vectors."""
    rows: list[dict[str, Any]] = []
    readings: list[pl.DataFrame] = []
    copies: dict[tuple[str, str], tuple[Pooled, Question, Read]] = {}
    for one in every:
        if (one.tokens, one.pooling) not in READ or (one.copy != "trained" and (one.tokens, one.pooling) != READ[0]):
            continue
        for target in one.task.design.targets:
            asked = question(one, target, config)
            found: Read = {c: [asked.read(x) for x in one.vectors[c]] for c in _conditions(one)}
            if (one.tokens, one.pooling) == READ[0]:
                copies[one.copy, target.name] = (one, asked, found)
            rows += _scored(one, asked, found, "task", config)
            rows += _gains(one, asked, found)
            if one.copy == "trained" and (one.tokens, one.pooling) == READ[0]:
                readings += [_readings(one, target, c, own) for c, own in found.items()]
                rows += _controlled(one, asked, config)
                rows += _shuffled(one, asked, config)
    rows += _beyond(copies)
    return pl.DataFrame(rows, schema=PROBES.schema), pl.concat([READINGS.empty(), *readings])


def _conditions(one: Pooled) -> tuple[str, ...]:
    design = one.task.design
    third = (NEUTRAL,) if NEUTRAL in one.vectors and (one.tokens, one.pooling) == READ[0] else ()
    return (design.before, design.after, *third)


def averaged(readings: Sequence[Reading]) -> Reading:
    """Readings of several layers, averaged prompt by prompt; they share folds, base and kind."""
    score, margin = (np.mean([getattr(one, name) for one in readings], axis=0) for name in ("score", "margin"))
    return replace(readings[0], score=score, margin=margin)


def _levels(readings: Sequence[Reading]) -> Iterator[tuple[int, Reading]]:
    yield from enumerate(readings)
    yield -1, averaged(readings[upper(len(readings))])


def _place(one: Pooled, asked: Question, labels: str, condition: str, versus: str) -> dict[str, str]:
    return {**one.place, "target": asked.target.name, "labels": labels, "condition": condition, "versus": versus}


def _scored(one: Pooled, asked: Question, found: Read, labels: str, config: Config) -> Iterator[dict[str, Any]]:
    for condition, readings in found.items():
        place = _place(one, asked, labels, condition, "")
        rng = np.random.default_rng(seed_of(config.seed, "probe/" + "/".join(place.values())))
        bottom = _score(readings[0])
        for layer, reading in _levels(readings):
            score = probe_score(reading, asked.units, rng=rng)
            base = float(reading.base.mean())
            yield {**place, "layer": layer, **cells(score), "base": base, "gain0": _score(reading) - bottom}


def _score(reading: Reading) -> float:
    """Accuracy, or R2 about the training mean."""
    if reading.kind == "classes":
        return float(reading.score.mean())
    return 1 - float(reading.score.mean() / reading.base.mean())


def _gains(one: Pooled, asked: Question, found: Read) -> Iterator[dict[str, Any]]:
    """Paired changes: after against before, and against the neutral prefix; R2 gains are in units of the base error."""
    after = one.task.design.after
    for versus in (c for c in found if c != after):
        for (layer, high), (_, low) in zip(_levels(found[after]), _levels(found[versus]), strict=True):
            gain = probe_gain(high, low, asked.units)
            bottom = (_score(found[after][0]) - _score(found[versus][0])) if layer else 0.0
            more = {"base": float(low.base.mean()), "gain0": gain.estimate - bottom}
            yield {**_place(one, asked, "task", after, versus), "layer": layer, **cells(gain), **more}


def _beyond(copies: Mapping[tuple[str, str], tuple[Pooled, Question, Read]]) -> Iterator[dict[str, Any]]:
    """The change from before to after minus the same change in the re-initialised copy, on the same prompts and folds.

    More points tell more about a line to any network; what was learned is what goes beyond that.
    """
    for (copy, name), (one, asked, found) in copies.items():
        if copy != "trained" or ("reinitialised", name) not in copies:
            continue
        before, after = one.task.design.before, one.task.design.after
        other = copies["reinitialised", name][2]
        levels = zip(*(_levels(side[c]) for side in (found, other) for c in (after, before)), strict=True)
        for (layer, high), (_, low), (_, copy_high), (_, copy_low) in levels:
            change = (high.score - low.score) - (copy_high.score - copy_low.score)
            base = float(low.base.mean())
            gain = refitted(clustered_mean(change if low.kind == "classes" else -change / base, asked.units), high)
            place = _place(one, asked, "task", after, f"{before}{BEYOND}")
            yield {**place, "layer": layer, **cells(gain), "base": base, "gain0": math.nan}


def _controlled(one: Pooled, asked: Question, config: Config) -> Iterator[dict[str, Any]]:
    """The control task, after examples: every recurring word has a label of its own, at random."""
    after, types = one.task.design.after, asked.target.types
    if not types:
        return
    rng = np.random.default_rng(seed_of(config.seed, f"control {one.task.name} {asked.target.name}"))
    try:
        word = one.task.label(types).astype(str)
        labels = control_labels(word, asked.labels, rng=rng)
        control = relabelled(replace(asked, candidates=None), labels, rng, repeats=len(asked.folds))
        recurring(word, control.folds)
        readings = [control.read(x) for x in one.vectors[after]]
    except InputError as error:  # a word that does not recur, or one class only: this control cannot be had
        none = cells(undefined(str(error).splitlines()[0], method="control task"))
        yield {**_place(one, asked, "control", after, ""), "layer": -1, **none, "base": math.nan, "gain0": math.nan}
        return
    yield from _scored(one, control, {after: readings}, "control", config)


def _shuffled(one: Pooled, asked: Question, config: Config) -> Iterator[dict[str, Any]]:
    """The permutation null, after examples: labels shuffled among items, probes refitted; p is that of the true labels.

    True and shuffled labels alike are read once, on folds balanced over them.
    """
    if not config.shuffles:
        return
    after = one.task.design.after
    rng = np.random.default_rng(seed_of(config.seed, f"shuffled {one.task.name} {asked.target.name}"))
    drawn = [relabelled(asked, _redrawn(asked, rng), rng) for _ in range(config.shuffles)]
    for layer, x in enumerate(one.vectors[after]):
        true = replace(asked, folds=asked.folds[:1]).read(x)
        scores = np.array([_score(other.read(x)) for other in drawn])
        p = (1 + int((scores >= _score(true)).sum())) / (1 + len(scores))
        method = f"labels shuffled among items, {len(scores)} refits; range 2.5 to 97.5%; p of the true labels"
        base = float(true.base.mean()) if true.kind == "classes" else 0.0
        low, mid, high = (
            float(v) - base for v in (np.quantile(scores, 0.025), scores.mean(), np.quantile(scores, 0.975))
        )
        found = Estimate(estimate=mid, low=low, high=high, p=p, n=len(asked.labels), n_units=len(scores), method=method)
        yield {
            **_place(one, asked, "shuffled", after, ""),
            "layer": layer,
            **cells(found),
            "base": base,
            "gain0": math.nan,
        }


def _redrawn(asked: Question, rng: np.random.Generator) -> np.ndarray:
    if asked.candidates is None:
        return shuffled_among_items(asked.labels, asked.units, rng=rng)
    return redrawn_among_candidates(asked.candidates, np.unique(asked.labels), asked.units, rng=rng)


def _readings(one: Pooled, target: Target, condition: str, found: Sequence[Reading]) -> pl.DataFrame:
    frames = [
        one.task.keys.with_columns(
            **{
                name: pl.lit(text)
                for name, text in {**one.place, "condition": condition, "target": target.name}.items()
            },
            layer=pl.lit(layer, dtype=pl.Int64),
            score=pl.Series(reading.score),
            margin=pl.Series(reading.margin),
        )
        for layer, reading in enumerate(found)
    ]
    return pl.concat(frames).select(list(READINGS.schema)).cast(pl.Schema(READINGS.schema))
