"""What one run leaves behind: sites at chosen columns, and, of a base run, all that its patched rows will read.

Keys and values come from the run that is patched *into*, from our own store: a cache of transformers keeps only the
window of a sliding layer. Masks are the ones the model itself built, layer by layer. Columns of a base run are aligned
at the prompts' ends, so that one descent serves prompts of different length; where they are equal nothing is copied.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.attend import Rules, additive_mask, attention_rows, rules_of
from mnemoscope.engine.body import final_stream
from mnemoscope.engine.masks import aligned, refuse_token_masks, same_masks, suffix_bias, token_mask
from mnemoscope.engine.writers import writer_seam
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch, forward_inputs
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Sites of one run at chosen columns. slot_of: column -> slot, -1 where it was not kept."""

    slot_of: Int[np.ndarray, "prompt column"]
    sites: Mapping[tuple[str, int], Float[Tensor, "prompt slot ..."]]

    def at(
        self, site: str, layer: int, prompt: np.ndarray, column: np.ndarray, head: np.ndarray | None
    ) -> Float[Tensor, "entry d"]:
        """Values at (prompt, column[, head])."""
        values = self.sites[site, layer]
        slot = self.slot_of[prompt, column]
        index = [prompt, slot] if head is None else [prompt, slot, head]
        return values[tuple(torch.from_numpy(i).to(values.device) for i in index)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """A site of one layer, averaged over prompts, at each of the corresponding places of a position."""

    values: Float[Tensor, "place ..."]

    def at(self, place: np.ndarray, head: np.ndarray | None) -> Float[Tensor, "entry d"]:
        """Values at (place[, head])."""
        index = [place] if head is None else [place, head]
        return self.values[tuple(torch.from_numpy(i).to(self.values.device) for i in index)]


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseRun:
    """All that patched rows read of the run they are patched into; columns aligned at the prompts' ends.

    resid: stream into each block, and, last, out of the last one, at the last columns ("suffix"); keys, values: of every
    layer at all columns; bias: additive mask of the suffix queries (None: hides nothing); final: what goes into the
    unembedding at the columns that are read out.
    """

    ids: Int[Tensor, "prompt column"]
    ends: Int[np.ndarray, " prompt"]
    resid: tuple[Float[Tensor, "prompt suffix d_model"], ...]
    keys: Mapping[int, Float[Tensor, "prompt kv_head column d_head"]]
    values: Mapping[int, Float[Tensor, "prompt kv_head column d_value"]]
    bias: Mapping[int, Float[Tensor, "prompts heads suffix column"] | None]
    rules: Mapping[int, Rules]
    final: Float[Tensor, "prompt read d_model"]

    @property
    def width(self) -> int:
        """Columns: the longest prompt."""
        return self.ids.shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Notes:
    """What is written down of a base run while it runs."""

    resid: dict[int, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    bias: dict[int, Tensor | None] = field(default_factory=dict)
    rules: dict[int, Rules] = field(default_factory=dict)
    unsure: dict[int, bool] = field(default_factory=dict)


@contextmanager
def _noting_base(lm: LM, batch: Batch, ends: Int[np.ndarray, " prompt"], suffix: int, rows: slice) -> Iterator[_Notes]:
    """Write down the base run that stands in some rows of the batch that runs."""
    notes, width = _Notes(), int(ends.max())
    seen: dict[int, tuple[Tensor | None, Tensor | None]] = {}  # masks are shared between layers: align each once

    def before(call: BlockCall) -> None:
        if call.resid.ndim != 3:
            raise UnsupportedError("the stream is not [batch pos d_model]", found=str(tuple(call.resid.shape)))
        notes.resid[call.layer] = aligned(call.resid[rows], ends, axis=1, last=suffix).clone()

    def after(layer: int, stream: Tensor) -> None:
        if layer == lm.n_layers - 1:
            notes.resid[lm.n_layers] = aligned(stream[rows], ends, axis=1, last=suffix).clone()

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        layer = call.layer
        notes.rules[layer] = rules_of(call)
        notes.keys[layer] = aligned(call.key[rows], ends, axis=2, last=width)
        notes.values[layer] = aligned(call.value[rows], ends, axis=2, last=width)
        known = next((pair for pair in seen.values() if pair[0] is not None and pair[0] is call.mask), None)
        if known is None:
            mask = additive_mask(call, notes.rules[layer])
            mask = mask[rows] if mask.shape[0] > 1 else mask
            notes.unsure[layer] = refuse_token_masks(lm, batch, mask, layer)
            known = (call.mask, suffix_bias(mask, ends, width=width, suffix=suffix))
        seen[layer] = known
        notes.bias[layer] = known[1]
        return call()

    with block_seam(lm.blocks, before=before, after=after), attention_seam(lm.attention_layers, attend):
        yield notes


def _base_run(
    lm: LM,
    batch: Batch,
    notes: _Notes,
    final: Float[Tensor, "prompt column d_model"],
    *,
    ends: Int[np.ndarray, " prompt"],
    read: Int[np.ndarray, "prompt read"],
) -> BaseRun:
    doubts = [layer for layer, doubt in notes.unsure.items() if doubt]
    if doubts and not same_masks(lm, int(batch.lengths[0])):
        raise token_mask(lm, min(doubts))
    return BaseRun(
        ids=aligned(batch.ids, ends, axis=1, last=int(ends.max())),
        ends=ends,
        resid=tuple(notes.resid[layer] for layer in range(lm.n_layers + 1)),
        keys=notes.keys,
        values=notes.values,
        bias=notes.bias,
        rules=notes.rules,
        final=at_columns(final, read),
    )


@torch.no_grad()
def record_base(
    lm: LM, batch: Batch, *, ends: Int[np.ndarray, " prompt"], suffix: int, read: Int[np.ndarray, "prompt read"]
) -> BaseRun:
    """Run the base prompts once and keep what a descent over the last `suffix` columns needs."""
    with _noting_base(lm, batch, ends, suffix, slice(None)) as notes:
        final = final_stream(lm, forward_inputs(lm, batch))
    return _base_run(lm, batch, notes, final, ends=ends, read=read)


def at_columns(x: Float[Tensor, "prompt column *place"], columns: Int[np.ndarray, "prompt slot"]) -> Tensor:
    """x at chosen columns of each prompt (-1 reads column 0; nobody uses it)."""
    index = torch.from_numpy(np.maximum(columns, 0)).to(x.device)
    return x[torch.arange(x.shape[0], device=x.device)[:, None], index]


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """Sites (site -> layers) of a batch at some columns."""

    batch: Batch
    sites: Mapping[str, Collection[int]]
    columns: Int[np.ndarray, "prompt slot"]


@contextmanager
def _noting_sites(lm: LM, wanted: Wanted, rows: slice) -> Iterator[dict[tuple[str, int], Tensor]]:
    """Write down sites of the run that stands in some rows of the batch that runs."""
    sites: dict[tuple[str, int], Tensor] = {}
    streams: dict[int, Tensor] = {}

    def keep(site: str, layer: int, value: Tensor) -> None:
        if layer in wanted.sites.get(site, ()):
            sites[site, layer] = at_columns(value[rows], wanted.columns)

    def before(call: BlockCall) -> None:
        keep("resid_pre", call.layer, call.resid)
        streams[0] = call.resid

    def after(layer: int, stream: Tensor) -> None:
        keep("resid_post", layer, stream)

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        for site, value in (("q", call.query), ("k", call.key), ("v", call.value)):
            keep(site, call.layer, rearrange(value, "batch head pos d -> batch pos head d"))
        if call.layer in wanted.sites.get("pattern", ()):
            keep("pattern", call.layer, attention_rows(call))
        z, pattern = call()
        keep("z", call.layer, z)
        return z, pattern

    with (
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend),
        writer_seam(lm, wanted.sites, keep, lambda: streams[0]),
    ):
        yield sites


def _recording(wanted: Wanted, sites: Mapping[tuple[str, int], Tensor]) -> Recording:
    slot_of = np.full(tuple(wanted.batch.ids.shape), -1, dtype=np.int64)
    for prompt, row in enumerate(wanted.columns):
        for slot, column in enumerate(row.tolist()):
            if column >= 0:
                slot_of[prompt, column] = slot
    return Recording(slot_of=slot_of, sites=sites)


@torch.no_grad()
def record_sites(
    lm: LM, batch: Batch, wants: Mapping[str, Collection[int]], columns: Int[np.ndarray, "prompt slot"]
) -> Recording:
    """Run prompts once and keep the wanted sites (site -> layers) at the given columns."""
    wanted = Wanted(batch=batch, sites=wants, columns=columns)
    with _noting_sites(lm, wanted, slice(None)) as sites:
        final_stream(lm, forward_inputs(lm, batch))
    return _recording(wanted, sites)


def can_share(base: Batch, source: Batch, *, most: int) -> bool:
    """Whether two batches can go through the model as one without padding, and are small enough to gain by it."""
    same = base.ids.shape[1] == source.ids.shape[1] and not base.padded and not source.padded
    return same and base.ids.numel() + source.ids.numel() <= most


@torch.no_grad()
def record_together(
    lm: LM,
    batch: Batch,
    wanted: Wanted,
    *,
    ends: Int[np.ndarray, " prompt"],
    suffix: int,
    read: Int[np.ndarray, "prompt read"],
) -> tuple[BaseRun, Recording]:
    """A base run and the sites of a source run from one pass over both: larger products, the same numbers."""
    n = len(batch)
    with (
        _noting_base(lm, batch, ends, suffix, slice(0, n)) as notes,
        _noting_sites(lm, wanted, slice(n, None)) as sites,
    ):
        final = final_stream(lm, {"input_ids": torch.cat([batch.ids, wanted.batch.ids])})
    return _base_run(lm, batch, notes, final[:n], ends=ends, read=read), _recording(wanted, sites)
