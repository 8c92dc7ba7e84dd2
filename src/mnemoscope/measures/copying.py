"""Copying: does a head's output-value circuit raise the logit of the token that went in?

The other half of an induction head (Olsson et al. 2022). Computed literally, from raw embeddings and weights, and
repaired, from the values that the head really saw.
"""

import torch
from jaxtyping import Float
from torch import Tensor

FLAT = 1e-4  # below this share of the largest possible spread rounding alone decides


def own_share(
    logits: Float[Tensor, "head example token"],
    largest: Float[Tensor, " head"],
) -> Float[Tensor, "head example"]:
    """Share of the positive, centred push that goes to a token's own logit:

        q_u = max(0, z_u - mean_u z_u)        copying = q_t / sum_u q_u

    logits[h, t, u] is the push of token t, through head h, on token u; t and u run over the same m tokens. In [0, 1];
    1/m is chance for a head that ignores its input. nan where max z - min z < 1e-4 of `largest`, the bound
    |x| |OV| max |W_U|.
    """
    spread = logits.amax(-1) - logits.amin(-1)
    q = (logits - logits.mean(-1, keepdim=True)).relu()
    share = torch.diagonal(q, dim1=-2, dim2=-1) / q.sum(-1)
    return share.where(spread >= FLAT * largest[:, None], torch.nan)


def literal_logits(
    embeddings: Float[Tensor, "example d_model"],
    W_V: Float[Tensor, "head d_model d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    W_U: Float[Tensor, "d_model token"],
) -> tuple[Float[Tensor, "head example token"], Float[Tensor, " head"]]:
    """x W_V W_O W_U with raw embeddings x: no norm, no bias, no context, as published. And the bound for `own_share`.

    W_V is given per query head (the kv head it reads, repeated).
    """
    values = torch.einsum("em,hmd->hed", embeddings, W_V)
    logits = torch.einsum("hed,hdt->het", values, torch.einsum("hdm,mt->hdt", W_O, W_U))
    size = (W_V.flatten(1).norm(dim=1) * W_O.flatten(1).norm(dim=1)) * embeddings.norm(dim=1).max()
    return logits, size * W_U.norm(dim=0).max()


def contextual_logits(
    values: Float[Tensor, "head example d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    W_U: Float[Tensor, "d_model token"],
) -> tuple[Float[Tensor, "head example token"], Float[Tensor, " head"]]:
    """The same from the values that the head really saw at these positions, norms and earlier layers included."""
    logits = torch.einsum("hed,hdt->het", values, torch.einsum("hdm,mt->hdt", W_O, W_U))
    size = values.norm(dim=-1).amax(-1) * W_O.flatten(1).norm(dim=1)
    return logits, size * W_U.norm(dim=0).max()
