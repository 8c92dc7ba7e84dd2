"""Weight matrices per head, and those between tokens and the stream, as far as a model has them.

Row vectors throughout. q = x W_Q + b_Q, with x the attention module's input (after the block's norm) and q before rotary,
times the constant by which some rotaries (yarn's) multiply q and k. z W_O + b_O, summed over heads, is what the attention
module gives (before a post-norm or multiplier). They are found by `mnemoscope.model.affine`, and proven. Where a map is
not affine (norms on q and k, latent attention, gates) there is no such matrix: the functions raise UnsupportedError with
the reason, and `weight_reason` gives it as text.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.affine import Affine, attention_map
from mnemoscope.model.head import Unembedding, rounded, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import BlockCall, block_seam

WEIGHTS = ("W_Q", "W_K", "W_V", "W_O", "W_E", "W_U")


def W_Q(lm: LM, layer: int) -> Float[Tensor, "head d_model d_head"]:
    """Query weights before rotary, one matrix per query head. Raises UnsupportedError where q is not affine."""
    return _matrix(lm, layer, "W_Q").W


def W_K(lm: LM, layer: int) -> Float[Tensor, "kv_head d_model d_head"]:
    """Key weights before rotary, one matrix per kv head. Raises UnsupportedError where k is not affine."""
    return _matrix(lm, layer, "W_K").W


def W_V(lm: LM, layer: int) -> Float[Tensor, "kv_head d_model d_head"]:
    """Value weights, one matrix per kv head. Raises UnsupportedError where v is not affine."""
    return _matrix(lm, layer, "W_V").W


def W_O(lm: LM, layer: int) -> Float[Tensor, "head d_head d_model"]:
    """Output weights, one matrix per query head. Raises UnsupportedError where the output is gated or normed."""
    return _matrix(lm, layer, "W_O").W


def b_Q(lm: LM, layer: int) -> Float[Tensor, "head d_head"]:
    """Query bias; zero where there is none."""
    return _matrix(lm, layer, "W_Q").b


def b_K(lm: LM, layer: int) -> Float[Tensor, "kv_head d_head"]:
    """Key bias; zero where there is none."""
    return _matrix(lm, layer, "W_K").b


def b_V(lm: LM, layer: int) -> Float[Tensor, "kv_head d_head"]:
    """Value bias; zero where there is none."""
    return _matrix(lm, layer, "W_V").b


def b_O(lm: LM, layer: int) -> Float[Tensor, " d_model"]:
    """Output bias of attention, shared by all heads; zero where there is none."""
    return _matrix(lm, layer, "W_O").b[0]


def weight_reason(lm: LM, name: str, layer: int = 0) -> str:
    """Why a model lacks one of WEIGHTS; "" if it is there."""
    if name == "W_U":
        return unembedding(lm).reason
    if name == "W_E":
        return _embedding(lm).reason
    return attention_map(lm, layer, name).reason


def _matrix(lm: LM, layer: int, name: str) -> Affine:
    found = attention_map(lm, layer, name)
    if found.reason:
        raise UnsupportedError(f"{lm.name} has no {name} in layer {layer}", found=found.reason)
    return found


def W_U(lm: LM) -> Float[Tensor, "d_model d_vocab"]:
    """Unembedding: normed stream @ W_U + b_U = logits before a soft-cap; the model's logit scale is in it.

    The normed stream is the final norm's output, gain and bias included. Raises UnsupportedError where the head is not
    understood.
    """
    head = _head(lm)
    assert head.head is not None
    steps = head.steps[1 if head.norm is not None else 0 :]
    W = _head_weight(lm, head)
    factor = head.scale * head.head.multiplier
    W = W if factor == 1 else W * factor
    for step in reversed(steps):
        W = _linear(step.module, lm, step.multiplier) @ W
    return W


def b_U(lm: LM) -> Float[Tensor, " d_vocab"]:
    """What the output embedding adds whatever it reads, logit scale included; zero where it has no bias."""
    head = _head(lm)
    assert head.head is not None
    module: Any = head.head.module
    width = module.weight.shape[1]
    zero = torch.zeros(width, dtype=lm.dtype, device=module.weight.device)
    with torch.no_grad():
        return module(zero)[: lm.d_vocab] * head.scale


def _head(lm: LM) -> Unembedding:
    head = unembedding(lm)
    if head.reason:
        raise UnsupportedError(f"{lm.name} has no W_U", found=head.reason)
    return head


@torch.no_grad()
def _head_weight(lm: LM, head: Unembedding) -> Tensor:
    assert head.head is not None
    module: Any = head.head.module
    if type(module).forward is nn.Linear.forward:
        return rearrange(module.weight[: lm.d_vocab].detach(), "d_vocab d_model -> d_model d_vocab")
    eye = torch.eye(lm.d_model, dtype=lm.dtype, device=lm.device)
    return (module(eye) - module(torch.zeros_like(eye[:1])))[:, : lm.d_vocab]


@torch.no_grad()
def _linear(module: nn.Module, lm: LM, multiplier: float) -> Tensor:
    eye = torch.eye(lm.d_model, dtype=lm.dtype, device=lm.device)
    return multiplier * (module(eye) - module(torch.zeros_like(eye[:1])))


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """What a token alone puts into the stream: multiplier x the embedding module's output. `reason` if it is not so."""

    module: nn.Module | None = None
    multiplier: float = 1.0
    error: float = float("nan")
    reason: str = ""


def W_E(lm: LM, ids: Int[Tensor, " token"] | None = None) -> Float[Tensor, "token d_model"]:
    """What each token alone puts into the stream before block 0, embedding multiplier included, positions not.

    ids: of these tokens only; None: of the whole vocabulary.

    Raises UnsupportedError where that is not a multiple of the embedding (a norm on it, a projection behind it).
    """
    found = _embedding(lm)
    if found.reason or found.module is None:
        raise UnsupportedError(f"{lm.name} has no W_E", found=found.reason)
    module: Any = found.module
    every = torch.arange(module.weight.shape[0], device=module.weight.device) if ids is None else ids
    with torch.no_grad():
        rows = module(every)
    return rows if found.multiplier == 1 else rows * found.multiplier


def embedding_multiplier(lm: LM) -> float:
    """What the embedding module's output is multiplied by on its way into the stream."""
    found = _embedding(lm)
    if found.reason:
        raise UnsupportedError(f"{lm.name} has no W_E", found=found.reason)
    return found.multiplier


def _embedding(lm: LM) -> Embedding:
    return lm.once("embedding", lambda: _find_embedding(lm))


@torch.no_grad()
def _find_embedding(lm: LM) -> Embedding:
    """Two texts at the same positions: the difference of their streams is a multiple of that of their embeddings."""
    module: Any = lm.model.get_input_embeddings()
    ids = torch.randint(0, lm.d_vocab, (2, 5), generator=torch.Generator().manual_seed(3)).to(lm.device)
    streams: list[Tensor] = []

    def before(call: BlockCall) -> None:
        if call.layer == 0:
            streams.append(call.resid)

    with block_seam(lm.blocks, before=before):
        lm.model(input_ids=ids, use_cache=False)
    rows = module(ids)
    if streams[0].shape != rows.shape:
        return Embedding(reason=f"the stream has the shape {tuple(streams[0].shape)}, embeddings {tuple(rows.shape)}")
    a, b = (value[0].double() - value[1].double() for value in (streams[0], rows))
    multiplier = float((a * b).sum() / (b * b).sum())
    error = float((a - multiplier * b).norm() / a.norm())
    if error > 8 * torch.finfo(lm.dtype).eps:
        return Embedding(reason=f"the stream is no multiple of the embedding (relative error {error:.1e})")
    return Embedding(module=module, multiplier=rounded(multiplier, lm.dtype), error=error)
