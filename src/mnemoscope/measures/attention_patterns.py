"""Scores of an attention pattern that need nothing but the tokens: prefix matching, previous token, duplicate token.

All three are one quantity, the attention that a head pays to a set of target keys, for three target sets; each has the
chance level of a head that spreads its attention evenly over what it can see. Definitions: Olsson
et al. 2022 and Bansal et al. 2022, as used in arXiv 2402.13055.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.errors import choose

KINDS = ("prefix_matching", "previous_token", "duplicate_token")


def targets(ids: Int[Tensor, "batch pos"], kind: str) -> Bool[Tensor, "batch pos pos"]:
    """Which keys k count for query i.

        prefix_matching   t_{k-1} = t_i with k - 1 < i: the token behind an earlier occurrence of the current one
        previous_token    k = i - 1
        duplicate_token   t_k = t_i with k < i

    k <= i always (a causal model sees nothing else).
    """
    choose("attention score", kind, KINDS)
    n = ids.shape[1]
    query, key = torch.arange(n, device=ids.device)[:, None], torch.arange(n, device=ids.device)[None, :]
    if kind == "previous_token":
        return (key == query - 1).expand(len(ids), n, n)
    earlier = (ids[:, :, None] == ids[:, None, :]) & (key < query)
    if kind == "duplicate_token":
        return earlier
    return torch.cat([torch.zeros_like(earlier[:, :, :1]), earlier[:, :, :-1]], dim=2)


def attention_to(
    pattern: Float[Tensor, "batch head pos pos"],
    wanted: Bool[Tensor, "batch pos pos"],
    queries: Bool[Tensor, "batch pos"],
) -> Float[Tensor, "batch head"]:
    """Attention paid to the wanted keys, averaged over the queries that have at least one:

        S^h = mean over i in Q of sum over wanted k of A^h[i, k],      Q = chosen queries with a wanted key

    A share of attention in [0, 1]. nan for a sequence in which no chosen query has a wanted key.
    """
    usable = queries & wanted.any(-1)
    paid = (pattern.float() * wanted[:, None]).sum(-1)
    return (paid * usable[:, None]).sum(-1) / usable.sum(-1)[:, None].where(usable.any(-1)[:, None], torch.nan)


def chance(wanted: Bool[Tensor, "batch pos pos"], queries: Bool[Tensor, "batch pos"]) -> Float[Tensor, " batch"]:
    """The same score of a head that attends evenly to all it sees: mean over i in Q of |wanted keys of i| / (i + 1)."""
    usable = queries & wanted.any(-1)
    seen = torch.arange(1, wanted.shape[1] + 1, device=wanted.device)
    share = wanted.sum(-1) / seen
    return (share * usable).sum(-1) / usable.sum(-1).where(usable.any(-1), torch.nan)
