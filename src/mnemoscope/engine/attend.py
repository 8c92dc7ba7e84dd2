"""Attention over a shared prefix: many patched rows of one prompt read the base run's keys and values, never copies.

The rows of a descent differ from the base run only from some position on. What they attend to is the prefix, one copy
per prompt, and their own few suffix tokens. Everything a model family does to attention arrives at the seam as an
argument (scaling, soft-cap, sinks) or as the mask that the model built; an argument we do not know is refused.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.seams import AttentionCall

COMPUTED = frozenset({"scaling", "softcap", "s_aux", "sliding_window", "is_causal"})
INERT = frozenset({"dropout", "position_ids", "cache_position", "use_cache", "logits_to_keep"})
INERT_PREFIXES = ("output_",)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What one attention layer does besides queries times keys, as it arrived at the seam."""

    scaling: float
    softcap: float | None
    sinks: Float[Tensor, " head"] | None
    causal: bool
    window: int | None


def rules_of(call: AttentionCall) -> Rules:
    """Read the rules of a call; refuse a keyword that is neither computed here nor known to change nothing."""
    unknown = [
        name
        for name, value in call.kwargs.items()
        if value is not None and name not in COMPUTED | INERT and not name.startswith(INERT_PREFIXES)
    ]
    if unknown or (call.mask is not None and call.mask.ndim != 4):
        raise UnsupportedError(
            f"attention of layer {call.layer} ({type(call.module).__name__}) cannot be computed here",
            found=", ".join(sorted(unknown)) or f"a mask of {call.mask.ndim if call.mask is not None else 0} axes",
            allowed=", ".join(sorted(COMPUTED)) + "; masks [batch, 1 or head, query, key]",
            hint="the slow path (verify='slow')",
        )
    given, module = call.kwargs, call.module
    scaling = given.get("scaling")
    if scaling is None:
        scaling = getattr(module, "scaling", None)
    causal = given.get("is_causal")
    return Rules(
        scaling=float(call.query.shape[-1] ** -0.5 if scaling is None else scaling),
        softcap=given.get("softcap"),
        sinks=given.get("s_aux"),
        causal=bool(getattr(module, "is_causal", True) if causal is None else causal),
        window=given.get("sliding_window"),
    )


def additive_mask(call: AttentionCall, rules: Rules) -> Float[Tensor, "batch heads query key"]:
    """The mask of a call as numbers to add to the scores: the model's own, or what its absence means."""
    n_query, n_key = call.query.shape[2], call.key.shape[2]
    if call.mask is not None:
        mask = call.mask[..., :n_key]
        if mask.dtype != torch.bool:
            return mask.to(torch.float32)
        return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)
    query = torch.arange(n_key - n_query, n_key, device=call.query.device)[:, None]
    key = torch.arange(n_key, device=call.query.device)[None]
    hidden = (key > query) if rules.causal else torch.zeros_like(key > query)
    if rules.window is not None:
        hidden = hidden | (query - key >= rules.window)
    zeros = torch.zeros((1, 1, n_query, n_key), device=call.query.device)
    return zeros.masked_fill_(hidden, -torch.inf)


def positional(mask: Float[Tensor, "batch heads query key"], length: int) -> bool:
    """Whether a mask is plainly causal, with or without a sliding window: then it cannot depend on the tokens."""
    part = mask[:, :, :length, :length]
    hidden = part < torch.finfo(torch.float16).min
    if not bool((hidden | (part == 0)).all()):
        return False
    window = int((~hidden[0, 0]).sum(dim=-1).max())
    distance = torch.arange(length, device=mask.device)[:, None] - torch.arange(length, device=mask.device)[None]
    return bool((hidden == ((distance < 0) | (distance >= window))).all())


def weights(
    scores: Float[Tensor, "prompt kv_head cell group query key"],
    bias: Float[Tensor, "prompts heads query key"] | None,
    rules: Rules,
    dtype: torch.dtype,
) -> Float[Tensor, "prompt kv_head cell group query key"]:
    """Soft-cap, mask, sink and softmax (in float32), in this order: attention rows, which sum to < 1 beside a sink."""
    n_kv, group = scores.shape[1], scores.shape[3]
    scores = scores.float()
    if rules.softcap is not None:
        scores = rules.softcap * torch.tanh(scores / rules.softcap)
    if bias is not None:
        kv = n_kv if bias.shape[1] > 1 else 1
        scores = scores + rearrange(bias, "p (kv g) q k -> p kv 1 g q k", kv=kv)
    if rules.sinks is None:
        return torch.softmax(scores, dim=-1).to(dtype)
    sinks = rearrange(rules.sinks.float(), "(kv g) -> 1 kv 1 g 1 1", g=group)
    scores = torch.cat([scores, sinks.expand(*scores.shape[:-1], 1)], dim=-1)
    return torch.softmax(scores, dim=-1)[..., :-1].to(dtype)


def attend(
    query: Float[Tensor, "row head query d_head"],
    key: Float[Tensor, "row kv_head query d_head"],
    value: Float[Tensor, "row kv_head query d_value"],
    prefix: tuple[Float[Tensor, "prompt kv_head key d_head"], Float[Tensor, "prompt kv_head key d_value"]],
    rules: Rules,
    *,
    bias: Float[Tensor, "prompts heads query all_keys"] | None,
) -> Float[Tensor, "row query head d_value"]:
    """z of rows in the order (cell, prompt), each reading its prompt's prefix and its own suffix.

    bias: rows of the additive mask for the suffix queries over prefix and suffix keys; None hides nothing.
    """
    p, kv, n_prefix, _ = prefix[0].shape
    g, q = query.shape[1] // kv, query.shape[2]
    grouped = rearrange(query * rules.scaling, "(cell p) (kv g) q d -> p kv (cell g q) d", p=p, kv=kv)
    to_prefix = rearrange(grouped @ prefix[0].mT, "p kv (cell g q) k -> p kv cell g q k", g=g, q=q)
    own_key, own_value = (rearrange(x, "(cell p) kv k d -> p kv cell k d", p=p) for x in (key, value))
    own_query = rearrange(grouped, "p kv (cell g q) d -> p kv cell (g q) d", g=g, q=q)
    to_own = rearrange(_products(own_query, own_key), "p kv cell (g q) k -> p kv cell g q k", q=q)
    pattern = weights(torch.cat([to_prefix, to_own], dim=-1), bias, rules, value.dtype)
    from_own = _mixed(rearrange(pattern[..., n_prefix:], "p kv cell g q k -> p kv cell (g q) k"), own_value)
    from_prefix = rearrange(pattern[..., :n_prefix], "p kv cell g q k -> p kv (cell g q) k") @ prefix[1]
    z = rearrange(from_prefix, "p kv (cell g q) d -> p kv cell (g q) d", g=g, q=q) + from_own
    # as transformers' functions give it: models call .view on it
    return rearrange(z, "p kv cell (g q) d -> (cell p) q (kv g) d", q=q).contiguous()


def _products(query: Tensor, key: Tensor) -> Tensor:
    """query key^T; one key per row is a sum of products: thousands of tiny matrix products cost more than they compute."""
    return (query * key).sum(dim=-1, keepdim=True) if key.shape[-2] == 1 else query @ key.mT


def _mixed(pattern: Tensor, value: Tensor) -> Tensor:
    return pattern * value if value.shape[-2] == 1 else pattern @ value


def attention_rows(call: AttentionCall) -> Float[Tensor, "batch query head key"]:
    """The attention pattern of a call, whatever function of transformers computes it."""
    rules = rules_of(call)
    n_kv = call.key.shape[1]
    query = rearrange(call.query * rules.scaling, "batch (kv g) q d -> batch kv 1 g q d", kv=n_kv)
    scores = query @ rearrange(call.key, "batch kv k d -> batch kv 1 1 d k")
    bias = additive_mask(call, rules)
    pattern = weights(scores, bias, rules, call.query.dtype)
    return rearrange(pattern, "batch kv 1 g q k -> batch q (kv g) k")
