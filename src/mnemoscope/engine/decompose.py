"""The residual stream after the last block as a sum of parts: embedding(s), every head, every MLP, biases. Exact.

    resid = sum_e embed_e + sum_l carry_l (sum_h head_lh + attn_bias_l + mlp_l)     Elhage et al. 2021, "residual stream"

Heads are split at the *input* of the output projection: gates and sub-norms between z and it are held at what they were.
A post-norm (Gemma 2, OLMo 2) is held at its recorded scale, residual multipliers are factors, carry_l is the product of
the later blocks' coefficients of the stream (1 nearly everywhere). Nothing of width d_model is made per head unless it is
asked for: `Decomposition.read` pushes a direction back through the projections instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.component import Component, Heads
from mnemoscope.engine.frozen import Frozen, frozen, wide
from mnemoscope.engine.record import trace_columns
from mnemoscope.engine.split import Splitter
from mnemoscope.errors import OptionError, UnsupportedError, VerificationError, listed
from mnemoscope.model.batch import Batch, forward_inputs, tokenize
from mnemoscope.model.head import normed, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts

PROVEN_ROWS = 64  # (prompt, position) pairs whose sum is compared with the recorded stream, every time


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """The stream after the last block at recorded positions, as parts.

    columns: recorded columns of the batch. whole: the recorded stream. vectors: parts that are one vector per position.
    heads: parts per head. final: the final norm held at its recorded scale (None: the model has none). error: largest
    |sum of parts - whole| / sum of |parts| over the proven rows; allowed: its bound, a few roundings. notes: layers whose
    heads are not told apart, and why.
    """

    lm: LM
    batch: Batch
    columns: Int[Tensor, "batch pos"]
    whole: Float[Tensor, "batch pos d_model"]
    vectors: Mapping[Component, Float[Tensor, "batch pos d_model"]]
    heads: tuple[Heads, ...]
    final: Frozen | None
    error: float
    allowed: float
    notes: tuple[str, ...] = ()

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """Embeddings first, then layer by layer: heads, attention bias, MLP, others. The order of every result."""
        heads = {heads.layer: heads for heads in self.heads}
        found = [c for c in self.vectors if c.layer is None]
        for layer in range(self.lm.n_layers):
            if layer in heads:
                found += [Component(kind="head", layer=layer, head=h) for h in range(heads[layer].o_proj.n_heads)]
            found += [c for c in self.vectors if c.layer == layer]
        return tuple(found)

    def select(self, *, kind: str | None = None, layer: int | None = None, head: int | None = None) -> list[int]:
        """Places of the components with these properties in every result. Raises if there are none."""
        wanted = {"kind": kind, "layer": layer, "head": head}
        given = {name: value for name, value in wanted.items() if value is not None}
        found = [i for i, c in enumerate(self.components) if all(getattr(c, n) == v for n, v in given.items())]
        if not found:
            kinds = ", ".join(dict.fromkeys(c.kind for c in self.components))
            raise OptionError("no component is like that", found=str(given), allowed=f"kinds {kinds}")
        return found

    def outputs(self) -> Float[Tensor, "component batch pos d_model"]:
        """Every part as a vector. Size: components x positions x d_model; see `read` for products with directions."""
        pushed = {heads.layer: heads.push() for heads in self.heads}
        return torch.stack(
            [pushed[_layer(c)][_head(c)] if c.kind == "head" else self.vectors[c] for c in self.components]
        )

    def normed(self) -> Float[Tensor, "component batch pos d_model"]:
        """Every part after the final norm held at its recorded scale; they sum to the normed stream minus `norm_bias`."""
        return self.outputs() if self.final is None else self.final.push(self.outputs())

    @property
    def norm_bias(self) -> Float[Tensor, " d_model"]:
        """The bias of the final norm: the part of the normed stream that no component brings."""
        return self.whole.new_zeros(self.whole.shape[-1]) if self.final is None else self.final.bias

    def read(self, direction: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "component batch pos"]:
        """<every part after the final norm, direction>: products that sum to <normed stream - norm_bias, direction>."""
        if direction.shape != self.whole.shape:
            raise OptionError(
                "a direction has another shape than the stream",
                found=str(tuple(direction.shape)),
                allowed=str(tuple(self.whole.shape)),
            )
        direction = direction.to(self.whole.device, self.whole.dtype)
        back = direction if self.final is None else self.final.pull(direction)
        of_heads = {heads.layer: heads.read(back.to(heads.given.device)).to(back.device) for heads in self.heads}
        return torch.stack(
            [
                of_heads[_layer(c)][_head(c)] if c.kind == "head" else (self.vectors[c] * back).sum(-1)
                for c in self.components
            ]
        )


def decompose(
    lm: LM,
    prompts: Sequence[str] | Sequence[Prompt] | Int[Tensor, "batch pos"] | Batch,
    positions: str = "last",
    *,
    align: str = "equal",
) -> Decomposition:
    """Run prompts once and split the stream after the last block at `positions` ("last", "all" or a role) into parts.

    Raises UnsupportedError where the model is no sum (post-layer-norm, streams of several lanes) or its final norm is not
    understood, VerificationError if the parts found do not sum to the recorded stream on these prompts.
    """
    refuse_undecomposable(lm)
    batch = prompts if isinstance(prompts, Batch) else tokenize(lm, prompts)
    columns = trace_columns(batch, positions, align)
    forward_inputs(lm, batch)  # whether the model can be padded is found by running it: not while we look on
    splitter = Splitter(lm=lm, columns=columns, streams={}, taken={})
    splitter.run(batch)
    vectors, heads, notes = splitter.parts()
    whole = splitter.streams["last"]
    error, allowed = _proven(lm, whole, vectors, heads)
    return Decomposition(
        lm=lm,
        batch=batch,
        columns=columns,
        whole=whole.to(wide(whole.dtype)),
        vectors=vectors,
        heads=heads,
        final=_final(lm, whole),
        error=error,
        allowed=allowed,
        notes=notes,
    )


def refuse_undecomposable(lm: LM) -> None:
    """Raise UnsupportedError where the stream after the last block is not a sum that we know how to split."""
    bad = [f"layer {layer}: {part.reason}" for layer, part in enumerate(block_parts(lm)) if part.reason]
    head = unembedding(lm)
    bad += [f"unembedding: {head.reason}"] if head.reason else []
    if len(head.steps) > 1:
        bad.append(f"{head.steps[1].name} stands between the final norm and the unembedding")
    if bad:
        raise UnsupportedError(f"{lm.name} has no additive decomposition", found=listed(dict.fromkeys(bad), most=3))


@torch.no_grad()
def _final(lm: LM, whole: Tensor) -> Frozen | None:
    head = unembedding(lm)
    if head.norm is None or head.head is None:
        return None
    return frozen(head.norm, whole, normed(lm, whole) / head.head.multiplier)


@torch.no_grad()
def _proven(lm: LM, whole: Tensor, vectors: Mapping[Component, Tensor], heads: Sequence[Heads]) -> tuple[float, float]:
    """Largest relative error of the sum over a few rows, and its bound. Raises VerificationError above it."""
    rows = torch.linspace(0, whole.shape[0] * whole.shape[1] - 1, PROVEN_ROWS).long().unique()

    def chosen(value: Tensor) -> Tensor:
        return value.flatten(0, 1)[rows.to(value.device)][:, None]

    target = chosen(whole).to(wide(whole.dtype))
    total, size = torch.zeros_like(target), torch.zeros_like(target[..., :1])
    for value in _some(vectors, heads, chosen):
        total += value.to(total.device)
        size += value.norm(dim=-1, keepdim=True).to(total.device)
    in_float32 = any(h.post is not None for h in heads)  # norms compute in float32, whatever the model's type
    allowed = 4 * max(torch.finfo(whole.dtype).eps, torch.finfo(torch.float32).eps if in_float32 else 0.0)
    error = float(((total - target).norm(dim=-1, keepdim=True) / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
    if not error <= allowed:
        raise VerificationError(
            f"the parts of the stream of {lm.name} do not sum to it",
            found=f"difference {error:.1e} of the sum of the parts' sizes",
            allowed=f"{allowed:.1e}",
        )
    return error, allowed


def _some(
    vectors: Mapping[Component, Tensor], heads: Sequence[Heads], chosen: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """All parts at chosen rows; the heads of a layer together."""
    found = [chosen(value) for value in vectors.values()]
    for layer in heads:
        held = layer.post
        post = held and Frozen(
            gain=held.gain, bias=held.bias, centres=held.centres, inverse=chosen(held.inverse), error=held.error
        )
        few = Heads(layer=layer.layer, o_proj=layer.o_proj, given=chosen(layer.given), post=post, factor=layer.factor)
        found.append(few.push().sum(0))
    return found


def _layer(component: Component) -> int:
    assert component.layer is not None
    return component.layer


def _head(component: Component) -> int:
    assert component.head is not None
    return component.head
