"""Loss reduction: are late tokens of a text easier than early ones? The first level of in-context learning.

Olsson et al. 2022 compare the loss of the 500th token with that of the 50th; Ren et al. 2024 (arXiv 2402.13055) take the idea over.
Here single tokens are replaced by windows of 21 (methods P1.4), because a single position of a few documents is mostly noise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.errors import InputError
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

EARLY = (40, 60)  # positions, both ends included
LATE = (490, 510)
SHORTEST = 128  # positions that a context must have for early and late to be told apart
LOGITS = 2**26  # logits of one forward pass


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Positions that are compared, both ends included; a token's position is the number of tokens in front of it.

    early, late  None where the context is too short: `reason` says so
    length       tokens that a document must have
    reason       "", or in what the windows differ from the published ones, or why there are none
    """

    early: tuple[int, int] | None
    late: tuple[int, int] | None
    length: int
    reason: str = ""


def windows(n_ctx: int | None) -> Windows:
    """Tokens 490 to 510 against 40 to 60; in shorter contexts the last 21 tokens against 40 to 60; nothing below 128 tokens."""
    if n_ctx is None or n_ctx > LATE[1]:
        return Windows(early=EARLY, late=LATE, length=LATE[1] + 1)
    if n_ctx < SHORTEST:
        return Windows(
            early=None, late=None, length=n_ctx, reason=f"a context of {n_ctx} tokens, {SHORTEST} are needed"
        )
    late = (n_ctx - 1 - (LATE[1] - LATE[0]), n_ctx - 1)
    return Windows(
        early=EARLY, late=late, length=n_ctx, reason=f"late tokens are {late[0]} to {late[1]}: short context"
    )


def text_rows(lm: LM, texts: Iterable[str], length: int) -> list[tuple[int, ...]]:
    """The first `length` tokens of every text that has so many, special tokens in front included; shorter ones are left out."""
    rows = (encode(lm.tokenizer, text, lm.bos).ids[:length] for text in texts)
    return [row for row in rows if len(row) == length]


def token_losses(lm: LM, rows: Sequence[Sequence[int]]) -> Float[np.ndarray, "document pos"]:
    """-log p(t_i | t_0 .. t_{i-1}) in nats for every token of equally long rows; nan for the first, which nothing predicts."""
    if not rows or len(set(map(len, rows))) > 1 or not rows[0]:
        raise InputError("losses are asked of equally long rows", found=f"lengths {sorted(set(map(len, rows)))[:6]}")
    per_pass = max(1, LOGITS // (len(rows[0]) * lm.d_vocab))
    found = [_losses(lm, torch.tensor(rows[i : i + per_pass], device=lm.device)) for i in range(0, len(rows), per_pass)]
    losses = torch.cat(found).double().numpy()
    return np.concatenate([np.full((len(rows), 1), np.nan), losses], axis=1)


@torch.no_grad()
def _losses(lm: LM, ids: Tensor) -> Float[Tensor, "document later"]:
    logits = lm.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    return (logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None])[..., 0]).cpu()


def loss_reduction(losses: Float[np.ndarray, "document pos"], within: Windows) -> Float[np.ndarray, " document"]:
    """Mean loss of the late tokens minus mean loss of the early ones, per document, in nats; negative is in-context learning.

    nan for every document where the context is too short (`within.reason`).
    """
    if within.early is None or within.late is None:
        return np.full(len(losses), np.nan)
    (a, b), (c, d) = within.early, within.late
    return losses[:, c : d + 1].mean(axis=1) - losses[:, a : b + 1].mean(axis=1)
