"""The descent: every patched run in one walk down the layers, each starting where its patch is.

To patch a site at layer l and position p, everything at positions < p and layers < l is that of the base run. So a row is
only its suffix of positions >= p, and it joins at layer l. All rows are submitted at once, sorted by start layer; block l
runs on the leading rows that have started, and its attention reads the base run's keys and values for the prefix, grouped
by prompt, never copied per row. Rows lie in the order (cell, prompt). The first cell is empty: the control rows, one per
prompt, go through all blocks and must come out as the base run. No block is skipped, and no model code is replaced.

Layer restart, prefix reuse and row batching are known one by one (TransformerLens PR #382, AutoCircuit, the LRE code,
nnsightful); here they are one plan for unmodified models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.attend import attend
from mnemoscope.engine.body import final_stream
from mnemoscope.engine.edit import Context, Edit, Key, compiled, edit_
from mnemoscope.engine.plan import Cell
from mnemoscope.engine.slow import edited_call
from mnemoscope.engine.store import BaseRun
from mnemoscope.engine.writers import WRITER_SITES, writer_seam
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import takes_positions
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam

FAST_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v")


def refusal(lm: LM) -> str:
    """Why this model cannot be swept in a descent, by its structure; "" if it can be tried (and is then verified)."""
    structure = lm.structure
    if any(parameter.__class__.__name__ == "DTensor" for parameter in lm.model.parameters()):
        return "its weights are distributed tensors"
    if hasattr(lm.model, "_orig_mod") or any(getattr(block, "_compiled_call_impl", None) for block in lm.blocks):
        return "it is compiled"
    if lm.model.training:
        return "it is in training mode"
    off = [layer for layer, calls in enumerate(structure.calls) if calls != 1]
    if off:
        return (
            f"attention of layers {off} is called {[structure.calls[i] for i in off]} times on the attention interface"
        )
    if any(
        shape.kv_head_of != tuple(h // (shape.n_heads // shape.n_kv_heads) for h in range(shape.n_heads))
        for shape in structure.shapes
        if shape is not None
    ):
        return "query heads do not read kv heads in order"
    if any(calls != 1 for calls in structure.block_calls):
        return "a block is called other than once"
    if len(set(structure.attentions)) < len(structure.attentions):
        return "layers share an attention module"
    return ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """What is held at the base run's values in all rows (path patching): z, and outputs of MLPs if `mlp` is not empty.

    Both: layer -> values at the suffix columns.
    """

    z: Mapping[int, Float[Tensor, "prompt suffix head d_value"]]
    mlp: Mapping[int, Float[Tensor, "prompt suffix d_model"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """One descent, planned: how many cells have started at each block, and what is edited where.

    started[l]: cells (the control cell included) that run in block l; started[n_layers]: all of them.
    order: place of each given cell among the rows' cells.
    """

    started: tuple[int, ...]
    order: tuple[int, ...]
    suffix: int
    edits: Mapping[Key, Sequence[Edit]]


def steps(cells: Sequence[Cell], context: Context, *, n_layers: int, width: int, suffix: int) -> Steps:
    """Sort cells by start layer and compile their edits in columns of the suffix."""
    starts = [min(patch.start for patch in cell) for cell in cells]
    order = sorted(range(len(cells)), key=lambda i: starts[i])
    shift = context.ends - suffix
    edits = compiled([cells[i] for i in order], context, first_row=context.n_prompts, shift=shift)
    moved: dict[Key, list[Edit]] = {}
    for (site, layer), found in edits.items():  # out of one block is into the next
        key = ("resid_pre", layer + 1) if site == "resid_post" else (site, layer)
        moved.setdefault(key, []).extend(found)
    counts = tuple(1 + sum(start <= layer for start in starts) for layer in range(n_layers + 1))
    places = np.empty(len(cells), dtype=np.int64)
    places[order] = np.arange(len(cells))
    return Steps(started=counts, order=tuple(places.tolist()), suffix=suffix, edits=moved)


@torch.no_grad()
def descend(
    lm: LM,
    base: BaseRun,
    plan: Steps,
    *,
    held: Held | None = None,
    seen: Callable[[AttentionCall], None] | None = None,
    last: Callable[[Float[Tensor, "row suffix d_model"]], None] | None = None,
) -> Float[Tensor, "cell prompt suffix d_model"]:
    """Run a descent: what goes into the unembedding at the suffix columns; cell 0 is the control.

    Cells come back in the rows' order; `Steps.order` tells where a given cell is.
    held: what does not answer to the patches (path patching). seen: is shown every attention call of the rows.
    last: is shown the stream behind the last block.
    """
    n_prompts, suffix = base.ids.shape[0], plan.suffix
    n_rows = plan.started[-1] * n_prompts
    stream: list[Tensor] = []

    def joined(layer: int, running: Tensor | None) -> Tensor:
        """The rows that run, and the base run's stream for those that start here; edited."""
        new = plan.started[layer] - (0 if running is None else running.shape[0] // n_prompts)
        fresh = base.resid[layer][:, -suffix:]
        edits = plan.edits.get(("resid_pre", layer), ())
        if running is not None and not new and not edits:
            return running
        rows = repeat(fresh, "prompt suffix d -> (cell prompt) suffix d", cell=new)
        return edit_(rows.clone() if running is None else torch.cat([running, rows]), edits)  # a prompt alone: a view

    def before(call: BlockCall) -> BlockCall:
        resid = joined(call.layer, call.resid if call.layer else None)
        stream[:] = [resid]
        return _sliced(call.with_resid(resid), n_rows, resid)

    def after(layer: int, resid: Tensor) -> Tensor | None:
        if layer < lm.n_layers - 1:
            return None
        rows = joined(lm.n_layers, resid)
        if last is not None:
            last(rows)
        return rows

    def attend_rows(call: AttentionCall) -> tuple[Tensor, None]:
        call = edited_call(call, plan.edits)
        if seen is not None:
            seen(call)
        cells = call.query.shape[0] // n_prompts
        z = _attended(call, base, suffix) if held is None else held.z[call.layer].repeat(cells, 1, 1, 1)
        return edit_(z, plan.edits.get(("z", call.layer), ())), None

    def write(site: str, layer: int, value: Tensor) -> Tensor:
        edits = plan.edits.get((site, layer), ())
        if held is not None and site == "mlp_out" and layer in held.mlp:
            return edit_(held.mlp[layer].repeat(value.shape[0] // n_prompts, 1, 1), edits)
        return edit_(value.clone(), edits)

    with (
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend_rows),
        writer_seam(lm, _layers_of(plan.edits, held), write, lambda: stream[0]),
    ):
        final = final_stream(lm, _row_inputs(lm, base, plan))
    return rearrange(final, "(cell prompt) suffix d -> cell prompt suffix d", prompt=n_prompts)


def _row_inputs(lm: LM, base: BaseRun, plan: Steps) -> dict[str, Tensor]:
    """Ids, mask and positions of all rows: what the model computes from them at its top is sliced block by block."""
    cells, suffix = plan.started[-1], plan.suffix
    ids = repeat(base.ids[:, -suffix:], "prompt suffix -> (cell prompt) suffix", cell=cells)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if takes_positions(lm):
        first = torch.from_numpy(base.ends - suffix).to(ids.device)
        positions = (first[:, None] + torch.arange(suffix, device=ids.device)).clamp(min=0)
        inputs["position_ids"] = positions.repeat(cells, 1)
    return inputs


def _sliced(call: BlockCall, n_rows: int, resid: Tensor) -> BlockCall:
    """The call with every other tensor that has all rows on its first axis cut to the rows that run."""
    running = resid.shape[0]

    def cut(value: Any) -> Any:
        if value is resid:
            return value
        if isinstance(value, Tensor):
            return value[:running] if value.ndim > 1 and value.shape[0] == n_rows else value
        if isinstance(value, tuple | list):
            return type(value)(cut(item) for item in value)
        if isinstance(value, dict):
            return {name: cut(item) for name, item in value.items()}
        return value

    return replace(call, args=cut(call.args), kwargs={name: cut(value) for name, value in call.kwargs.items()})


def _attended(call: AttentionCall, base: BaseRun, suffix: int) -> Float[Tensor, "row suffix head d_value"]:
    layer, n_prefix = call.layer, base.width - suffix
    bias = base.bias[layer]
    return attend(
        call.query,
        call.key,
        call.value,
        (base.keys[layer][:, :, :n_prefix], base.values[layer][:, :, :n_prefix]),
        base.rules[layer],
        bias=None if bias is None else bias[:, :, -suffix:],
    )


def _layers_of(edits: Mapping[Key, Sequence[Edit]], held: Held | None) -> dict[str, list[int]]:
    wants = {site: {layer for name, layer in edits if name == site} for site in WRITER_SITES}
    wants["mlp_out"] |= set(held.mlp if held is not None else ())
    return {site: sorted(layers) for site, layers in wants.items()}


def read_columns(
    final: Float[Tensor, "cell prompt suffix d_model"], read: Int[np.ndarray, "prompt read"], base: BaseRun
) -> Float[Tensor, "cell prompt read d_model"]:
    """What is read of every row: the suffix where it reaches, the base run's own stream before it."""
    suffix = final.shape[2]
    offset = torch.from_numpy(read - (base.ends - suffix)[:, None]).to(final.device)
    index = offset.clamp(min=0)[None, :, :, None].expand(final.shape[0], -1, -1, final.shape[3])
    rows = final.gather(2, index)
    outside = (offset < 0)[None, :, :, None]
    return torch.where(outside, base.final[None].to(rows.dtype), rows) if bool(outside.any()) else rows
