"""What one run leaves behind: sites at chosen columns, and, of a base run, all that its patched rows will read.

Keys and values come from the run that is patched *into*, from our own store: a cache of transformers keeps only the
window of a sliding layer. Masks are the ones the model itself built, layer by layer. Columns of a base run are aligned
at the prompts' ends, so that one descent serves prompts of different length; where they are equal nothing is copied.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.attend import Rules, additive_mask, attention_rows, positional, rules_of
from mnemoscope.engine.writers import writer_seam
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch, forward_inputs
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam, module_seam


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


@contextmanager
def unembedding_input(lm: LM, kept: list[Tensor]) -> Iterator[None]:
    """Catch what goes into the unembedding and let it unembed nothing."""
    head = lm.model.get_output_embeddings()
    if head is None:
        raise UnsupportedError(f"{lm.name} has no unembedding module", found="get_output_embeddings() is None")

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kept.append(args[0])
        return (args[0][:0], *args[1:]), dict(kwargs)

    with module_seam({"unembedding": head}, before=before):
        yield


@torch.no_grad()
def final_stream(lm: LM, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch pos d_model"]:
    """What the model gives its unembedding, without unembedding it."""
    kept: list[Tensor] = []
    with unembedding_input(lm, kept):
        lm.model(**inputs, use_cache=False)
    return kept[0]


def aligned(x: Tensor, ends: Int[np.ndarray, " prompt"], *, axis: int, last: int) -> Tensor:
    """The `last` columns before each prompt's end along `axis`; columns before a prompt's start repeat its first."""
    if (ends == ends[0]).all() and last <= ends[0]:
        return x.narrow(axis, int(ends[0]) - last, last)
    index = torch.from_numpy(np.maximum(ends[:, None] - last + np.arange(last)[None], 0)).to(x.device)
    shape = [1] * x.ndim
    shape[0], shape[axis] = len(ends), last
    target = list(x.shape)
    target[0], target[axis] = len(ends), last
    return x.expand(len(ends), *x.shape[1:]).gather(axis, index.view(shape).expand(target))


def suffix_bias(
    mask: Float[Tensor, "prompts heads query key"], ends: Int[np.ndarray, " prompt"], *, width: int, suffix: int
) -> Float[Tensor, "prompts heads suffix column"] | None:
    """Mask rows of the last `suffix` queries over end-aligned keys; None if they hide nothing.

    Columns before a prompt's start are hidden; queries there read whatever they like: nobody reads them.
    """
    rows = aligned(aligned(mask, ends, axis=2, last=suffix), ends, axis=3, last=width)
    start = torch.from_numpy(width - ends).to(mask.device)
    column = torch.arange(width, device=mask.device)
    absent = column[None] < start[:, None]
    if bool(absent.any()):
        rows = rows.masked_fill(absent[:, None, None, :], -torch.inf)
        nobody = column[None, -suffix:] < start[:, None]
        rows = rows.masked_fill(nobody[:, None, :, None], 0.0)
    return rows.clone() if bool(rows.any()) else None


def refuse_token_masks(lm: LM, batch: Batch, mask: Float[Tensor, "batch heads query key"], layer: int) -> bool:
    """Raise for masks that depend on what the tokens are (sparse attention that selects keys): they answer to patches.

    Causal and sliding masks are recognised; any other mask must be the same for two prompts of equal length. True if
    there are no two such prompts to tell by.
    """
    lengths = batch.lengths.tolist()
    if all(positional(mask[i : i + 1] if mask.shape[0] > 1 else mask, n) for i, n in enumerate(lengths)):
        return False
    twin = next(((i, j) for j in range(len(lengths)) for i in range(j) if lengths[i] == lengths[j]), None)
    if twin is None:
        return True
    n = lengths[twin[0]]
    if mask.shape[0] > 1 and not torch.equal(mask[twin[0], :, :n, :n], mask[twin[1], :, :n, :n]):
        raise _token_mask(lm, layer)
    return False


def _token_mask(lm: LM, layer: int) -> UnsupportedError:
    return UnsupportedError(
        f"the attention mask of layer {layer} of {lm.name} depends on the tokens",
        found="other masks for other prompts of the same length",
        allowed="masks that follow from positions",
    )


def _same_masks(lm: LM, length: int) -> bool:
    """Whether two random prompts of a length get the same masks in every layer."""

    def find() -> bool:
        masks: list[Tensor] = []

        def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
            masks.append(additive_mask(call, rules_of(call)))
            return call()

        ids = torch.randint(0, lm.d_vocab, (2, length), generator=torch.Generator().manual_seed(0))
        with attention_seam(lm.attention_layers, attend):
            final_stream(lm, {"input_ids": ids.to(lm.device)})
        return all(mask.shape[0] == 1 or torch.equal(mask[0], mask[1]) for mask in masks)

    return lm.once(f"masks follow from positions at {length}", find)


@torch.no_grad()
def record_base(
    lm: LM, batch: Batch, *, ends: Int[np.ndarray, " prompt"], suffix: int, read: Int[np.ndarray, "prompt read"]
) -> BaseRun:
    """Run the base prompts once and keep what a descent over the last `suffix` columns needs."""
    width = int(ends.max())
    resid: dict[int, Tensor] = {}
    keys: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}
    bias: dict[int, Tensor | None] = {}
    rules: dict[int, Rules] = {}
    unsure: dict[int, bool] = {}
    seen: dict[int, tuple[Tensor | None, Tensor | None]] = {}  # masks are shared between layers: align each once

    def before(call: BlockCall) -> None:
        if call.resid.ndim != 3:
            raise UnsupportedError("the stream is not [batch pos d_model]", found=str(tuple(call.resid.shape)))
        resid[call.layer] = aligned(call.resid, ends, axis=1, last=suffix).clone()

    def after(layer: int, stream: Tensor) -> None:
        if layer == lm.n_layers - 1:
            resid[lm.n_layers] = aligned(stream, ends, axis=1, last=suffix).clone()

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        layer = call.layer
        rules[layer] = rules_of(call)
        keys[layer] = aligned(call.key, ends, axis=2, last=width)
        values[layer] = aligned(call.value, ends, axis=2, last=width)
        known = next((pair for pair in seen.values() if pair[0] is not None and pair[0] is call.mask), None)
        if known is None:
            mask = additive_mask(call, rules[layer])
            unsure[layer] = refuse_token_masks(lm, batch, mask, layer)
            known = (call.mask, suffix_bias(mask, ends, width=width, suffix=suffix))
        seen[layer] = known
        bias[layer] = known[1]
        return call()

    with block_seam(lm.blocks, before=before, after=after), attention_seam(lm.attention_layers, attend):
        final = final_stream(lm, forward_inputs(lm, batch))
    if any(unsure.values()) and not _same_masks(lm, int(batch.lengths[0])):
        raise _token_mask(lm, min(layer for layer, doubt in unsure.items() if doubt))
    return BaseRun(
        ids=aligned(batch.ids, ends, axis=1, last=width),
        ends=ends,
        resid=tuple(resid[layer] for layer in range(lm.n_layers + 1)),
        keys=keys,
        values=values,
        bias=bias,
        rules=rules,
        final=at_columns(final, read),
    )


def at_columns(x: Float[Tensor, "prompt column *place"], columns: Int[np.ndarray, "prompt slot"]) -> Tensor:
    """x at chosen columns of each prompt (-1 reads column 0; nobody uses it)."""
    index = torch.from_numpy(np.maximum(columns, 0)).to(x.device)
    return x[torch.arange(x.shape[0], device=x.device)[:, None], index]


@torch.no_grad()
def record_sites(
    lm: LM, batch: Batch, wants: Mapping[str, Collection[int]], columns: Int[np.ndarray, "prompt slot"]
) -> Recording:
    """Run prompts once and keep the wanted sites (site -> layers) at the given columns."""
    sites: dict[tuple[str, int], Tensor] = {}
    streams: dict[int, Tensor] = {}

    def keep(site: str, layer: int, value: Tensor) -> None:
        if layer in wants.get(site, ()):
            sites[site, layer] = at_columns(value, columns)

    def before(call: BlockCall) -> None:
        keep("resid_pre", call.layer, call.resid)
        streams[0] = call.resid

    def after(layer: int, stream: Tensor) -> None:
        keep("resid_post", layer, stream)

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        for site, value in (("q", call.query), ("k", call.key), ("v", call.value)):
            keep(site, call.layer, rearrange(value, "batch head pos d -> batch pos head d"))
        if call.layer in wants.get("pattern", ()):
            keep("pattern", call.layer, attention_rows(call))
        z, pattern = call()
        keep("z", call.layer, z)
        return z, pattern

    with (
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend),
        writer_seam(lm, wants, keep, lambda: streams[0]),
    ):
        final_stream(lm, forward_inputs(lm, batch))
    slot_of = np.full(tuple(batch.ids.shape), -1, dtype=np.int64)
    for prompt, row in enumerate(columns):
        for slot, column in enumerate(row.tolist()):
            if column >= 0:
                slot_of[prompt, column] = slot
    return Recording(slot_of=slot_of, sites=sites)
