"""Whether a head attends to the head word of a relation: the gate of the relation index.

Ren et al. 2024 (arXiv 2402.13055), Eq. 1, on the model's own attention: s is the position attended most, and by more than tau
times the runner-up. Beside it the same among positions that are no sinks.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a head attends to the head word, per head and opportunity.

    ratio         A[j, s] / max over k != s of A[j, k]; > 1 exactly where s is the argmax
    ratio_no_sink the same over positions that are not sinks; nan where s is one
    dominance     per head and attending position, whatever the head word is: the largest weight over the runner-up
    attended      per head and attending position: the position with the largest weight
    sinks         which positions are sinks
    """

    ratio: Float[Tensor, "head event"]
    ratio_no_sink: Float[Tensor, "head event"]
    dominance: Float[Tensor, "head row"]
    attended: Int[Tensor, "head row"]
    sinks: Bool[Tensor, " key"]

    def passes(self, tau: float) -> Bool[Tensor, "head event"]:
        """Published condition: s is the argmax and dominates the runner-up by more than tau (2.2 as published)."""
        return self.ratio > max(tau, 1.0)


def gate(
    pattern: Float[Tensor, "head row key"],
    visible: Bool[Tensor, "row key"],
    sinks: Bool[Tensor, " key"],
    row: Int[Tensor, " event"],
    *sources: Int[Tensor, " event"],
) -> tuple[Gate, ...]:
    """Dominance of a word in each attention row: A^h[j, s] / max over visible k != s of A^h[j, k]; a gate for each set of words.

    pattern holds the attention of the positions j, in fp32; row says which of them an opportunity has. Infinite where
    nothing else gets attention; with a single visible position the ratio is undefined (nan).
    """
    whole, awake = _Rows.of(pattern, visible), _Rows.of(pattern, visible & ~sinks)
    dominance = whole.dominance()
    return tuple(
        Gate(
            ratio=whole.ratio(row, source),
            ratio_no_sink=awake.ratio(row, source).where(~sinks[source], torch.nan),
            dominance=dominance,
            attended=whole.place,
            sinks=sinks,
        )
        for source in sources
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Attention rows over the allowed keys (0 elsewhere), their largest weight with its place, and the second largest."""

    weights: Float[Tensor, "head row key"]
    allowed: Bool[Tensor, "row key"]
    first: Float[Tensor, "head row"]
    place: Int[Tensor, "head row"]
    second: Float[Tensor, "head row"]

    @classmethod
    def of(cls, pattern: Float[Tensor, "head row key"], allowed: Bool[Tensor, "row key"]) -> "_Rows":
        weights = pattern * allowed.to(pattern.dtype)
        first, place = weights.max(-1)
        second = weights.scatter(-1, place[..., None], 0.0).amax(-1)
        return cls(weights=weights, allowed=allowed, first=first, place=place, second=second)

    def ratio(self, row: Int[Tensor, " event"], source: Int[Tensor, " event"]) -> Float[Tensor, "head event"]:
        """Of the source against the largest other weight; nan without another key."""
        rival = torch.where(self.place[:, row] == source, self.second[:, row], self.first[:, row])
        others = self.allowed.sum(-1)[row] - self.allowed[row, source].long()
        return _over(self.weights[:, row, source], rival).where(others > 0, torch.nan)

    def dominance(self) -> Float[Tensor, "head row"]:
        """Of the largest against the second; nan without one."""
        return _over(self.first, self.second).where(self.allowed.sum(-1) > 1, torch.nan)


def _over(own: Float[Tensor, "..."], rival: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return own / rival.clamp(min=torch.finfo(own.dtype).tiny)
