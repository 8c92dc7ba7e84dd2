"""Where replacement values come from: source runs recorded at the places that are needed, and means over them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int

from mnemoscope.engine.chunks import prompt_groups, select
from mnemoscope.engine.edit import Key
from mnemoscope.engine.plan import Patch, Places, Position, Spot, places
from mnemoscope.engine.rotary import refuse_moved_mean
from mnemoscope.engine.store import Means, Recording, Wanted, record_sites
from mnemoscope.errors import AlignmentError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM


def site_heads(lm: LM) -> dict[Key, int]:
    """(site, layer) -> number of its heads."""
    found: dict[Key, int] = {}
    for layer, shape in enumerate(lm.shapes):
        if shape is not None:
            found |= {(site, layer): shape.n_heads for site in ("z", "q", "pattern")}
            found |= {(site, layer): shape.n_kv_heads for site in ("k", "v")}
    return found


def _wants(patches: Sequence[Patch]) -> dict[str, set[int]]:
    wants: dict[str, set[int]] = {}
    for patch in patches:
        wants.setdefault(patch.site, set()).add(patch.layer)
    return wants


def wanted_sources(
    patches: Sequence[Patch],
    sources: Sequence[Batch],
    spots: Mapping[Spot, Places],
    group: Int[np.ndarray, " some"],
) -> tuple[Wanted | None, ...]:
    """What is wanted of each source batch, for a group of prompts; None where nothing is. spots: of the group."""
    found: list[Wanted | None] = []
    for index, source in enumerate(sources):
        own = [p for p in patches if p.reads_source and p.op != "mean" and p.source == index]
        if not own:
            found.append(None)
            continue
        kept = np.concatenate([spots[spot].out_of for spot in dict.fromkeys(p.spot for p in own)], axis=1)
        found.append(Wanted(batch=select(source, group), sites=_wants(own), columns=_distinct(kept)))
    return tuple(found)


def record_sources(lm: LM, wanted: Sequence[Wanted | None]) -> tuple[Recording, ...]:
    """One recording per source batch; an empty one where nothing is wanted."""
    empty = Recording(slot_of=np.zeros((0, 0), dtype=np.int64), sites={})
    return tuple(empty if w is None else record_sites(lm, w.batch, w.sites, w.columns) for w in wanted)


def _distinct(columns: Int[np.ndarray, "prompt place"]) -> Int[np.ndarray, "prompt slot"]:
    """Each prompt's columns once."""
    rows = [sorted({c for c in row.tolist() if c >= 0}) for row in columns]
    width = max(1, *(len(row) for row in rows))
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)


def dataset_means(
    lm: LM,
    patches: Sequence[Patch],
    sources: Sequence[Batch],
    spots: Mapping[Spot, Places],
    *,
    budget: int,
    align: str | None,
) -> dict[tuple[str, int, int, Position], Means]:
    """Means over all prompts of a source batch at each place of a position, accumulated in float64."""
    means: dict[tuple[str, int, int, Position], Means] = {}
    asked = [patch for patch in patches if patch.op == "mean"]
    for index, position in dict.fromkeys((patch.source, patch.position) for patch in asked):
        source = sources[index]
        wants = _wants([p for p in asked if (p.source, p.position) == (index, position)])
        there = places(source, None, position, align=align).into
        _refuse_other_counts(spots[position, -1].into, there, position)
        refuse_moved_mean(lm, wants, spots[position, -1].into, there)
        for key, value in _mean_run(lm, source, wants, there, budget=budget).items():
            means[(*key, index, position)] = Means(values=value)
    return means


def _refuse_other_counts(into: np.ndarray, there: np.ndarray, position: Position) -> None:
    if into.shape[1] > there.shape[1] or (there < 0).any():
        raise AlignmentError(
            f"a mean at {position!r} needs the same places in every source prompt",
            found=f"{into.shape[1]} places in the base, {(there >= 0).sum(axis=1).min()} in a source prompt",
            allowed="prompts of one template",
            hint="positions='last', or a role with as many tokens everywhere",
        )


def _mean_run(
    lm: LM, source: Batch, wants: Mapping[str, set[int]], there: Int[np.ndarray, "prompt place"], *, budget: int
) -> dict[tuple[str, int], torch.Tensor]:
    total: dict[tuple[str, int], torch.Tensor] = {}
    for group in prompt_groups(lm, source, suffix=there.shape[1], budget=budget):
        run = record_sites(lm, select(source, group), wants, there[group])
        for key, value in run.sites.items():
            added = value.double().sum(dim=0)
            total[key] = total[key] + added if key in total else added
    return {key: (value / len(source)).to(lm.dtype) for key, value in total.items()}
