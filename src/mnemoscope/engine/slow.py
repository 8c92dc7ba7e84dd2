"""The slow path: the same edits in whole forward passes of the model's own attention, one row per patched prompt.

It shares nothing with the descent but the edits: no store, no prefix, no attention of ours, and the model's own
unembedding. It is what the descent is verified against, and what remains for models that a descent cannot serve.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.edit import Edit, Key, edit_
from mnemoscope.engine.pattern import patched_attention
from mnemoscope.engine.store import at_columns
from mnemoscope.engine.writers import WRITER_SITES, writer_seam
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch, forward_inputs
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam, module_seam

Edits = Mapping[Key, Sequence[Edit]]


@contextmanager
def edited(lm: LM, edits: Edits) -> Iterator[None]:
    """While the context lasts, the model's own forward computes with the edits (rows and columns of its batch)."""
    stream: list[Tensor] = []

    def at(site: str, layer: int, value: Tensor) -> Tensor | None:
        found = edits.get((site, layer))
        return edit_(value.clone(memory_format=torch.contiguous_format), found) if found else None

    def before(call: BlockCall) -> BlockCall | None:
        resid = at("resid_pre", call.layer, call.resid)
        stream[:] = [call.resid if resid is None else resid]
        return None if resid is None else call.with_resid(resid)

    def after(layer: int, resid: Tensor) -> Tensor | None:
        return at("resid_post", layer, resid)

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        call = edited_call(call, edits)
        rows = edits.get(("pattern", call.layer))
        z, pattern = patched_attention(call, rows) if rows else call()
        new = at("z", call.layer, z)
        return (z if new is None else new), pattern

    wants = {site: [layer for name, layer in edits if name == site] for site in WRITER_SITES}
    with (
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend),
        writer_seam(lm, wants, at, lambda: stream[0]),
    ):
        yield


def edited_call(call: AttentionCall, edits: Edits) -> AttentionCall:
    """The attention call with q, k and v edited."""
    changed: dict[str, Tensor] = {}
    for site, name in (("q", "query"), ("k", "key"), ("v", "value")):
        found = edits.get((site, call.layer))
        if found:
            rows = rearrange(getattr(call, name), "row head pos d -> row pos head d").clone()
            changed[name] = rearrange(edit_(rows, found), "row pos head d -> row head pos d")
    return replace(call, **changed) if changed else call


@torch.no_grad()
def logits_at(
    lm: LM, batch: Batch, edits: Edits, read: Int[np.ndarray, "row read"]
) -> Float[Tensor, "row read d_vocab"]:
    """The model's own logits of an edited batch at the columns that are read; only those are unembedded."""
    head = lm.model.get_output_embeddings()
    if head is None:
        raise UnsupportedError(f"{lm.name} has no unembedding module", found="get_output_embeddings() is None")

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (at_columns(args[0], read), *args[1:]), dict(kwargs)

    with edited(lm, edits), module_seam({"unembedding": head}, before=before):
        return lm.model(**forward_inputs(lm, batch), use_cache=False).logits.float()
