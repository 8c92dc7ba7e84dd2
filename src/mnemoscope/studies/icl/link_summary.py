"""Links per item: does what changes inside a prompt go with what changes in its answer (B7.5)? No torch.

Inside: a prompt's own alignment with a hypothesis, its probe's margin, its attention ratio (excess over the sentence null). Layers
are not chosen: alignment and probes are averaged over the upper half of the layers, the ratio over all. Behaviour: log probability
of the right answer first; its margin, right or wrong, and minus the error beside it.

Within items alone, any two things that both rise with examples are linked; so the mean of every condition is taken out as
well, and what remains says that the items whose inside changed more are those whose answer changed more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Shaped

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl_cause import ADJUSTED, LINK_POINTS, LINKS, STRATA
from mnemoscope.stats.bootstrap import bootstrap_ratio
from mnemoscope.stats.clusters import codes
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.links import within_slope
from mnemoscope.studies.icl.alignment_summary import upper
from mnemoscope.studies.icl.cause_rows import KEY, row_of
from mnemoscope.studies.icl.config import READ, Config
from mnemoscope.studies.icl.frames import Task
from mnemoscope.studies.icl.ratio_summary import MEAN, ratios_of

OVER = -1  # layer: the mean that claims rest on
RATIO = "attention ratio"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Inside:
    """One thing that changes inside: condition -> [layer prompt]; levels: the layers, OVER last."""

    kind: str
    about: str
    levels: tuple[int, ...]
    values: Mapping[str, Float[np.ndarray, "level prompt"]]


def links(tables: Mapping[str, pl.DataFrame], tasks: Sequence[Task], config: Config) -> dict[str, pl.DataFrame]:
    """icl_links and icl_link_points, of the model itself."""
    rows: list[dict[str, Any]] = []
    points: list[pl.DataFrame] = [LINK_POINTS.empty()]
    for task in tasks:
        behaviour = _behaviour(task)
        for inside in (*_alignments(tables, task), *_probes(tables, task), *_ratios(tables, task)):
            for name, outside in behaviour.items():
                rows += _linked(task, inside, name, outside, config)
                points.append(_points(task, inside, name, outside))
        rows += _predicted(tables, task, config)
    return {"icl_links": pl.DataFrame(rows, schema=LINKS.schema), "icl_link_points": pl.concat(points)}


def _behaviour(task: Task) -> dict[str, dict[str, Float[np.ndarray, " prompt"]]]:
    """Behaviour by name and condition; what no prompt has is left out."""
    both = (task.design.before, task.design.after)
    found = {name: {c: task.measured("trained", c, name) for c in both} for name in ("logprob", "margin", "right")}
    found["-|error|"] = {c: -task.measured("trained", c, "error") for c in both}
    return {name: own for name, own in found.items() if all(np.isfinite(v).any() for v in own.values())}


def _stacked(task: Task, rows: pl.DataFrame, column: str) -> dict[str, Float[np.ndarray, "level prompt"]]:
    """A column of a table per prompt and layer as condition -> [layer prompt] in the task's order."""
    found: dict[str, Float[np.ndarray, "level prompt"]] = {}
    for condition in (task.design.before, task.design.after):
        own = rows.filter(pl.col("condition") == condition)
        wide = task.keys.join(
            own.pivot(on="layer", index=KEY, values=column, sort_columns=False),
            on=KEY,
            how="left",
            maintain_order="left",
        )
        layers = sorted(own["layer"].unique().to_list())
        if layers:
            found[condition] = np.stack([wide[str(at)].fill_null(float("nan")).to_numpy() for at in layers])
    return found


def _over(values: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """The layers and the mean over their upper half behind them."""
    n = len(next(iter(values.values())))
    return (*range(n), OVER), {c: np.vstack([v, v[upper(n)].mean(0)]) for c, v in values.items()}


def _alignments(tables: Mapping[str, pl.DataFrame], task: Task) -> Iterator[_Inside]:
    own = tables["icl_items"].filter((pl.col("task") == task.name) & (pl.col("copy") == "trained"))
    for hypothesis in own["hypothesis"].unique(maintain_order=True):
        values = _stacked(task, own.filter(pl.col("hypothesis") == hypothesis), "alignment")
        if len(values) == 2:
            levels, values = _over(values)
            yield _Inside(kind="alignment", about=hypothesis, levels=levels, values=values)


def _probes(tables: Mapping[str, pl.DataFrame], task: Task) -> Iterator[_Inside]:
    own = tables["icl_readings"].filter(
        (pl.col("task") == task.name)
        & (pl.col("copy") == "trained")
        & (pl.col("tokens") == READ[0][0])
        & (pl.col("pooling") == READ[0][1])
        & (pl.col("layer") >= 0)
    )
    for target in own["target"].unique(maintain_order=True):
        values = _stacked(task, own.filter(pl.col("target") == target), "margin")
        if len(values) == 2:
            levels, values = _over(values)
            yield _Inside(kind="probe margin", about=target, levels=levels, values=values)


def _ratios(tables: Mapping[str, pl.DataFrame], task: Task) -> Iterator[_Inside]:
    found = ratios_of(tables["icl_attention"], task, "trained")
    both = (task.design.before, task.design.after)
    if set(both) <= set(found):
        at = [i for i, (_, head) in enumerate(found[both[0]].cells) if head == MEAN]
        levels = tuple(found[both[0]].cells[i][0] for i in at)
        values = {c: found[c].versions[0].T[at] for c in both}
        yield _Inside(kind=RATIO, about="relevant sentence", levels=levels, values=values)


def _linked(
    task: Task, inside: _Inside, name: str, outside: Mapping[str, np.ndarray], config: Config
) -> Iterator[dict[str, Any]]:
    """Every level with both adjustments; single layers for log probability only, conditions taken out."""
    both = (task.design.before, task.design.after)
    units, y = np.tile(task.units, 2), np.concatenate([outside[c] for c in both])
    place = {"copy": "trained", "task": task.name, "inside": inside.kind, "about": inside.about, "behaviour": name}
    for level, layer in enumerate(inside.levels):
        x = np.concatenate([inside.values[c][level] for c in both])
        for within in ADJUSTED:
            if layer != OVER and (name != "logprob" or within != ADJUSTED[1]):
                continue
            rng = np.random.default_rng(seed_of(config.seed, f"links/{place}/{within}/{layer}"))
            standard, raw = slopes(x, y, units, rng=rng, centred=within == ADJUSTED[1])
            yield {**place, "within": within, "layer": layer, **row_of(standard), "slope": raw}


def slopes(
    x: Float[np.ndarray, " row"],
    y: Float[np.ndarray, " row"],
    units: Shaped[np.ndarray, " row"],
    *,
    rng: np.random.Generator,
    centred: bool,
) -> tuple[Estimate, float]:
    """Standardised within-unit slope with its interval, and the slope in the units of the two.

    Rows are two conditions, one after the other, in the same order of prompts. `centred` subtracts each condition's mean first.
    A prompt with nan under one condition is left out under both.
    """
    half = len(x) // 2
    whole = np.isfinite(x) & np.isfinite(y)
    whole = np.tile(whole[:half] & whole[half:], 2)
    x, y = (np.where(whole, v, np.nan) for v in (x, y))
    if whole.sum() < 6:
        return undefined("fewer than 3 prompts have both", method="within-item slope", n=int(whole.sum())), float("nan")
    if centred:
        x, y = (np.concatenate([v[:half] - np.nanmean(v[:half]), v[half:] - np.nanmean(v[half:])]) for v in (x, y))
    standard = within_slope(x, y, units, rng=rng, standardise=True)
    return standard, within_slope(x, y, units, rng=rng, n_boot=20).estimate


def _points(task: Task, inside: _Inside, name: str, outside: Mapping[str, np.ndarray]) -> pl.DataFrame:
    before, after = task.design.before, task.design.after
    level = inside.levels.index(OVER)
    frame = task.keys.with_columns(
        copy=pl.lit("trained"),
        task=pl.lit(task.name),
        inside=pl.lit(inside.kind),
        about=pl.lit(inside.about),
        behaviour=pl.lit(name),
        change_inside=pl.Series(inside.values[after][level] - inside.values[before][level]),
        change_behaviour=pl.Series(outside[after] - outside[before]),
    )
    there = frame.filter(pl.col("change_inside").is_finite() & pl.col("change_behaviour").is_finite())
    return there.select(list(LINK_POINTS.schema)).cast(pl.Schema(LINK_POINTS.schema))


def _predicted(tables: Mapping[str, pl.DataFrame], task: Task, config: Config) -> Iterator[dict[str, Any]]:
    """C3.5: the ratio against right or wrong over prompts, within condition and answer format."""
    for inside in _ratios(tables, task):
        both = (task.design.before, task.design.after)
        y = np.concatenate([task.measured("trained", c, "right") for c in both])
        if np.isnan(y).all():
            return
        forms = [str(one.get("format", "")) for one in task.labels[both[0]]]
        strata = np.array([f"{c}/{form}" for c in both for form in forms])
        x = np.concatenate([inside.values[c][inside.levels.index(OVER)] for c in both])
        place = {"copy": "trained", "task": task.name, "inside": inside.kind, "about": inside.about}
        rng = np.random.default_rng(seed_of(config.seed, f"predicts/{place}"))
        found, raw = correlated(x, y, strata, np.tile(task.units, 2), rng=rng)
        yield {**place, "behaviour": "right", "within": STRATA, "layer": OVER, **row_of(found), "slope": raw}


def correlated(
    x: Float[np.ndarray, " row"],
    y: Float[np.ndarray, " row"],
    strata: Shaped[np.ndarray, " row"],
    clusters: Shaped[np.ndarray, " row"],
    *,
    rng: np.random.Generator,
) -> tuple[Estimate, float]:
    """Correlation of x and y within strata (their means taken out), cluster bootstrap; and the slope of y on x."""
    kept = np.isfinite(x) & np.isfinite(y)
    x, y, strata, clusters = x[kept], y[kept], strata[kept], clusters[kept]
    method = "correlation within strata, cluster bootstrap"
    if len(x) < 6:
        return undefined("fewer than 6 prompts have both", method=method, n=len(x)), float("nan")
    code, n = codes(strata)
    dx, dy = (v - (np.bincount(code, v, n) / np.maximum(np.bincount(code, minlength=n), 1))[code] for v in (x, y))
    if not (dx @ dx > 1e-12 and dy @ dy > 1e-12):
        flat = "answers are all right or all wrong" if dx @ dx > 1e-12 else "the ratio does not vary"
        return undefined(f"{flat} within condition and format", method=method, n=len(x)), float("nan")
    raw = float(dx @ dy / (dx @ dx))
    dx, dy = dx / np.sqrt(dx @ dx), dy / np.sqrt(dy @ dy)
    return bootstrap_ratio(dx * dy, dx * dx, clusters, rng=rng), raw
