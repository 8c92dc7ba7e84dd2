"""What a decoder is made of, discovered by running it once on a few tokens; never read from a table per family.

The list of blocks is the direct-child ModuleList of length `num_hidden_layers` of the decoder. Which modules are
attention, how many heads they have and how wide those are is what arrives at the attention seam.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.seams import AttentionCall, attention_seam, block_seam


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Sizes of one attention layer as they arrive at the seam."""

    n_heads: int
    n_kv_heads: int
    d_head: int  # width of query and key
    d_value: int  # width of value and z; differs from d_head in latent attention


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Blocks of the text decoder, and the attention module and shape of each (None where the seam is not reached)."""

    decoder: nn.Module
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module | None, ...]
    shapes: tuple[AttentionShape | None, ...]
    calls: tuple[int, ...]  # how often each block's attention reached the seam in one forward


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The text decoder inside a causal language model."""
    decoder = model.get_decoder()
    return decoder if isinstance(decoder, nn.Module) else model


def find_blocks(model: PreTrainedModel) -> tuple[nn.Module, tuple[nn.Module, ...]]:
    """The module that holds the decoder blocks, and the blocks."""
    n_layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    for owner in (text_decoder(model), *text_decoder(model).modules()):
        lists = [child for child in owner.children() if isinstance(child, nn.ModuleList) and len(child) == n_layers]
        if len(lists) == 1:
            return owner, tuple(lists[0])
    raise UnsupportedError(
        f"no list of decoder blocks in {type(model).__name__}",
        found=f"no single direct-child ModuleList of length num_hidden_layers = {n_layers}",
        allowed="decoder-only causal language models",
    )


@torch.no_grad()
def discover(model: PreTrainedModel, n_tokens: int = 5) -> Structure:
    """Run the model once on a few tokens and write down what reached the seams."""
    decoder, blocks = find_blocks(model)
    current = -1
    seen: dict[int, list[AttentionCall]] = {}

    def before(call: Any) -> None:
        nonlocal current
        current = call.layer

    def handler(call: AttentionCall) -> Any:
        seen.setdefault(current, []).append(call)
        return call()

    ids = torch.arange(1, n_tokens + 1, device=model.device)[None] % int(model.config.get_text_config().vocab_size)
    everything = dict.fromkeys(model.modules(), -1)
    with block_seam(blocks, before=before), attention_seam(everything, handler):
        model(input_ids=ids, use_cache=False)
    calls = tuple(len(seen.get(layer, ())) for layer in range(len(blocks)))
    first = [seen[layer][0] if calls[layer] else None for layer in range(len(blocks))]
    return Structure(
        decoder=decoder,
        blocks=blocks,
        attentions=tuple(None if call is None else call.module for call in first),
        shapes=tuple(None if call is None else _shape(call) for call in first),
        calls=calls,
    )


def _shape(call: AttentionCall) -> AttentionShape:
    return AttentionShape(
        n_heads=call.query.shape[1],
        n_kv_heads=call.key.shape[1],
        d_head=call.query.shape[3],
        d_value=call.value.shape[3],
    )
