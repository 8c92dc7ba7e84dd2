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
    return read(logits, bound, Reading.of(visible, asked))


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What `read` needs besides the pushes, worked out once for all layers. Masks are numbers, to be added and multiplied.

    hidden         -inf at tokens that are not visible, 0 elsewhere; seen: 1 and 0; n: visible tokens
    row            as in `Asked`
    shares         places in a flat [row context] of the tail, the other token, the rivals and the redrawn tails
    ranks          of the tail and the rivals
    matched, there which rivals are matched, and which are rivals at all; several, same: how many
    fake           whether there is an other token
    """

    hidden: Float[Tensor, "row context"]
    seen: Float[Tensor, "row context"]
    n: Int[Tensor, " row"]
    row: Int[Tensor, " event"]
    shares: Int[Tensor, "event which"]
    ranks: Int[Tensor, "event tail_and_rival"]
    matched: Float[Tensor, "event rival"]
    there: Float[Tensor, "event rival"]
    several: Int[Tensor, " event"]
    same: Int[Tensor, " event"]
    fake: Bool[Tensor, " event"]

    @classmethod
    def of(cls, visible: Bool[Tensor, "row context"], asked: Asked) -> "Reading":
        """Plan the reading of `asked` on rows with those visible tokens."""
        start = (asked.row * visible.shape[-1])[
            :, None
        ]  # of the event's row; a token that is not there reads any place
        tail, other = asked.tail[:, None], asked.other[:, None]
        there = asked.rivals >= 0
        return cls(
            hidden=torch.zeros(visible.shape, device=visible.device).masked_fill(~visible, -torch.inf),
            seen=visible.float(),
            n=visible.sum(-1),
            row=asked.row,
            shares=start + torch.cat([tail, other, asked.rivals, asked.redrawn], dim=-1).clamp(min=0),
            ranks=start + torch.cat([tail, asked.rivals], dim=-1).clamp(min=0),
            matched=asked.matched.float(),
            there=there.float(),
            several=asked.matched.sum(-1),
            same=there.sum(-1),
            fake=asked.other >= 0,
        )


def read(logits: Float[Tensor, "head row context"], bound: Float[Tensor, "head row"], reading: Reading) -> Shares:
    """What is asked at every opportunity; definitions in `shares`."""
    q, total, defined = _promotion(logits, bound, reading)
    last, sure = 2 + reading.matched.shape[1], defined[:, reading.row]
    picked = _at(q, reading.shares) / total[:, reading.row, None]
    tail, other = picked[..., 0], picked[..., 1]
    matched = torch.einsum("her,er->he", picked[..., 2:last], reading.matched)
    members = ((tail + matched) / reading.several)[..., None]
    z = _at(logits, reading.ranks)
    sign = (z[..., :1] - z[..., 1:]).sign_()
    below = (torch.einsum("her,er->he", sign, reading.there) + reading.same) / 2  # ties count half
    fair = sure & (reading.several > 0)
    redrawn = picked[..., last:] * (1 + 1 / reading.several)[:, None] - members  # a_u - mean of the other members
    return Shares(
        index=tail.where(sure, torch.nan),
        null=(matched / reading.several).where(fair, torch.nan),
        percentile=(below / reading.same).where(sure & (reading.same > 0), torch.nan),
        redrawn=redrawn.where(fair[..., None], torch.nan),
        other=other.where(sure & reading.fake, torch.nan),
    )


def _promotion(
    logits: Float[Tensor, "head row context"], bound: Float[Tensor, "head row"], reading: Reading
) -> tuple[Float[Tensor, "head row context"], Float[Tensor, "head row"], Bool[Tensor, "head row"]]:
    """q_u = relu(expm1(z_u - max z) - mean over C of expm1(z - max z)), its sum over C, and whether it means anything.

    Hidden tokens are held at z = -inf, where expm1 is -1 and q is 0, because no mean lies below -1. This is where the measurement
    spends its time: filling by a mask of booleans would cost five times as much as adding one.
    """
    q = logits + reading.hidden
    top = q.amax(-1)
    spread = top - (logits - reading.hidden).amin(-1)
    q.sub_(top[..., None]).expm1_()  # exact for small differences, and cannot overflow
    mean = torch.einsum("hrc,rc->hr", q, reading.seen) / reading.n
    q.sub_(mean[..., None]).relu_()
    total = q.sum(-1)
    return q, total, (reading.n >= FEWEST) & (spread >= FLAT * bound) & (total > 0)


def _at(
    values: Float[Tensor, "head row context"], places: Int[Tensor, "event which"]
) -> Float[Tensor, "head event which"]:
    return values.flatten(1).index_select(1, places.flatten()).unflatten(1, tuple(places.shape))
