"""Attention ratios per head and layer, their null, and their change between conditions (B7.4). No torch.

The statistic of a prompt is the log ratio of the relevant sentence against the mean of the others, minus the same averaged over
which sentence is called relevant, minus what its position has on average over all prompts of the condition: recency is no
relevance (where positions are not balanced this shrinks the excess; where they never vary it is undefined). The null calls
another sentence of the same prompt relevant, jointly for all heads; draws of an item are averaged first.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl import RATIOS
from mnemoscope.stats.clusters import clustered_means, codes, sums
from mnemoscope.stats.estimate import Estimates
from mnemoscope.stats.maxt import redraw_max_t, sign_flip_max_t
from mnemoscope.studies.icl.alignment_summary import BEYOND
from mnemoscope.studies.icl.behaviour_summary import cells as cells_of
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.frames import ORDER, Task

FIXED = "the relevant sentence stands in the same place everywhere: recency and relevance cannot be told apart"
MEAN = -1  # head: attention averaged over heads; layer: mean over layers


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratios:
    """Of one copy and condition. Cells are (layer, head), layers slowest, then the mean over layers of the head-averaged ratio.

    versions  [called cell prompt]: row 0 the true sentence called relevant, then the others of the prompt
    ratio     [cell prompt]: the log ratio itself;  sink  [cell prompt]
    """

    cells: tuple[tuple[int, int], ...]
    versions: Float[np.ndarray, "called prompt cell"]
    ratio: Float[np.ndarray, "prompt cell"]
    sink: Float[np.ndarray, "prompt cell"]
    fixed: bool = False  # the relevant sentence stands in the same place in every prompt: no excess is defined


def ratios_of(attention: pl.DataFrame, task: Task, copy: str) -> dict[str, Ratios]:
    """Condition -> ratios, for the conditions in which every passage has the same number (>= 2) of sentences."""
    own = attention.filter((pl.col("task") == task.name) & (pl.col("copy") == copy) & (pl.col("place") >= 0))
    found: dict[str, Ratios] = {}
    for condition in task.design.conditions:
        rows = own.filter((pl.col("condition") == condition) & (pl.col("sentences").list.len() >= 2))
        if rows.height and rows["sentences"].list.len().n_unique() == 1:
            found[condition] = _ratios(rows, task)
    return found


def _ratios(rows: pl.DataFrame, task: Task) -> Ratios:
    cells = rows.select("layer", "head").unique().sort("layer", "head").rows()
    order = rows.sort("layer", "head", *ORDER)
    n = order.height // len(cells)
    size = int(order["sentences"].list.len()[0])
    attention = order["sentences"].explode().to_numpy().astype(float).reshape(len(cells), n, size)
    place = order["place"].to_numpy().reshape(len(cells), n)[0]
    ratio, versions = _versions(attention.transpose(1, 0, 2), place)
    sink = order["sink"].to_numpy().astype(float).reshape(len(cells), n).T
    averaged = [i for i, (_, head) in enumerate(cells) if head == MEAN]
    return Ratios(
        cells=(*cells, (MEAN, MEAN)),
        versions=_with_mean(versions, averaged),
        ratio=_with_mean(ratio, averaged),
        sink=_with_mean(sink, averaged),
        fixed=bool((place == place[0]).all()),
    )


def _with_mean(values: np.ndarray, averaged: list[int]) -> np.ndarray:
    """The cells, and behind them the mean over layers of the head-averaged ones."""
    return np.concatenate([values, values[..., averaged].mean(-1, keepdims=True)], axis=-1)


def _versions(
    attention: Float[np.ndarray, "prompt cell sentence"], place: Int[np.ndarray, " prompt"]
) -> tuple[Float[np.ndarray, "prompt cell"], Float[np.ndarray, "called prompt cell"]]:
    """The log ratio, and the excess with each sentence called relevant (the true one first)."""
    size = attention.shape[-1]
    others = (attention.sum(-1, keepdims=True) - attention) / (size - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        called = np.log(attention) - np.log(others)
    called = np.where(np.isfinite(called), called, math.nan)
    rows = np.arange(len(place))
    excess = called - called.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        centred = excess - _nanmean(excess)
    if len(np.unique(place)) < 2:  # what stands first and what is relevant cannot be told apart
        centred = np.full_like(centred, math.nan)
    turned = [(place + k) % size for k in range(size)]
    return called[rows, :, place], np.stack([centred[rows, :, at] for at in turned])


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over prompts of what every position has; nan where no prompt has a value."""
    there = ~np.isnan(values)
    count = there.sum(0, keepdims=True)
    return np.where(count > 0, np.where(there, values, 0.0).sum(0, keepdims=True) / np.maximum(count, 1), math.nan)


def per_unit(values: Float[np.ndarray, "prompt cell"], task: Task) -> Float[np.ndarray, "unit cell"]:
    """Mean over the prompts of each unit; nan where one is undefined."""
    code, n = codes(task.units)
    return sums(values, code, n) / np.bincount(code, minlength=n)[:, None]


def attention_ratios(attention: pl.DataFrame, tasks: tuple[Task, ...], config: Config) -> pl.DataFrame:
    """icl_ratios."""
    rows: list[dict[str, Any]] = []
    for task in tasks:
        design, own_copies = task.design, {copy: ratios_of(attention, task, copy) for copy in task.copies()}
        for copy, found in own_copies.items():
            place = {"copy": copy, "task": task.name}
            for condition, own in found.items():
                rows += _under({**place, "condition": condition, "versus": ""}, own, task, config)
            for condition, versus in task.design.contrasts:
                if condition in found and versus in found:
                    named = {**place, "condition": condition, "versus": versus}
                    rows += _changed(named, found[condition], found[versus], task, config)
        both = [own_copies.get(copy, {}) for copy in ("trained", "reinitialised")]
        if all({design.before, design.after} <= set(found) for found in both):
            rows += _beyond(task, *both)
    return pl.DataFrame(rows, schema=RATIOS.schema)


def _rng(config: Config, place: dict[str, str]) -> np.random.Generator:
    return np.random.default_rng(seed_of(config.seed, "ratio/" + "/".join(place.values())))


def _under(place: dict[str, str], own: Ratios, task: Task, config: Config) -> Iterator[dict[str, Any]]:
    versions = np.stack([per_unit(v, task) for v in own.versions])
    test = redraw_max_t(versions, rng=_rng(config, place), n_perm=config.permutations, side="two-sided")
    means = _means(own.versions[0], task, fixed=own.fixed)
    yield from _rows(place, own.cells, means, test.p, test.p_single, own.ratio.mean(0), own.sink.mean(0))


def _changed(
    place: dict[str, str], after: Ratios, before: Ratios, task: Task, config: Config
) -> Iterator[dict[str, Any]]:
    values = after.versions[0] - before.versions[0]
    test = sign_flip_max_t(
        per_unit(values, task), rng=_rng(config, place), n_perm=config.permutations, side="two-sided"
    )
    means = _means(values, task, fixed=after.fixed or before.fixed)
    means = replace(means, method=f"paired difference; mean; CV3 t; {test.method}")
    ratio, sink = after.ratio.mean(0) - before.ratio.mean(0), after.sink.mean(0) - before.sink.mean(0)
    yield from _rows(place, after.cells, means, test.p, test.p_single, ratio, sink)


def _beyond(task: Task, mine: dict[str, Ratios], other: dict[str, Ratios]) -> Iterator[dict[str, Any]]:
    """The change of the layer-averaged ratio minus the same change in the re-initialised copy, prompt by prompt."""
    before, after = task.design.before, task.design.after
    place = {"copy": "trained", "task": task.name, "condition": after, "versus": f"{before}{BEYOND}"}
    change = [one[after].versions[0, :, -1:] - one[before].versions[0, :, -1:] for one in (mine, other)]
    means = _means(
        change[0] - change[1], task, fixed=any(one[c].fixed for one in (mine, other) for c in (before, after))
    )
    none = np.full(1, math.nan)
    yield from _rows(place, mine[after].cells[-1:], means, none, none, none, none)


def _means(values: Float[np.ndarray, "prompt cell"], task: Task, *, fixed: bool) -> Estimates:
    """Mean of every cell over units; undefined for a reason of its own where the relevant sentence never moves."""
    means = clustered_means(values, task.units)
    return replace(means, reason=np.full(len(means), FIXED, dtype=object)) if fixed else means


def _rows(
    place: dict[str, str],
    cells: tuple[tuple[int, int], ...],
    means: Estimates,
    p_maxt: np.ndarray,
    p: np.ndarray,
    ratio: np.ndarray,
    sink: np.ndarray,
) -> Iterator[dict[str, Any]]:
    for i, (layer, head) in enumerate(cells):
        yield {
            **place,
            "layer": layer,
            "head": head,
            **cells_of(means.at(i)),
            "p": float(p[i]),
            "p_maxt": float(p_maxt[i]),
            "ratio": float(ratio[i]),
            "sink": float(sink[i]),
        }
