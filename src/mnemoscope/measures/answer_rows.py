"""Reading the residual stream along answers: unembedding rows with the final norm's gain and centring folded in.

    logit_t(r) - mean over the vocabulary = <r, u'_t> / s(r) + constant        u'_t = P (g (w_t - mean w))

g is the gain of the final norm, P takes the mean over the channels out where that norm does, s(r) is what the norm divides
by. So a part x of the stream adds <x, u'_t> / s to the centred logit of t (Elhage et al. 2021), and the stream's size is in s
alone. Logit scale and multipliers are in u'; a soft-cap comes after all of this.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.decompose import refuse_undecomposable
from mnemoscope.engine.frozen import frozen, wide
from mnemoscope.engine.vocabulary import mean_row, token_rows
from mnemoscope.model.head import normed, unembedding
from mnemoscope.model.lm import LM


@torch.no_grad()
def answer_rows(lm: LM, tokens: Int[Tensor, "*token"]) -> Float[Tensor, "*token d_model"]:
    """u' of tokens, in logits times the unit of the stream; the mean runs over the tokens that the tokenizer can emit.

    Raises UnsupportedError where the unembedding is not a final norm and a linear map.
    """
    refuse_undecomposable(lm)
    rows = token_rows(lm, tokens).rows - mean_row(lm).rows
    facts = unembedding(lm).norm
    if facts is None:
        return rows
    rows = rows * facts.gain.to(rows)
    return rows - rows.mean(dim=-1, keepdim=True) if facts.centres else rows


@torch.no_grad()
def final_scale(lm: LM, stream: Float[Tensor, "row d_model"]) -> Float[Tensor, " row"]:
    """s of every stream: what the final norm divides it by, as it really did; 1 where there is no norm."""
    head = unembedding(lm)
    if head.norm is None or head.head is None:
        return torch.ones(stream.shape[0], dtype=wide(stream.dtype), device=stream.device)
    held = frozen(head.norm, stream[:, None], normed(lm, stream.to(lm.dtype))[:, None] / head.head.multiplier)
    return 1 / held.inverse[:, 0, 0]
