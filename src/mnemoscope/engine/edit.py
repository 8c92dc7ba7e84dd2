"""Edits: what a set of cells does to one site of one layer, as index arrays, so that it is one assignment per op.

The same edits serve both executors. They speak of rows of the batch that runs and of columns of that batch: in a
descent the columns of the suffix, in the slow path and in `intervene` those of the whole prompt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.plan import Cell, Patch, Places, Position, Spot
from mnemoscope.engine.store import Means, Recording
from mnemoscope.errors import InputError

Key = tuple[str, int]  # (site, layer) where an edit is made


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One op at one site of one layer, at many (row, column[, head]) at once."""

    op: str
    rows: Int[Tensor, " entry"]
    columns: Int[Tensor, " entry"]
    heads: Int[Tensor, " entry"] | None
    values: Float[Tensor, "entry d"] | None
    keys: Int[Tensor, " entry"] | None = None  # columns of the pattern

    def moved(self, device: torch.device) -> "Edit":
        """The same edit on another device."""
        return Edit(
            op=self.op,
            rows=self.rows.to(device),
            columns=self.columns.to(device),
            heads=None if self.heads is None else self.heads.to(device),
            values=None if self.values is None else self.values.to(device),
            keys=None if self.keys is None else self.keys.to(device),
        )


def edit_(site: Float[Tensor, "row column *place"], edits: Iterable[Edit]) -> Float[Tensor, "row column *place"]:
    """Make the edits in place on [row column d] or [row column head d] and return the same tensor."""
    for edit in edits:
        edit = edit.moved(site.device)
        at = (edit.rows, edit.columns) if edit.heads is None else (edit.rows, edit.columns, edit.heads)
        if edit.op == "zero":
            site[at] = 0
            continue
        assert edit.values is not None
        values = edit.values.to(site.dtype) if edit.op != "scale" else edit.values
        if edit.op == "add":
            site[at] = site[at] + values
        elif edit.op == "scale":
            site[at] = (site[at] * values).to(site.dtype)
        else:
            site[at] = values
    return site


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What edits are made from: where positions stand, the source runs, and the number of heads per site.

    recorded: each prompt's index in the recordings; asked: its index among all prompts that were asked (values of
    patches are given for those).
    """

    spots: Mapping[Spot, Places]
    recordings: Sequence[Recording]
    means: Mapping[tuple[str, int, int, Position], Means]
    n_heads: Mapping[Key, int]
    ends: Int[np.ndarray, " prompt"]
    recorded: Int[np.ndarray, " prompt"]
    asked: Int[np.ndarray, " prompt"]

    def of(self, prompts: Int[np.ndarray, " some"]) -> "Context":
        """The context of some of the prompts."""
        spots = {p: Places(into=s.into[prompts], out_of=s.out_of[prompts]) for p, s in self.spots.items()}
        return replace(
            self,
            spots=spots,
            ends=self.ends[prompts],
            recorded=self.recorded[prompts],
            asked=self.asked[prompts],
        )

    @property
    def n_prompts(self) -> int:
        """Prompts of the batch that is patched."""
        return len(self.ends)


def reaches(cells: Sequence[Cell], context: Context) -> Int[np.ndarray, " cell"]:
    """Per cell, columns from the first patched one to the last that is read; the largest over prompts, at least 1."""
    reach: dict[Spot, int] = {}
    for name, spot in context.spots.items():
        end = context.ends[:, None]
        reach[name] = int((end - np.where(spot.into < 0, end, spot.into)).max())
    return np.array([max(1, *(reach[patch.spot] for patch in cell)) for cell in cells], dtype=np.int64)


def compiled(
    cells: Sequence[Cell], context: Context, *, first_row: int, shift: Int[np.ndarray, " prompt"]
) -> dict[Key, list[Edit]]:
    """The edits of cells whose rows lie in the order (cell, prompt) from `first_row` on.

    shift: per prompt, what is subtracted from its columns to give the columns of the batch that runs. Columns at or
    behind a prompt's end are left out: nothing that is read depends on them.
    """
    groups: dict[tuple[str, int, str], list[Edit]] = {}
    for index, cell in enumerate(cells):
        _refuse_overlap(cell, context)
        for patch in cell:
            rows = first_row + index * context.n_prompts
            edit = _edit(patch, rows, context, shift)
            if edit is not None:
                groups.setdefault((patch.site, patch.layer, patch.op), []).append(edit)
    edits: dict[Key, list[Edit]] = {}
    for (site, layer, _), group in groups.items():
        edits.setdefault((site, layer), []).append(_joined(group))
    return edits


def _edit(patch: Patch, first_row: int, context: Context, shift: Int[np.ndarray, " prompt"]) -> Edit | None:
    spot = context.spots[patch.spot]
    prompt, place = np.nonzero((spot.into >= 0) & (spot.into < context.ends[:, None]))
    if prompt.size == 0:
        return None
    n_heads = context.n_heads.get((patch.site, patch.layer), 0)
    heads = [patch.head] if patch.head is not None else list(range(n_heads))
    each = max(1, len(heads))
    head = np.tile(np.array(heads, dtype=np.int64), prompt.size) if heads else None
    prompt, place = np.repeat(prompt, each), np.repeat(place, each)
    column = spot.into[prompt, place] - shift[prompt]
    if patch.site == "pattern" and patch.op != "replace":
        return _pattern_edit(patch, first_row, prompt, column, head, context)
    return Edit(
        op=patch.op,
        rows=torch.from_numpy(first_row + prompt),
        columns=torch.from_numpy(column),
        heads=None if head is None else torch.from_numpy(head),
        values=_values(patch, prompt, place, head, context),
    )


def _pattern_edit(
    patch: Patch, first_row: int, prompt: np.ndarray, column: np.ndarray, head: np.ndarray | None, context: Context
) -> Edit:
    """Every (row, query, head) with every key of its prompt. Whole forward passes only: columns are the prompt's own."""
    assert patch.keys is not None
    assert head is not None
    keys = context.spots[patch.keys, -1].into[prompt]
    entry, place = np.nonzero(keys >= 0)
    gain = 0.0 if patch.op == "zero" else float(patch.value)  # pyright: ignore[reportArgumentType]
    return Edit(
        op=patch.op,
        rows=torch.from_numpy(first_row + prompt[entry]),
        columns=torch.from_numpy(column[entry]),
        heads=torch.from_numpy(head[entry]),
        keys=torch.from_numpy(keys[entry, place]),
        values=torch.full((len(entry), 1), gain),
    )


def _values(
    patch: Patch, prompt: np.ndarray, place: np.ndarray, head: np.ndarray | None, context: Context
) -> Float[Tensor, "entry d"] | None:
    if patch.op == "zero":
        return None
    if patch.op == "mean":
        means = context.means[patch.site, patch.layer, patch.source, patch.position]
        return means.at(place, head)
    if patch.value is None:
        column = context.spots[patch.spot].out_of[prompt, place]
        return context.recordings[patch.source].at(patch.site, patch.layer, context.recorded[prompt], column, head)
    if isinstance(patch.value, Tensor):
        if patch.value.ndim == 1:
            return patch.value.expand(len(prompt), -1)
        return patch.value[torch.from_numpy(context.asked[prompt]).to(patch.value.device)]
    return torch.full((len(prompt), 1), float(patch.value))


def _joined(edits: Sequence[Edit]) -> Edit:
    first = edits[0]
    return Edit(
        op=first.op,
        rows=torch.cat([edit.rows for edit in edits]),
        columns=torch.cat([edit.columns for edit in edits]),
        heads=None if first.heads is None else torch.cat([edit.heads for edit in edits if edit.heads is not None]),
        values=None if first.values is None else torch.cat([e.values for e in edits if e.values is not None]),
        keys=None if first.keys is None else torch.cat([e.keys for e in edits if e.keys is not None]),
    )


def _refuse_overlap(cell: Cell, context: Context) -> None:
    """Two patches of one cell at the same place would depend on their order."""
    if len(cell) == 1:
        return
    taken: set[tuple[str, int, int | None, int, int]] = set()
    for patch in cell:
        into = context.spots[patch.spot].into
        heads = range(context.n_heads.get((patch.site, patch.layer), 0)) if patch.head is None else (patch.head,)
        for head in heads or (None,):
            for prompt, column in enumerate(into):
                for i in column[column >= 0].tolist():
                    place = (patch.site, patch.layer, head, prompt, i)
                    if place in taken:
                        raise InputError(
                            "two patches of one cell meet in one place",
                            found=f"{patch.site} layer {patch.layer} head {head} position {i} of prompt {prompt}",
                            hint="make them two cells, or one patch",
                        )
                    taken.add(place)
