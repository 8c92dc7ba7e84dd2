"""Representational similarity per layer: alignment under every condition, and its change between them (B7.1, B7.2). No torch."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.icl import ALIGNMENT, DISTANCES
from mnemoscope.stats.rsa import Alignment, align
from mnemoscope.stats.rsa_items import rdm_ceiling
from mnemoscope.stats.rsa_layers import layer_alignments, mean_over_layers
from mnemoscope.stats.rsa_paired import before_after, tau_change
from mnemoscope.stats.rsa_ranks import LeftOut
from mnemoscope.studies.icl.behaviour_summary import cells
from mnemoscope.studies.icl.config import PRIMARY, Config
from mnemoscope.studies.icl.design import Hypothesis
from mnemoscope.studies.icl.frames import Pooled, nuisances

CEILING_SPLITS = 20
BEYOND = ", beyond the re-initialised copy"
UNTESTED: Final[Mapping[str, float]] = dict.fromkeys(("p_maxt", "null_low", "null_high", "ceiling"), math.nan)


def alignment(every: tuple[Pooled, ...], config: Config) -> pl.DataFrame:
    """icl_alignment of one task's vectors, all copies; correlation distances beside cosine where the claims rest."""
    rows: list[dict[str, Any]] = []
    for one in every:
        if one.copy != "trained" and (one.tokens, one.pooling) != PRIMARY:
            continue
        for distance in DISTANCES if main_pooling(one) else DISTANCES[:1]:
            rows += _of_vectors(every, replace(one, distance=distance), config)
    for distance in DISTANCES:
        rows += over_layers(tuple(replace(one, distance=distance) for one in every), config)
    return pl.DataFrame(rows, schema=ALIGNMENT.schema)


def _of_vectors(every: tuple[Pooled, ...], one: Pooled, config: Config) -> Iterator[dict[str, Any]]:
    """Rows of every hypothesis, per layer."""
    bag = layer0(every, one)
    ceilings = _ceilings(one, config)
    for hypothesis in one.task.design.hypotheses:
        if hypothesis.name == "both" and not main_pooling(one):
            continue
        yield from _under_conditions(one, hypothesis, bag, ceilings, config)
        yield from _changes(one, hypothesis, bag, config)


def layer0(every: tuple[Pooled, ...], one: Pooled) -> Mapping[str, Float[np.ndarray, "prompt d"]]:
    """The bag of tokens at layer 0: the same pooling of the embeddings; for a single token the mean over all tokens."""
    same = [other for other in every if other.copy == one.copy]
    bags = (
        [other for other in same if (other.tokens, other.pooling) == ("all", "mean")]
        if one.pooling == "last"
        else [one]
    )
    return {c: layers[0] for c, layers in (bags or [one])[0].vectors.items()}


def main_pooling(one: Pooled) -> bool:
    """Whether these vectors carry the claims: every condition and contrast is inferred for them."""
    return one.copy == "trained" and (one.tokens, one.pooling) == PRIMARY


def _whole(one: Pooled) -> bool:
    """Whether all conditions and contrasts are inferred; else before and after alone."""
    return main_pooling(one) and one.distance == DISTANCES[0]


def _conditions(one: Pooled) -> tuple[str, ...]:
    design = one.task.design
    return tuple(one.vectors) if _whole(one) else (design.before, design.after)


def _contrasts(one: Pooled) -> tuple[tuple[str, str], ...]:
    design = one.task.design
    chosen = design.contrasts if _whole(one) else ((design.after, design.before),)
    return tuple((a, b) for a, b in chosen if a in one.vectors and b in one.vectors)


def _rng(config: Config, one: Pooled, *more: str) -> np.random.Generator:
    named = (*one.place.values(), *([one.distance] if one.distance != DISTANCES[0] else []), *more)
    return np.random.default_rng(seed_of(config.seed, "/".join(named)))


def grouping(one: Pooled, hypothesis: Hypothesis) -> dict[str, Any]:
    """Units that a hypothesis is assigned to, and the strata within which they are permuted."""
    units = one.task.label(hypothesis.unit).astype(str)
    strata = one.task.label(hypothesis.strata).astype(str) if hypothesis.strata else None
    return {"units": units, "strata": strata}


def _ceilings(one: Pooled, config: Config) -> dict[str, list[float]]:
    """Ceiling of every layer; of the main pooling only (a split costs as much as an RDM)."""
    if not main_pooling(one):
        return {}
    rng = _rng(config, one, "ceiling")
    return {
        c: [rdm_ceiling(row, one.task.units, rng=rng, n_splits=CEILING_SPLITS).estimate for row in one.distances[c]]
        for c in _conditions(one)
    }


def _under_conditions(
    one: Pooled, hypothesis: Hypothesis, bag: Mapping[str, np.ndarray], ceilings: dict[str, list[float]], config: Config
) -> Iterator[dict[str, Any]]:
    expected = one.task.expected(hypothesis)
    for condition in _conditions(one):
        control = nuisances(one, bag, [condition])
        shown = main_pooling(one) and condition in (one.task.design.before, one.task.design.after)
        kinds = (("spearman", None), ("partial", control), *([("tau-a", None)] if shown else []))
        for kind, taken_out in kinds:
            found = align(
                one.distances[condition],
                expected,
                **grouping(one, hypothesis),
                rng=_rng(config, one, hypothesis.name, condition, kind),
                nuisances=taken_out,
                kind="tau-a" if kind == "tau-a" else "spearman",
                n_perm=config.permutations,
            )
            yield from _rows(_place(one, hypothesis, kind, condition), found, ceilings.get(condition))


def _changes(
    one: Pooled, hypothesis: Hypothesis, bag: Mapping[str, np.ndarray], config: Config
) -> Iterator[dict[str, Any]]:
    expected = one.task.expected(hypothesis)
    units = one.task.label(hypothesis.unit).astype(str)
    for condition, versus in _contrasts(one):
        control = nuisances(one, bag, [versus, condition])
        for kind, taken_out in (("partial", control), *([("spearman", None)] if main_pooling(one) else [])):
            found = before_after(
                zip(one.vectors[versus], one.vectors[condition], strict=True),
                expected,
                units,
                rng=_rng(config, one, hypothesis.name, condition, versus, kind),
                nuisances=taken_out,
                metric=one.distance,
                n_perm=config.permutations,
            )
            yield from _rows(_place(one, hypothesis, kind, condition, versus), found, None)
        if main_pooling(one) and (condition, versus) == (one.task.design.after, one.task.design.before):
            tau = tau_change(
                (one.distances[versus], one.distances[condition]),
                expected,
                units,
                rng=_rng(config, one, hypothesis.name, condition, versus, "tau-a"),
            )
            place = _place(one, hypothesis, "tau-a", condition, versus)
            yield from ({**place, "layer": layer, **UNTESTED, **cells(tau.at(layer))} for layer in range(len(tau)))


def _place(one: Pooled, hypothesis: Hypothesis, kind: str, condition: str, versus: str = "") -> dict[str, str]:
    more = {"distance": one.distance, "hypothesis": hypothesis.name, "kind": kind}
    return {**one.place, **more, "condition": condition, "versus": versus}


def upper(n_levels: int) -> slice:
    """The upper half of the embedding and the layers behind it: what claims average over, fixed beforehand."""
    return slice(n_levels // 2, n_levels)


def over_layers(every: tuple[Pooled, ...], config: Config) -> Iterator[dict[str, Any]]:
    """Rows of layer -1: partial alignment averaged over the upper half of the layers, per condition, and its changes.

    A change of the model is also compared with the same change in its re-initialised copy: `versus` then names both.
    """
    main = {one.copy: one for one in every if (one.tokens, one.pooling) == PRIMARY}
    for hypothesis in next(iter(main.values())).task.design.hypotheses if main else ():
        values = {copy: _leaving_out(one, hypothesis, layer0(every, one), config) for copy, one in main.items()}
        for copy, one in main.items():
            mine, n = values[copy], next(iter(one.distances.values())).shape[1]
            parts: dict[tuple[str, str], list[tuple[float, LeftOut]]] = {(c, ""): [(1.0, v)] for c, v in mine.items()}
            parts |= {(a, b): [(1.0, mine[a]), (-1.0, mine[b])] for a, b in _contrasts(one)}
            after, before = one.task.design.after, one.task.design.before
            if copy == "trained" and "reinitialised" in values:
                other = values["reinitialised"]
                parts[after, f"{before}{BEYOND}"] = [*parts[after, before], (-1.0, other[after]), (1.0, other[before])]
            for (condition, versus), weighted in parts.items():
                place = _place(one, hypothesis, "partial", condition, versus)
                yield {**place, "layer": -1, **UNTESTED, **cells(mean_over_layers(weighted, n=n))}


def _leaving_out(
    one: Pooled, hypothesis: Hypothesis, bag: Mapping[str, np.ndarray], config: Config
) -> dict[str, LeftOut]:
    """Alignments of the upper half of the layers under every condition, on all units and with each left out."""
    units = one.task.label(hypothesis.unit).astype(str)
    return {
        c: layer_alignments(
            one.distances[c][upper(len(one.distances[c]))],
            one.task.expected(hypothesis),
            units,
            rng=np.random.default_rng(seed_of(config.seed, "groups of units")),
            nuisances=nuisances(one, bag, [c]),
        )
        for c in _conditions(one)
    }


def _rows(place: dict[str, str], found: Alignment, ceiling: list[float] | None) -> Iterator[dict[str, Any]]:
    """One row per layer."""
    tested = len(found.null) > 0 and not place["versus"]
    for layer in range(len(found.cells)):
        null = found.null[:, layer] if tested else np.full(1, math.nan)
        yield {
            **place,
            "layer": layer,
            **cells(found.cells.at(layer)),
            "p_maxt": float(found.p[layer]),
            "null_low": float(np.quantile(null, 0.025)) if not np.isnan(null).any() else math.nan,
            "null_high": float(np.quantile(null, 0.975)) if not np.isnan(null).any() else math.nan,
            "ceiling": ceiling[layer] if ceiling else math.nan,
        }
