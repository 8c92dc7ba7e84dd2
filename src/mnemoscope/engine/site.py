"""Whether a layer has a site: one answer for recording and for patching."""

import torch

from mnemoscope.axes import HEAD_SITES, KV_SITES, RESIDUAL_SITES
from mnemoscope.engine.writers import WRITER_SITES, writer_reason
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import block_seam

ATTENTION_SITES = (*HEAD_SITES, *KV_SITES)


def site_reason(lm: LM, site: str, layer: int) -> str:
    """Why a site of a layer can be neither recorded nor patched; "" if it can.

    A site is one value per forward pass: a block, or an attention, that is called several times has no such value.
    """
    if lm.structure.block_calls[layer] != 1:
        return f"the block is called {lm.structure.block_calls[layer]} times per forward"
    if site in WRITER_SITES:
        return writer_reason(lm, site, layer)
    if site in RESIDUAL_SITES and _stream_shape(lm) != (1, 2, lm.d_model):
        return f"the stream between blocks is not [batch, pos, d_model] but {_stream_shape(lm)} for one prompt of two tokens"
    if site not in ATTENTION_SITES:
        return ""
    if lm.attentions[layer] is None:
        return "no attention of this block reaches the attention interface"
    calls = lm.structure.calls[layer]
    return "" if calls == 1 else f"the attention of this block is called {calls} times per forward"


def _stream_shape(lm: LM) -> tuple[int, ...]:
    """Shape of what goes into the first block for one prompt of two tokens; found once."""

    def find() -> tuple[int, ...]:
        shapes: list[tuple[int, ...]] = []
        ids = torch.full((1, 2), lm.fill_id, device=lm.device)
        with torch.no_grad(), block_seam(lm.blocks, before=lambda call: shapes.append(tuple(call.resid.shape))):
            lm.model(input_ids=ids, use_cache=False)
        return shapes[0]

    return lm.once("shape of the stream", find)
