"""What the last layer does to the right answer, split exactly.

Lv et al. 2024 (arXiv 2403.19521) find that the last layer of every model they tested lowers the correct prediction. The final norm
is scale-invariant, so a drop has two exact parts: the residual stream grew (dilution), and something was written
against the answer (write). The split and its control are ours; the paper's score is the sum.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Logits lost by the answer in the last layer, relative to the vocabulary mean; positive is suppression.

    total = dilution + write exactly; write = sum of `parts`, one per component of the last layer.
    """

    total: Float[Tensor, " prompt"]
    dilution: Float[Tensor, " prompt"]
    write: Float[Tensor, " prompt"]
    parts: Float[Tensor, "component prompt"]


def drop(
    before: Float[Tensor, "prompt d_model"],
    parts: Float[Tensor, "component prompt d_model"],
    scale_before: Float[Tensor, " prompt"],
    scale_after: Float[Tensor, " prompt"],
    direction: Float[Tensor, "prompt d_model"],
) -> Drop:
    """Split the drop of an answer's logit between the streams before and after the last layer.

    With r the stream, D = r_L - r_{L-1} = sum of the parts that the last layer writes, s the final norm's scale of each stream
    and W'_Y the answer's unembedding direction (norm gain folded in, centred over the vocabulary; norm centring folded in):

        total    = r_{L-1} W'_Y / s_{L-1} - r_L W'_Y / s_L
        dilution = r_{L-1} W'_Y (1 / s_{L-1} - 1 / s_L)
        write    = - D W'_Y / s_L

    Units: logits before any soft-cap. The norm's bias cancels.
    """
    lens = torch.einsum("pm,pm->p", before, direction)
    written = torch.einsum("cpm,pm->cp", parts, direction)
    dilution = lens * (1 / scale_before - 1 / scale_after)
    share = -written / scale_after
    return Drop(total=dilution + share.sum(0), dilution=dilution, write=share.sum(0), parts=share)
