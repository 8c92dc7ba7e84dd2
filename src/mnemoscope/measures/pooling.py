"""One vector per prompt from the vectors of its tokens (Yousefi et al. 2023, arXiv 2310.00313: max pooling)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.errors import choose

POOLINGS = ("max", "mean", "last")


def pool(
    resid: Float[Tensor, "batch pos d_model"],
    chosen: Bool[Tensor, "batch pos"],
    how: str,
) -> Float[Tensor, "batch d_model"]:
    """Pool the chosen tokens' vectors, each dimension on its own.

    max    largest value over the tokens (as published; grows with the number of tokens, hence length-matched controls)
    mean   average over the tokens
    last   the last chosen token

    nan for a prompt without a chosen token.
    """
    choose("pooling", how, POOLINGS)
    none = ~chosen.any(-1, keepdim=True)
    if how == "max":
        pooled = resid.masked_fill(~chosen[..., None], -torch.inf).amax(1)
    elif how == "mean":
        pooled = (resid * chosen[..., None]).sum(1) / chosen.sum(-1, keepdim=True)
    else:
        last = chosen.shape[1] - 1 - chosen.flip(1).long().argmax(-1)
        pooled = resid[torch.arange(len(resid), device=resid.device), last]
    return pooled.masked_fill(none, torch.nan)
