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
class Asked:
    """What is read at each opportunity; tokens are indices into the text's distinct tokens, -1 where there is none.

    row      row of the pushes that belongs to it: opportunities whose pushed vector and visible tokens agree share one
    tail     the tail
    rivals   same-type tokens other than t_s, t_o and t_j that are visible
    matched  which of the rivals stand on the tail's side of s and in its distance bin
    redrawn  tails drawn in its place from the matched ones and itself: what a permutation looks at
    other    the published fake target: a fixed other token of the text
    """

    row: Int[Tensor, " event"]
    tail: Int[Tensor, " event"]
    rivals: Int[Tensor, "event rival"]
    matched: Bool[Tensor, "event rival"]
    redrawn: Int[Tensor, "event draw"]
    other: Int[Tensor, " event"]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """One number per head and opportunity; nan where undefined.

    index       the tail's share of the promotion, in [0, 1]
    null        mean share of the matched candidates: what a head scores that promotes this *type* of token from here
    percentile  share of same-type tokens promoted less than the tail, ties half: .5 whatever the temperature
    redrawn     index - null with another tail: a_u - mean of a over the other members of {matched, tail}
    other       the fake target's share
    """

    index: Float[Tensor, "head event"]
    null: Float[Tensor, "head event"]
    percentile: Float[Tensor, "head event"]
    redrawn: Float[Tensor, "head event draw"]
    other: Float[Tensor, "head event"]


def shares(
    logits: Float[Tensor, "head row context"],
    bound: Float[Tensor, "head row"],
    visible: Bool[Tensor, "row context"],
    asked: Asked,
) -> Shares:
    """Shares of promotion among the distinct tokens C visible at each opportunity.

        p = softmax(z)      q_u = max(0, p_u - mean over C of p)      index = q_tail / sum over C of q

    The softmax's normaliser cancels, so only the |C| context logits are needed: q_u is proportional to
    relu(expm1(z_u - max z) - mean expm1(z - max z)).

    bound        |x| |OV|_F max |W_U|, the largest spread the head could have

    Undefined (nan) where fewer than 3 tokens are visible, where max z - min z < 1e-4 bound, and where nothing is above the
    mean; the null also without matched tokens, the percentile without same-type tokens.
    """
    pushed = promotion(logits, bound, visible)
    total, defined = pushed.total[:, asked.row], pushed.defined[:, asked.row]

    def of(values: Float[Tensor, "head row context"], token: Int[Tensor, "..."]) -> Float[Tensor, "head ..."]:
        start = asked.row * values.shape[-1]
        return values.flatten(1)[:, token.clamp(min=0) + start.reshape(-1, *[1] * (token.ndim - 1))]

    index = of(pushed.q, asked.tail) / total
    rivals = of(pushed.q, asked.rivals) / total[..., None]
    n, sum_matched = asked.matched.sum(-1), (rivals * asked.matched).sum(-1)
    drawn = of(pushed.q, asked.redrawn) / total[..., None]
    rest = ((index + sum_matched)[..., None] - drawn) / n[:, None]
    z, z_tail = of(logits.float(), asked.rivals), of(logits.float(), asked.tail)[..., None]
    below = ((z < z_tail).float() + 0.5 * (z == z_tail).float()) * (asked.rivals >= 0)
    same = (asked.rivals >= 0).sum(-1)
    fair = defined & (n > 0)
    return Shares(
        index=index.where(defined, torch.nan),
        null=(sum_matched / n).where(fair, torch.nan),
        percentile=(below.sum(-1) / same).where(defined & (same > 0), torch.nan),
        redrawn=(drawn - rest).where(fair[..., None], torch.nan),
        other=(of(pushed.q, asked.other) / total).where(defined & (asked.other >= 0), torch.nan),
    )


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a head promotes among visible tokens: q up to a common factor, its sum, and whether it means anything."""

    q: Float[Tensor, "head row context"]
    total: Float[Tensor, "head row"]
    defined: Bool[Tensor, "head row"]


def promotion(
    logits: Float[Tensor, "head row context"],
    bound: Float[Tensor, "head row"],
    visible: Bool[Tensor, "row context"],
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
    dominance     per head and attending position, whatever the head word is: the largest weight over the runner-up
    """

    ratio: Float[Tensor, "head event"]
    ratio_no_sink: Float[Tensor, "head event"]
    dominance: Float[Tensor, "head row"]

    def passes(self, tau: float) -> Bool[Tensor, "head event"]:
        """Published condition: s is the argmax and dominates the runner-up by more than tau (2.2 as published)."""
        return self.ratio > max(tau, 1.0)


def gate(
    pattern: Float[Tensor, "head row key"],
    visible: Bool[Tensor, "row key"],
    sinks: Bool[Tensor, " key"],
    row: Int[Tensor, " event"],
    source: Int[Tensor, " event"],
) -> Gate:
    """Dominance of the head word in each attention row: A^h[j, s] / max over visible k != s of A^h[j, k].

    pattern holds the attention of the positions j, in fp32; row says which of them an opportunity has. Infinite where
    nothing else gets attention; with a single visible position the ratio is undefined (nan).
    """
    seen = pattern.masked_fill(~visible[None], -1.0)
    ratio, dominance = _dominance(seen, visible, row, source)
    awake = visible & ~sinks
    without, _ = _dominance(seen.masked_fill(sinks, -1.0), awake, row, source)
    return Gate(ratio=ratio, ratio_no_sink=without.where(~sinks[source], torch.nan), dominance=dominance)


def _dominance(
    seen: Float[Tensor, "head row key"],
    allowed: Bool[Tensor, "row key"],
    row: Int[Tensor, " event"],
    source: Int[Tensor, " event"],
) -> tuple[Float[Tensor, "head event"], Float[Tensor, "head row"]]:
    """Of the source against the largest other weight, and of the largest against the second."""
    first, place = seen.max(-1)
    second = seen.scatter(-1, place[..., None], -1.0).amax(-1)
    tiny = torch.finfo(seen.dtype).tiny
    rival = torch.where(place[:, row] == source, second[:, row], first[:, row])
    others = allowed.sum(-1)[row] - allowed[row, source].long()
    own = seen[:, row, source]
    several = allowed.sum(-1) > 1
    return (
        (own / rival.clamp(min=tiny)).where(others > 0, torch.nan),
        (first / second.clamp(min=tiny)).where(several, torch.nan),
    )
