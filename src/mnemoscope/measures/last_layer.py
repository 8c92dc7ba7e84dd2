"""What the last layer does to a token, split and attributed: dilution and write, heads and MLP, what rests on the sink.

    drop = centred logit of the token before the last layer - after it  =  dilution + sum over components of their writes

(`mnemoscope.measures.suppression.drop`, methods.md B6.7; the effect is that of Lv et al. 2024, arXiv 2403.19521). A head's
write is split once more: what it brings from the first token (A[end, 0] v_0 W_O), on which idle attention rests, and the
rest. The control for "facts are suppressed" is `top_rows` on neutral text: the same drop for the token that the stream
before the last layer already has on top, since whatever is selected there must fall on average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.component import Component
from mnemoscope.engine.decompose import Decomposition, decompose
from mnemoscope.engine.record import record
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.errors import PromptError
from mnemoscope.measures.answer_rows import answer_rows, final_scale
from mnemoscope.measures.suppression import Drop, drop
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.head import unembed
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts


@dataclass(frozen=True, kw_only=True, eq=False)
class LastLayer:
    """One row per (prompt, position) that was asked.

    before, after: the stream around the last layer; parts [component row d_model]: what the layer's components add, in the
    order of `components` (heads, attention bias, MLP, others); residual: the layer's coefficient of the stream (1 nearly
    everywhere; `before` is already multiplied by it).
    """

    components: tuple[Component, ...]
    before: Float[Tensor, "row d_model"]
    after: Float[Tensor, "row d_model"]
    parts: Float[Tensor, "component row d_model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenDrop:
    """A token per row: its drop in logits, and probability and rank before and after the last layer (0 is the top)."""

    tokens: Int[Tensor, " row"]
    drop: Drop
    p_before: Float[Tensor, " row"]
    p_after: Float[Tensor, " row"]
    rank_before: Float[Tensor, " row"]
    rank_after: Float[Tensor, " row"]


def last_layer(lm: LM, prompts: Sequence[str] | Sequence[Prompt] | Batch, positions: str = "last") -> LastLayer:
    """Run prompts once and keep the last layer's parts at "last", or at "all" positions of prompts of equal length.

    Raises UnsupportedError where the stream is no sum (post-layer-norm) or the unembedding is not understood.
    """
    batch = prompts if isinstance(prompts, Batch) else tokenize(lm, prompts)
    if positions == "all" and batch.padded:
        raise PromptError("all positions of prompts of different length", allowed="prompts of equal length")
    found = decompose(lm, batch, positions)
    components, parts = _of_layer(found, lm.n_layers - 1)
    rows = rearrange(parts, "component batch pos d_model -> component (batch pos) d_model")
    after = rearrange(found.whole, "batch pos d_model -> (batch pos) d_model")
    return LastLayer(components=components, before=after - rows.sum(0), after=after, parts=rows)


def _of_layer(found: Decomposition, layer: int) -> tuple[tuple[Component, ...], Float[Tensor, "component batch pos d"]]:
    heads = [part.push() for part in found.heads if part.layer == layer]
    names = [c for c in found.components if c.layer == layer]
    others = [found.vectors[c][None] for c in names if c.kind != "head"]
    ordered = [c for c in names if c.kind == "head"] + [c for c in names if c.kind != "head"]
    return tuple(ordered), torch.cat([*heads, *others])


@torch.no_grad()
def token_drop(lm: LM, found: LastLayer, tokens: Int[Tensor, " row"]) -> TokenDrop:
    """Split the drop of one token per row; logits before any soft-cap, probabilities after it."""
    before, after = (unembed(lm, stream.to(lm.dtype)).float() for stream in (found.before, found.after))
    asked = tokens[:, None]
    split = drop(
        found.before,
        found.parts,
        final_scale(lm, found.before),
        final_scale(lm, found.after),
        answer_rows(lm, tokens).to(found.after),
    )
    return TokenDrop(
        tokens=tokens,
        drop=split,
        p_before=before.softmax(-1).gather(1, asked)[:, 0],
        p_after=after.softmax(-1).gather(1, asked)[:, 0],
        rank_before=exact_rank(before, asked)[:, 0],
        rank_after=exact_rank(after, asked)[:, 0],
    )


@torch.no_grad()
def top_rows(lm: LM, found: LastLayer) -> TokenDrop:
    """`token_drop` of the token that the logit lens before the last layer has on top: the control."""
    return token_drop(lm, found, unembed(lm, found.before.to(lm.dtype)).argmax(-1))


@torch.no_grad()
def standing_push(lm: LM, found: LastLayer) -> Float[Tensor, "component d_vocab"]:
    """Mean over rows of what every component adds to every token's centred logit: what its frequency slope is taken of."""
    every = answer_rows(lm, torch.arange(lm.d_vocab, device=found.after.device)).to(found.after)
    mean = einsum(found.parts, 1 / final_scale(lm, found.after), "component row d, row -> component d") / len(
        found.after
    )
    return mean @ every.T


@dataclass(frozen=True, kw_only=True, eq=False)
class Sink:
    """Last-layer heads at the last position: attention on the prompt's first token, and size and write of what comes from it.

    mass [head row]: A[end, first]. size, size_rest: |A_0 v_0 W_O| and |the rest of the head's output|. write: what the
    sink's part adds to the drop of a token (positive takes away). reason: why the parts are nan; "" if they are not.
    """

    mass: Float[Tensor, "head row"]
    size: Float[Tensor, "head row"]
    size_rest: Float[Tensor, "head row"]
    write: Float[Tensor, "head row"]
    reason: str


@torch.no_grad()
def sink(lm: LM, prompts: Batch, found: LastLayer, tokens: Int[Tensor, " row"]) -> Sink:
    """Split every last-layer head's output at the last position into what it brings from the first token, and the rest."""
    layer = lm.n_layers - 1
    seen: dict[str, Tensor] = {}

    def keep(_: int, sites: Mapping[str, Any]) -> None:
        seen.update(sites)

    columns = torch.stack([prompts.first, prompts.last], dim=1)
    record(lm, prompts, {"pattern": (layer,), "v": (layer,), "z": (layer,)}, columns, keep)
    first = prompts.first[:, None].expand(-1, seen["pattern"].shape[2])
    mass = seen["pattern"][:, 1].gather(-1, first[..., None])[..., 0]  # batch head
    part = block_parts(lm)[layer]
    heads = [i for i, c in enumerate(found.components) if c.kind == "head"]
    reason = _unsplit(part, heads)
    if reason or part.o_proj is None:
        hole = torch.full_like(mass.T, torch.nan)
        return Sink(mass=mass.T, size=hole, size_rest=hole, write=hole, reason=reason)
    shape = lm.shapes[layer]
    assert shape is not None
    value = seen["v"][:, 0][:, list(shape.kv_head_of)].float()
    brought = einsum(mass.float(), value, "row head, row head d -> row head d")
    matrix = part.o_proj.matrix().float() * (part.attn.coefficient if part.attn is not None else 1.0)
    vector = einsum(brought, matrix, "row head d, head d d_model -> head row d_model")
    along = answer_rows(lm, tokens).to(vector) / final_scale(lm, found.after).to(vector)[:, None]
    return Sink(
        mass=mass.T,
        size=vector.norm(dim=-1),
        size_rest=(found.parts[heads].to(vector) - vector).norm(dim=-1),
        write=-einsum(vector, along, "head row d, row d -> head row"),
        reason="",
    )


def _unsplit(part: Any, heads: Sequence[int]) -> str:
    """Why z is not mixed into the stream by a plain matrix; "" if it is."""
    if part.o_proj is None or not heads:
        return part.o_proj_reason or "the heads of this layer are not told apart"
    return "a post-norm stands behind the output projection" if part.o_proj.post is not None else ""
