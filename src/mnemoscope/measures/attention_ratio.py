"""Attention ratio: do the tokens that answer look at what is relevant more than at what distracts?

Yousefi et al. 2023 (arXiv 2310.00313), their attention ratio analysis, made precise (group sizes divide, demonstrations and
sinks are in neither group); the null permutes which *sentence* is the relevant one.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def group_attention(
    pattern: Float[Tensor, "head query key"],
    keys: Bool[Tensor, "group key"],
) -> Float[Tensor, "head group"]:
    """Mean attention from the query tokens to the tokens of each group, divided by the group's size:

        a(g) = 1 / (|Q| |g|) sum over i in Q, k in g of A[i, k]

    pattern holds the rows of the query tokens only. In [0, 1]; nan for an empty group.
    """
    size = keys.sum(-1).to(pattern.dtype)
    total = torch.einsum("hqk,gk->hg", pattern, keys.to(pattern.dtype)) / pattern.shape[1]
    return total / size.where(size > 0, torch.nan)


def log_ratio(target: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log a(relevant) - log a(distractor), natural logarithm: 0 is no preference, log 2 twice the attention per token.

    nan where a group is empty or fully masked (its attention is exactly 0): a ratio to nothing is not a number.
    """
    defined = (target > 0) & (other > 0)
    return (target.log() - other.log()).where(defined, torch.nan)


def sentence_null(sentences: Float[Tensor, "... sentence"], relevant: int) -> Float[Tensor, "..."]:
    """The log ratio minus its mean over which sentence is called relevant, within one prompt:

        excess = R(relevant) - mean over sentences c of R(c),   R(c) = log a(c) - log mean over c' != c of a(c')

    sentences holds a(g) of every sentence of the passage (sizes already divided). 0 for a head that treats the sentences
    alike; position in the passage is balanced by the design, not here. nan with fewer than two sentences with attention.
    """
    n = sentences.shape[-1]
    if n < 2:
        return torch.full(sentences.shape[:-1], torch.nan)
    others = (sentences.sum(-1, keepdim=True) - sentences) / (n - 1)
    ratios = log_ratio(sentences, others)
    return ratios[..., relevant] - ratios.mean(-1)
