"""What a decoder is made of, discovered by running it once on a few tokens; never read from a table per family.

The list of blocks is the direct-child ModuleList of length `num_hidden_layers` of the decoder. Which modules are
attention, how many heads they have and how wide those are is what arrives at the attention seam.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Sizes of one attention layer as they arrive at the seam."""

    n_heads: int
    n_kv_heads: int
    d_head: int  # width of query and key
    d_value: int  # width of value and z; differs from d_head in latent attention
    kv_head_of: tuple[int, ...]  # query head -> the kv head it reads


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Blocks of the text decoder, and the attention module and shape of each (None where the seam is not reached)."""

    decoder: nn.Module
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module | None, ...]
    shapes: tuple[AttentionShape | None, ...]
    calls: tuple[int, ...]  # how often each block's attention reached the seam in one forward
    block_calls: tuple[int, ...]  # how often each block was called in one forward
    d_model: int  # width of the residual stream
    d_vocab: int  # logits per position


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The text decoder inside a causal language model."""
    decoder = model.get_decoder()
    return decoder if isinstance(decoder, nn.Module) else model


def find_blocks(model: PreTrainedModel) -> tuple[nn.Module, tuple[nn.Module, ...]]:
    """The module that holds the decoder blocks, and the blocks."""
    config: Any = model.config.get_text_config(decoder=True)
    # "num_layers" counts blocks where "num_hidden_layers" counts the attentions in them (longcat)
    lengths = [int(config.num_hidden_layers), *([int(config.num_layers)] if "num_layers" in vars(config) else [])]
    # the whole model last: in a few classes `get_decoder` is the output projection, which they call decoder
    for n_layers in lengths:
        for owner in (*text_decoder(model).modules(), *model.modules()):
            lists = [child for child in owner.children() if isinstance(child, nn.ModuleList) and len(child) == n_layers]
            if len(lists) == 1:
                return owner, tuple(lists[0])
    raise UnsupportedError(
        f"no list of decoder blocks in {type(model).__name__}",
        found=f"no single direct-child ModuleList of length num_hidden_layers = {lengths[0]}",
        allowed="decoder-only causal language models",
    )


@dataclass(kw_only=True)
class _Seen:
    """What passed the seams during one forward pass."""

    current: int = -1
    d_model: int = 0
    blocks: Counter[int] = field(default_factory=Counter)
    calls: Counter[int] = field(default_factory=Counter)
    modules: dict[int, nn.Module] = field(default_factory=dict)
    shapes: dict[int, AttentionShape] = field(default_factory=dict)

    def before(self, call: BlockCall) -> None:
        self.current = call.layer
        self.blocks[call.layer] += 1
        self.d_model = self.d_model or call.resid.shape[-1]

    def handler(self, call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        self.calls[self.current] += 1
        if self.current not in self.shapes:
            self.modules[self.current] = call.module
            self.shapes[self.current] = _shape(call)
        return call()


@torch.no_grad()
def discover(model: PreTrainedModel, n_tokens: int = 5) -> Structure:
    """Run the model once on a few tokens and write down what reached the seams."""
    decoder, blocks = find_blocks(model)
    seen = _Seen()
    embedding: Any = model.get_input_embeddings()
    ids = torch.arange(1, n_tokens + 1, device=model.device)[None] % len(embedding.weight)
    everything = dict.fromkeys(model.modules(), -1)
    with block_seam(blocks, before=seen.before), attention_seam(everything, seen.handler):
        logits = model(input_ids=ids, use_cache=False).logits
    layers = range(len(blocks))
    times = Counter(seen.modules.values())  # a module that several blocks share cannot tell its layer
    own = {layer: module for layer, module in seen.modules.items() if layer >= 0 and times[module] == 1}
    return Structure(
        decoder=decoder,
        blocks=blocks,
        attentions=tuple(own.get(layer) for layer in layers),
        shapes=tuple(seen.shapes[layer] if layer in own else None for layer in layers),
        calls=tuple(seen.calls[layer] for layer in layers),
        block_calls=tuple(seen.blocks[layer] for layer in layers),
        d_model=int(seen.d_model),
        d_vocab=int(logits.shape[-1]),
    )


def _shape(call: AttentionCall) -> AttentionShape:
    return AttentionShape(
        n_heads=call.query.shape[1],
        n_kv_heads=call.key.shape[1],
        d_head=call.query.shape[3],
        d_value=call.value.shape[3],
        kv_head_of=_kv_head_of(call),
    )


def _kv_head_of(call: AttentionCall) -> tuple[int, ...]:
    """Which kv head each query head reads: every kv head is given its own number, in binary, as its values.

    Channel 0 of all values is 1 and channel j + 1 is bit j of the number of the kv head. Every query head then gives
    (its pattern's sum) x (1, bits of the kv head it reads), whatever its pattern is.
    """
    n_kv, d_value = call.value.shape[1], call.value.shape[3]
    n_bits = max(1, (n_kv - 1).bit_length())
    if n_bits + 1 > d_value:
        raise UnsupportedError("kv heads cannot be told apart", found=f"{n_kv} kv heads of width {d_value}")
    numbers = torch.arange(n_kv, device=call.value.device)
    bits = (numbers[:, None] >> torch.arange(n_bits, device=call.value.device)) & 1
    value = torch.zeros_like(call.value)
    value[..., 0] = 1
    value[..., 1 : n_bits + 1] = bits[None, :, None, :].to(value.dtype)
    z, _ = call.original(call.module, call.query, call.key, value, call.mask, **call.kwargs)
    last = z[0, -1].float()
    read = (last[:, 1 : n_bits + 1] / last[:, :1]).round().long().cpu()
    return tuple(int(number) for number in (read << torch.arange(n_bits)).sum(dim=-1))
