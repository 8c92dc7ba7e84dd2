"""The relation index: when a head attends to the head word of a relation, does it promote the tail?

Ren et al. 2024 (arXiv 2402.13055), Eq. 1 to 3, literally and repaired. A triple (t_s, relation, t_o) stands in a text with its
head token at position s and its tail token at o. Every position j >= max(s, o) is an opportunity. The gate asks
whether the head attends to s; the index is the tail's share of what the head promotes among the tokens visible so far.
This file turns the pushes of a head on context tokens into shares, nulls and percentiles; which vector is pushed through the head
makes the variant:

    RI-lit       W_E[t_j]                        the published formula: the raw embedding of the *current* token
    RI-src       W_E[t_s]                        the raw embedding of the attended token
    RI-ctx-src   the value the head read at s    what the attended position really holds
    RI-out       the head's whole output at j    direct logit attribution

RI-ctx-src and RI-out go through the final norm, gain folded and scale as recorded at j.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FLAT = 1e-4  # below this share of the largest possible spread rounding alone decides: undefined
FEWEST = 3  # context tokens needed for a share to mean anything


@dataclass(frozen=True, kw_only=True)
class Shares:
    """One number per head and opportunity; nan where undefined.

    index       the tail's share of the promotion, in [0, 1]
    null        mean share of the matched candidates: what a head scores that promotes this *type* of token from here
    percentile  share of same-type tokens promoted less than the tail, ties half: .5 whatever the temperature
    """

    index: Float[Tensor, "head event"]
    null: Float[Tensor, "head event"]
    percentile: Float[Tensor, "head event"]


def shares(
    logits: Float[Tensor, "head event context"],
    bound: Float[Tensor, "head event"],
    tail: Int[Tensor, " event"],
    visible: Bool[Tensor, "event context"],
    candidates: Bool[Tensor, "event context"],
    same_type: Bool[Tensor, "event context"],
) -> Shares:
    """Shares of promotion among the distinct tokens C visible at each opportunity.

        p = softmax(z)      q_u = max(0, p_u - mean over C of p)      index = q_tail / sum over C of q

    The softmax's normaliser cancels, so only the |C| context logits are needed: q_u is proportional to
    relu(expm1(z_u - max z) - mean expm1(z - max z)).

    candidates   same-type tokens other than t_s, t_o and t_j, on the tail's side of s and in its distance bin
    same_type    same-type tokens other than t_s, t_o and t_j
    bound        |x| |OV|_F max |W_U|, the largest spread the head could have

    Undefined (nan) where fewer than 3 tokens are visible, where max z - min z < 1e-4 bound, and where nothing is above the
    mean; the null also without candidates, the percentile without same-type tokens.
    """
    pushed = promotion(logits, bound, visible)
    at_tail = tail[None, :, None].expand(len(logits), -1, 1)
    index = pushed.q.gather(-1, at_tail)[..., 0] / pushed.total
    null = torch.einsum("hec,ec->he", pushed.q, candidates.float()) / candidates.sum(-1) / pushed.total
    z = logits.float()
    z_tail = z.gather(-1, at_tail)
    below = (z < z_tail).float() + 0.5 * (z == z_tail).float()
    percentile = torch.einsum("hec,ec->he", below, same_type.float()) / same_type.sum(-1)
    return Shares(
        index=index.where(pushed.defined, torch.nan),
        null=null.where(pushed.defined & candidates.any(-1), torch.nan),
        percentile=percentile.where(pushed.defined & same_type.any(-1), torch.nan),
    )


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a head promotes among visible tokens: q up to a common factor, its sum, and whether it means anything."""

    q: Float[Tensor, "head event context"]
    total: Float[Tensor, "head event"]
    defined: Bool[Tensor, "head event"]


def promotion(
    logits: Float[Tensor, "head event context"],
    bound: Float[Tensor, "head event"],
    visible: Bool[Tensor, "event context"],
) -> Promotion:
    """q_u = relu(expm1(z_u - max z) - mean over C of expm1(z - max z)); definition and conditions in `shares`."""
    z = logits.float()
    hidden = ~visible[None]
    n = visible.sum(-1)
    top = z.masked_fill(hidden, -torch.inf).amax(-1)
    spread = top - z.masked_fill(hidden, torch.inf).amin(-1)
    above = torch.expm1(z - top[..., None]).masked_fill(hidden, 0)  # exact for small differences, and cannot overflow
    q = (above - (above.sum(-1) / n)[..., None]).relu().masked_fill(hidden, 0)
    total = q.sum(-1)
    return Promotion(q=q, total=total, defined=(n[None] >= FEWEST) & (spread >= FLAT * bound) & (total > 0))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a head attends to the head word, per head and opportunity.

    ratio         A[j, s] / max over k != s of A[j, k]; > 1 exactly where s is the argmax
    ratio_no_sink the same over positions that are not sinks; nan where s is one
    """

    ratio: Float[Tensor, "head event"]
    ratio_no_sink: Float[Tensor, "head event"]

    def passes(self, tau: float) -> Bool[Tensor, "head event"]:
        """Published condition: s is the argmax and dominates the runner-up by more than tau (2.2 as published)."""
        return self.ratio > max(tau, 1.0)


def gate(
    pattern: Float[Tensor, "head event key"],
    source: Int[Tensor, " event"],
    visible: Bool[Tensor, "event key"],
    sinks: Bool[Tensor, " key"],
) -> Gate:
    """Dominance of the head word in each attention row: A^h[j, s] / max over visible k != s of A^h[j, k].

    pattern holds the rows of the opportunities' positions j, in fp32. Infinite where nothing else gets attention; with
    a single visible position the ratio is undefined (nan).
    """
    at_source = source[None, :, None].expand(len(pattern), -1, 1)
    own = pattern.gather(-1, at_source)[..., 0]
    others = visible.scatter(-1, source[:, None], False)

    def dominance(allowed: Bool[Tensor, "event key"]) -> Float[Tensor, "head event"]:
        rival = pattern.masked_fill(~allowed[None], -1.0).amax(-1)
        return (own / rival.clamp(min=torch.finfo(pattern.dtype).tiny)).where(allowed.any(-1), torch.nan)

    return Gate(
        ratio=dominance(others),
        ratio_no_sink=dominance(others & ~sinks).where(~sinks[source], torch.nan),
    )
