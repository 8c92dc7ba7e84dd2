"""The same patches as a context: while it lasts, the model's own `forward` and `generate` compute with them.

    with intervene(lm, [Patch(site="resid_post", layer=6, position="all", op="add", value=direction)]):
        lm.model.generate(**inputs)

There is no source run here: `replace` takes a `value`. Rows are all rows of whatever batch comes. Positions: "all" is
every token of every pass, generated ones included; "last" the last column of every pass (pad on the left, as `generate`
does); numbers count from the start of the text, tokens in the cache included, so they are met once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mnemoscope.engine.edit import Edit, Key
from mnemoscope.engine.plan import Patch, Position, refuse_malformed
from mnemoscope.engine.rotary import rotary_layers
from mnemoscope.engine.slow import edited
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.sweep import site_reason
from mnemoscope.errors import InputError, OptionError, UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import BlockCall, block_seam


@contextmanager
def intervene(lm: LM, patches: Sequence[Patch]) -> Iterator[None]:
    """Make the patches in every forward pass of the model until the context ends; nothing of it remains afterwards.

    Patches at one place are made in the order given. value: [d], or [batch, d] for a batch of that size.
    """
    _refuse(lm, patches)
    edits: dict[Key, list[Edit]] = {(patch.site, patch.layer): [] for patch in patches}

    def before(call: BlockCall) -> None:
        if call.layer == 0:
            past = _past(call)
            for key in edits:
                own = [patch for patch in patches if (patch.site, patch.layer) == key]
                made = (_edit(lm, patch, call.resid.shape[0], call.resid.shape[1], past) for patch in own)
                edits[key][:] = [edit for edit in made if edit is not None]

    with block_seam(lm.blocks, before=before), edited(lm, edits):
        yield


def _refuse(lm: LM, patches: Sequence[Patch]) -> None:
    heads = {site: n for (site, _), n in site_heads(lm).items()}
    refuse_malformed(patches, lm.n_layers, heads, 1)
    for patch in patches:
        reason = site_reason(lm, patch.site, patch.layer)
        if reason:
            raise UnsupportedError(f"{patch.site} of layer {patch.layer} of {lm.name} cannot be changed", found=reason)
        if patch.reads_source:
            raise InputError(
                f"{patch.op} of {patch.site} without a value",
                found="no source run inside a context",
                allowed="replace with a value, zero, add, scale",
                hint="record the source run with ms.trace and give value=",
            )
        if isinstance(patch.position, str) and patch.position not in ("all", "last"):
            raise OptionError(f"role {patch.position!r} in a context", allowed="'all', 'last', positions as numbers")
        if patch.op == "add" and patch.site in ("q", "k") and patch.layer in rotary_layers(lm):
            raise UnsupportedError(f"add to {patch.site}", found="rotary embedding turns it by position")


def _past(call: BlockCall) -> int:
    """Tokens that are in the cache already."""
    for name in ("past_key_values", "past_key_value", "layer_past"):
        cache = call.kwargs.get(name)
        if cache is not None and hasattr(cache, "get_seq_length"):
            return int(cache.get_seq_length())
    return 0


def _columns(position: Position, n: int, past: int) -> list[int]:
    if position == "all":
        return list(range(n))
    if position == "last":
        return [n - 1]
    wanted = (position,) if isinstance(position, int) else tuple(p for p in position if isinstance(p, int))
    return [p - past for p in wanted if 0 <= p - past < n]


def _edit(lm: LM, patch: Patch, n_rows: int, n: int, past: int) -> Edit | None:
    columns = _columns(patch.position, n, past)
    if not columns:
        return None
    n_heads = site_heads(lm).get((patch.site, patch.layer), 0)
    heads = list(range(n_heads)) if patch.head is None else [patch.head]
    keys = _columns("all" if patch.keys is None else patch.keys, n + past, 0) if patch.site == "pattern" else [0]
    axes = (torch.arange(n_rows), torch.tensor(columns), torch.tensor(heads or [0]), torch.tensor(keys))
    row, column, head, key = (index.ravel() for index in torch.meshgrid(*axes, indexing="ij"))
    return Edit(
        op=patch.op,
        rows=row,
        columns=column,
        heads=head if heads else None,
        keys=key if patch.site == "pattern" else None,
        values=_values(patch.value, row),
    )


def _values(value: Tensor | float | None, row: Tensor) -> Tensor | None:
    if value is None:
        return None
    if isinstance(value, Tensor):
        return value.expand(len(row), -1) if value.ndim == 1 else value[row.to(value.device)]
    return torch.full((len(row), 1), float(value))
