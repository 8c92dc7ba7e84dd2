"""One forward pass, caught where the stream is written: the raw material of a decomposition.

Embeddings and writers are caught at their outputs, heads at the input of the output projection, at the chosen columns only.
A layer whose heads are not told apart (no output projection, or something behind it that cannot be held) gives its
attention as one part, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mnemoscope.engine.component import Component, Heads
from mnemoscope.engine.frozen import frozen, wide
from mnemoscope.engine.record import record
from mnemoscope.engine.rows import gathered
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch
from mnemoscope.model.embedding import embedding_parts
from mnemoscope.model.lm import LM
from mnemoscope.model.norm import FinalNorm, norm_facts
from mnemoscope.model.parts import BlockParts, Writer, block_parts
from mnemoscope.model.probe import first_tensor
from mnemoscope.model.seams import module_seam


@dataclass(frozen=True, kw_only=True, eq=False)
class Splitter:
    """What a decomposition is made of, caught in one forward pass at the chosen columns."""

    lm: LM
    columns: Tensor
    streams: dict[str, Tensor]  # "first", "last"
    taken: dict[str, Tensor]  # "layer/i" output of writer i, "layer/o in", "layer/o out", "embed/i"

    @torch.no_grad()
    def run(self, batch: Batch) -> None:
        """Run the batch once and keep what its parts are made of."""
        last = self.lm.n_layers - 1

        def each(layer: int, found: Mapping[str, Tensor]) -> None:
            self.streams.update({"first" if site == "resid_pre" else "last": value for site, value in found.items()})

        def before(key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            if key.endswith("/o"):
                given = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
                self.taken[f"{key} in"] = self._kept(key, given, batch)

        def after(key: str, output: Any) -> None:
            value = first_tensor(output)
            assert value is not None
            self.taken[f"{key} out"] = self._kept(key, value, batch)

        with module_seam(self._modules(), before=before, after=after):
            record(self.lm, batch, {"resid_pre": (0,), "resid_post": (last,)}, self.columns, each)

    def _modules(self) -> dict[str, nn.Module]:
        found = {f"embed/{i}": writer.module for i, writer in enumerate(embedding_parts(self.lm))}
        for layer, part in enumerate(block_parts(self.lm)):
            found |= {f"{layer}/{i}": writer.module for i, writer in enumerate(part.writers)}
            if part.o_proj is not None:
                found[f"{layer}/o"] = part.o_proj.module
        return found

    def _kept(self, key: str, value: Tensor, batch: Batch) -> Tensor:
        n_batch, n_pos = batch.ids.shape
        common = key.startswith("embed") and value.numel() == n_pos * self.lm.d_model  # positions, the same for all
        return gathered(value.reshape(1 if common else n_batch, n_pos, -1), self.columns)

    def parts(self) -> tuple[dict[Component, Tensor], tuple[Heads, ...], tuple[str, ...]]:
        """Vectors, heads, and notes on layers whose heads are not told apart."""
        blocks = block_parts(self.lm)
        carry = [prod(part.residual for part in blocks[layer:]) for layer in range(self.lm.n_layers + 1)]
        vectors = self._embeddings(carry[0])
        heads: list[Heads] = []
        notes: list[str] = []
        for layer, part in enumerate(blocks):
            for i, writer in enumerate(part.writers):
                factor = carry[layer + 1] * writer.coefficient
                split = self._heads(layer, part, factor) if writer is part.attn else ""
                if isinstance(split, Heads):
                    heads.append(split)
                    vectors |= _attention_bias(split, self.streams["last"])
                    continue
                notes += [f"layer {layer}: {split}"] if split else []
                value = self.taken[f"{layer}/{i} out"]
                vectors[_component(layer, part, writer)] = factor * value.to(wide(value.dtype))
        return vectors, tuple(heads), tuple(notes)

    def _embeddings(self, carry: float) -> dict[Component, Tensor]:
        writers = embedding_parts(self.lm)
        first = self.streams["first"]
        if len(writers) < 2:
            return {Component(kind="embed"): carry * first.to(wide(first.dtype))}
        tokens = self.lm.model.get_input_embeddings()
        found: dict[Component, Tensor] = {}
        for i, writer in enumerate(writers):
            name = "embed" if writer.module is tokens else writer.name.rpartition(".")[2]
            value = self.taken[f"embed/{i} out"]
            found[Component(kind="embed", name=name)] = carry * writer.coefficient * value.to(wide(value.dtype))
        return found

    def _heads(self, layer: int, part: BlockParts, factor: float) -> Heads | str:
        """The heads of a layer, or why they are not told apart."""
        o_proj = part.o_proj
        if o_proj is None or part.attn is None:
            return part.o_proj_reason
        given, out = self.taken[f"{layer}/o in"], self.taken[f"{layer}/o out"]
        post = None
        if o_proj.post is not None:
            facts = self.lm.once(f"post-norm {layer}", lambda: _post_facts(self.lm, part))
            try:
                post = frozen(facts, out, self.taken[f"{layer}/{part.writers.index(part.attn)} out"])
            except UnsupportedError as error:
                return str(error)
        split = given.reshape(*given.shape[:2], o_proj.n_heads, o_proj.width).to(wide(given.dtype))
        return Heads(layer=layer, o_proj=o_proj, given=split, post=post, factor=factor)


def _post_facts(lm: LM, part: BlockParts) -> FinalNorm:
    assert part.o_proj is not None
    assert part.o_proj.post is not None
    return norm_facts(part.o_proj.post, f"the post-norm of {part.o_proj.name}", lm.d_model, lm.dtype)


def _component(layer: int, part: BlockParts, writer: Writer) -> Component:
    kind = "attn" if writer is part.attn else "mlp" if writer is part.mlp else "other"
    return Component(kind=kind, layer=layer, name="" if kind != "other" else writer.name)


def _attention_bias(heads: Heads, like: Tensor) -> dict[Component, Tensor]:
    """What attention adds besides its heads: the projection's bias through the post-norm, and the post-norm's."""
    bias = heads.o_proj.bias().to(heads.given.dtype).expand(*heads.given.shape[:2], -1)
    if heads.post is not None:
        bias = heads.post.push(bias) + heads.post.bias
    component = Component(kind="attn_bias", layer=heads.layer)
    return {component: (heads.factor * bias).to(like.device)} if bool(bias.any()) else {}
