"""From questions to rows: any set of patches is a list of cells, and every cell is run once on every prompt.

A `Patch` is one change at one site of one layer; a cell is a tuple of patches made together. Grids, ablations, joint
patches, path patches and steering are all lists of cells for the same executors (`descent`, `slow`). Planning is pure:
it knows lengths and spans, no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.axes import HEAD_SITES, KV_SITES, OPS, SITES, STREAM_SITES
from mnemoscope.errors import AlignmentError, InputError, OptionError, PromptError, choose, listed
from mnemoscope.model.batch import Batch

Position = str | int | tuple[int, ...]  # "last", "all", a role, one position, or several


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """One change: at `site` of `layer`, at `position` (one joint change if it names several), in one head or all.

    replace  the site takes the value it has in the source run `source`, at the corresponding position
    mean     the site takes its mean over the prompts of the source run, at the corresponding position
    zero     the site becomes 0
    add      `value` is added: a vector [d], or one per prompt [prompt, d]
    scale    the site is multiplied by the number `value`
    `replace` with a `value` takes that vector instead of a source run. head counts kv heads for k and v.
    Of the site `pattern`, `position` names queries: scale and zero act on the columns `keys` and renormalise
    (`mnemoscope.engine.pattern`), replace on whole rows.
    """

    site: str
    layer: int
    head: int | None = None
    position: Position = "last"
    op: str = "replace"
    source: int = 0
    keys: Position | None = None
    value: Float[Tensor, " d"] | Float[Tensor, "prompt d"] | float | None = field(default=None, repr=False)

    @property
    def start(self) -> int:
        """The first block whose computation it changes; n_layers stands for what comes behind the last block."""
        return self.layer + (self.site == "resid_post")

    @property
    def reads_source(self) -> bool:
        """Whether it needs a source run."""
        return self.op == "mean" or (self.op == "replace" and self.value is None)

    @property
    def spot(self) -> "Spot":
        """Its position, and the source run (-1: none) in which the corresponding places are looked up."""
        return self.position, self.source if self.reads_source and self.op != "mean" else -1


Cell = tuple[Patch, ...]
Spot = tuple[Position, int]


def refuse_malformed(patches: Sequence[Patch], n_layers: int, heads: Mapping[str, int], n_sources: int) -> None:
    """Raise for patches that name what does not exist or lack what their op needs. heads: site -> number of heads."""
    for patch in patches:
        choose("site", patch.site, SITES)
        choose("op", patch.op, OPS)
    bad = [
        f"{patch.site} L{patch.layer}" + ("" if patch.head is None else f"H{patch.head}")
        for patch in patches
        if not 0 <= patch.layer < n_layers
        or (patch.head is not None and not 0 <= patch.head < heads.get(patch.site, 0))
    ]
    if bad:
        sizes = ", ".join(f"{site} {n}" for site, n in heads.items())
        raise OptionError(
            f"{len(bad)} patches name places that do not exist",
            found=listed(bad),
            allowed=f"layers 0 to {n_layers - 1}; heads per site: {sizes}; no head for {', '.join(STREAM_SITES)}",
        )
    wrong = [
        f"{patch.op} of {patch.site} without {'a source run' if patch.reads_source else 'a value'}"
        for patch in patches
        if (patch.reads_source and patch.source >= n_sources) or (patch.op in ("add", "scale") and patch.value is None)
    ]
    wrong += [
        f"{patch.op} of a pattern" + ("" if patch.op in ("zero", "scale", "replace") else ": only zero, scale, replace")
        for patch in patches
        if patch.site == "pattern" and (patch.op in ("mean", "add") or (patch.op != "replace" and patch.keys is None))
    ]
    if wrong:
        raise InputError(
            "patches lack what their op needs", found=listed(dict.fromkeys(wrong)), hint="source=, value=, keys="
        )


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a position stands in every prompt: columns of right-padded runs, -1 fills up.

    into: columns of the run that is patched; out_of: the corresponding columns of the source run.
    """

    into: Int[np.ndarray, "prompt place"]
    out_of: Int[np.ndarray, "prompt place"]


def columns(batch: Batch, position: Position) -> tuple[tuple[int, ...], ...]:
    """Columns of a position in every prompt of a right-padded batch."""
    lengths = batch.lengths.tolist()
    if position == "last":
        return tuple((n - 1,) for n in lengths)
    if position == "all":
        return tuple(tuple(range(n)) for n in lengths)
    if isinstance(position, str):
        choose("role (or position)", position, ("last", "all", *batch.spans))
        return tuple(tuple(i for a, b in ranges for i in range(a, b)) for ranges in batch.spans[position])
    wanted = (position,) if isinstance(position, int) else position
    if any(i < 0 for i in wanted):
        raise OptionError("positions count from 0", found=str(wanted), allowed="0 and above, or 'last'")
    return tuple(tuple(i for i in wanted if i < n) for n in lengths)


def places(into: Batch, out_of: Batch | None, position: Position, *, align: str | None = None) -> Places:
    """The columns of `position` in both runs, paired. Unequal counts raise, unless align="last" pairs the last ones."""
    here = columns(into, position)
    there = here if out_of is None else columns(out_of, position)
    uneven = [
        f"prompt {i}: {len(a)} and {len(b)} tokens"
        for i, (a, b) in enumerate(zip(here, there, strict=True))
        if len(a) != len(b)
    ]
    if align == "last" and isinstance(position, str):
        here, there = tuple(a[-1:] for a in here), tuple(b[-1:] for b in there)
    elif uneven:
        raise AlignmentError(
            f"position {position!r} has another number of tokens in the base and in the source run",
            found=listed(uneven),
            allowed="equally many",
            hint="align='last' takes the last token of a role in both",
        )
    return Places(into=_padded(here), out_of=_padded(there))


def _padded(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "prompt place"]:
    width = max(1, *(len(row) for row in rows)) if rows else 1
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Cells in the order of a rectangle, and the names and coordinates of its axes."""

    cells: tuple[Cell, ...]
    axes: tuple[str, ...]
    coordinates: Mapping[str, tuple[int, ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(len(self.coordinates[axis]) for axis in self.axes)


def head_axis(site: str) -> str | None:
    """The axis that counts the heads of a site; None for sites of the stream."""
    return "kv_head" if site in KV_SITES else "head" if site in HEAD_SITES else None


def grid(
    site: str,
    *,
    layers: Sequence[int],
    heads: Sequence[int] | None,
    positions: Position,
    n_positions: int,
    op: str,
    value: Tensor | float | None = None,
    keys: Position | None = None,
) -> Grid:
    """One cell per (layer[, head][, position]); positions "each" makes an axis of 0 .. n_positions - 1."""
    axis = head_axis(site)
    if heads is not None and axis is None:
        raise OptionError(f"site {site!r} has no heads", found=f"heads={list(heads)}", allowed="heads=None")
    where = tuple(range(n_positions)) if positions == "each" else None
    coordinates: dict[str, tuple[int, ...]] = {"layer": tuple(layers)}
    if axis is not None:
        coordinates[axis] = tuple(heads or ())
    if where is not None:
        coordinates["position"] = where
    cells = tuple(
        (
            Patch(
                site=site,
                layer=layer,
                head=head,
                position=place,
                op=op,
                value=_value_of(value, layer, head),
                keys=keys,
            ),
        )
        for layer in layers
        for head in (heads if axis is not None and heads is not None else (None,))
        for place in (where if where is not None else (positions,))
    )
    return Grid(cells=cells, axes=tuple(coordinates), coordinates=coordinates)


def _value_of(value: Tensor | float | None, layer: int, head: int | None) -> Tensor | float | None:
    """A number or a vector [d] for all; [layer, d] or [layer, head, d] by place in the model."""
    if not isinstance(value, Tensor) or value.ndim == 1:
        return value
    return value[layer] if value.ndim == 2 else value[layer, 0 if head is None else head]


def refuse_unequal(base: Batch, source: Batch, position: Position) -> None:
    """Positions counted from the front, or all of them, correspond only in prompts of equal length."""
    if isinstance(position, str) and position not in ("all", "each"):
        return
    unequal = [
        f"prompt {i}: {a} and {b} tokens"
        for i, (a, b) in enumerate(zip(base.lengths.tolist(), source.lengths.tolist(), strict=True))
        if a != b
    ]
    if unequal:
        raise PromptError(
            f"positions {position!r} correspond only in prompts of equal length",
            found=listed(unequal),
            allowed="equally many tokens in base and source",
            hint="positions='last', or a role",
        )


def refuse_absent(batch: Batch, position: Position) -> None:
    """Positions given as numbers must exist in every prompt: an effect of nothing would read as no effect."""
    if isinstance(position, str):
        return
    last = position if isinstance(position, int) else max(position)
    short = [f"prompt {i}: {n} tokens" for i, n in enumerate(batch.lengths.tolist()) if n <= last]
    if short:
        raise PromptError(
            f"position {last} is behind the end of {len(short)} prompts",
            found=listed(short),
            allowed=f"prompts of more than {last} tokens",
            hint="positions='each' gives nan there",
        )
