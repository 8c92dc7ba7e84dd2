"""The LM: one view on any Hugging Face causal decoder. It adds names to the model; it never changes it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.structure import AttentionShape, Structure, discover


@dataclass(frozen=True, kw_only=True)
class LM:
    """A causal language model, its tokenizer, and what was discovered about its structure.

    bos: "auto" does what the tokenizer does; "yes" and "no" insist. Nothing is added or dropped silently.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    revision: str | None
    structure: Structure
    bos: str = "auto"

    @property
    def config(self) -> Any:
        """The text part of the model's configuration."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The decoder blocks, first to last."""
        return self.structure.blocks

    @property
    def attentions(self) -> tuple[nn.Module | None, ...]:
        """The attention module of each block; None where the block has none on the attention interface."""
        return self.structure.attentions

    @cached_property
    def attention_layers(self) -> dict[nn.Module, int]:
        """Attention module -> layer: what `attention_seam` acts on."""
        return {module: layer for layer, module in enumerate(self.attentions) if module is not None}

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @cached_property
    def shape(self) -> AttentionShape:
        """The one shape of all attention layers on the interface; raises if they differ."""
        shapes = {shape for shape in self.structure.shapes if shape is not None}
        if len(shapes) != 1:
            raise UnsupportedError(
                f"{self.name} has no single attention shape",
                found=", ".join(map(str, shapes)) or "no attention reaches the attention interface",
            )
        return shapes.pop()

    @property
    def n_heads(self) -> int:
        """Query heads per layer."""
        return self.shape.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads per layer."""
        return self.shape.n_kv_heads

    @property
    def d_head(self) -> int:
        """Width of a query head."""
        return self.shape.d_head

    @property
    def kv_head_of(self) -> tuple[int, ...]:
        """Query head -> the kv head it reads."""
        group = self.n_heads // self.n_kv_heads
        return tuple(head // group for head in range(self.n_heads))

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.config.hidden_size)

    @property
    def d_vocab(self) -> int:
        """Rows of the unembedding."""
        return int(self.config.vocab_size)

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.model.dtype


def view(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str = "",
    revision: str | None = None,
    bos: str = "auto",
) -> LM:
    """Discover the structure of a model that is in memory and give the view on it."""
    return LM(
        model=model,
        tokenizer=tokenizer,
        name=name or type(model).__name__,
        revision=revision,
        structure=discover(model),
        bos=bos,
    )
