"""The LM: one view on any Hugging Face causal decoder. It adds names to the model; it never changes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mnemoscope.errors import UnsupportedError, choose
from mnemoscope.model.structure import AttentionShape, Structure, discover

T = TypeVar("T")

# What a configuration calls the longest text it was made for; the first that is there counts.
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")


@dataclass(frozen=True, kw_only=True, eq=False)
class LM:
    """A causal language model, its tokenizer, and what was discovered about its structure.

    bos: "auto" does what the tokenizer does; "yes" and "no" insist. Nothing is added or dropped silently.
    facts: gives where the weights came from (file hashes or hub commit); asked once, as `source`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    revision: str | None
    structure: Structure
    bos: str = "auto"
    facts: Callable[[], Mapping[str, str]] = dict

    def __repr__(self) -> str:
        heads = sorted({shape.n_heads for shape in self.shapes if shape is not None})
        size = f"{self.n_layers} layers" + (f" x {' or '.join(map(str, heads))} heads" if heads else "")
        name = self.name if self.revision is None else f"{self.name} {self.revision}"
        return f"<LM {name}: {type(self.model).__name__}, {size}, {str(self.dtype).removeprefix('torch.')} on {self.device}>"

    def once(self, what: str, find: Callable[[], T]) -> T:
        """What `find` finds, found once per LM and freed with it: discoveries cost forward passes."""
        kept = vars(self).setdefault("_found", {})
        if what not in kept:
            kept[what] = find()
        return kept[what]

    def forget(self, beginning: str) -> None:
        """Let go of what was found once under names that begin so."""
        kept = vars(self).get("_found", {})
        for what in [name for name in kept if name.startswith(beginning)]:
            del kept[what]

    @property
    def source(self) -> Mapping[str, str]:
        """Where the weights came from: hub id and commit, or sha256 of every file, or of the weights in memory."""
        return self.once("source", self.facts)

    def reason(self, capability: str) -> str:
        """Why this model lacks a capability that rests on the model alone; "" if it has it.

        The capabilities of the engine (patch-fast, patch-slow, decompose) are judged by `mnemoscope.check`.
        """
        from mnemoscope.model.capability import REASONS  # it builds on this class

        choose("capability of the model room", capability, tuple(REASONS))
        return REASONS[capability](self)

    @property
    def config(self) -> Any:
        """The text part of the model's configuration."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def decoder(self) -> nn.Module:
        """The module that holds the blocks."""
        return self.structure.decoder

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

    @property
    def shapes(self) -> tuple[AttentionShape | None, ...]:
        """Attention sizes of each block; None where no attention of the block reaches the interface."""
        return self.structure.shapes

    @cached_property
    def shape(self) -> AttentionShape:
        """The one shape of all attention layers on the interface; raises if they differ."""
        shapes = {shape for shape in self.shapes if shape is not None}
        if len(shapes) != 1:
            raise UnsupportedError(
                f"{self.name} has no single attention shape",
                found=", ".join(map(str, shapes)) or "no attention reaches the attention interface",
                hint="ask for lm.shapes[layer]",
            )
        return shapes.pop()

    def _common(self, size: str) -> int:
        values = sorted({getattr(shape, size) for shape in self.shapes if shape is not None})
        if len(values) != 1:
            raise UnsupportedError(
                f"{self.name} has no single {size}",
                found=f"{values}" if values else "no attention reaches the attention interface",
                hint="ask for lm.shapes[layer]",
            )
        return int(values[0])

    @property
    def n_heads(self) -> int:
        """Query heads per layer; raises if layers differ."""
        return self._common("n_heads")

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads per layer; raises if layers differ."""
        return self._common("n_kv_heads")

    @property
    def d_head(self) -> int:
        """Width of a query head; raises if layers differ."""
        return self._common("d_head")

    @property
    def d_value(self) -> int:
        """Width of a value head and of z; differs from d_head in latent attention."""
        return self._common("d_value")

    @property
    def kv_head_of(self) -> tuple[int, ...]:
        """Query head -> the kv head it reads, as seen at the seam; raises if layers differ."""
        maps = {shape.kv_head_of for shape in self.shapes if shape is not None}
        if len(maps) != 1:
            raise UnsupportedError(f"{self.name} has no single map from heads to kv heads", found=f"{len(maps)} maps")
        return maps.pop()

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.structure.d_model

    @property
    def d_vocab(self) -> int:
        """Logits per position: the number of token ids that a prompt may hold."""
        return self.structure.d_vocab

    @property
    def n_ctx(self) -> int | None:
        """Tokens of the longest text the model was made for; None where its configuration names no limit."""
        limits = (getattr(self.config, name, None) for name in _CONTEXT_NAMES)
        return next((int(limit) for limit in limits if isinstance(limit, int) and limit > 0), None)

    @property
    def fill_id(self) -> int:
        """The id that stands where there is no token; any valid id would do, none is ever attended to."""
        pad = getattr(self.config, "pad_token_id", None)
        return int(pad) if isinstance(pad, int) and 0 <= pad < self.d_vocab else 0

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer, for messages."""
        if self.tokenizer is None:
            return "none"
        return str(self.tokenizer.name_or_path or type(self.tokenizer).__name__)

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
    choose("BOS policy", bos, ("auto", "yes", "no"))
    return LM(
        model=model,
        tokenizer=tokenizer,
        name=name or type(model).__name__,
        revision=revision,
        structure=discover(model),
        bos=bos,
    )
