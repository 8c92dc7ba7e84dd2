"""Whether a layer has a site: one answer for recording and for patching."""

from mnemoscope.axes import HEAD_SITES, KV_SITES
from mnemoscope.engine.writers import WRITER_SITES, writer_reason
from mnemoscope.model.lm import LM

ATTENTION_SITES = (*HEAD_SITES, *KV_SITES)


def site_reason(lm: LM, site: str, layer: int) -> str:
    """Why a site of a layer can be neither recorded nor patched; "" if it can.

    A site is one value per forward pass: a block, or an attention, that is called several times has no such value.
    """
    if lm.structure.block_calls[layer] != 1:
        return f"the block is called {lm.structure.block_calls[layer]} times per forward"
    if site in WRITER_SITES:
        return writer_reason(lm, site, layer)
    if site not in ATTENTION_SITES:
        return ""
    if lm.attentions[layer] is None:
        return "no attention of this block reaches the attention interface"
    calls = lm.structure.calls[layer]
    return "" if calls == 1 else f"the attention of this block is called {calls} times per forward"
