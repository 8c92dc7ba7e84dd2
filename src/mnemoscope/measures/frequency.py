"""How often tokens occur, and the direction of the stream that says so (after Stolfo et al. 2024 on token-frequency neurons).

    u = (Cov W' + lambda I)^-1 cov(W', log f)        W': unembedding rows, gain and centring of the final norm folded in

Ridge regression of log counts on the rows: the stream's push along u is, of all pushes, the one whose logits follow log f best.
Tokens that do not occur (count 0) have no log count and are left out; the counts name their corpus (methods.md B6.8).
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from mnemoscope.errors import InputError
from mnemoscope.measures.answer_rows import answer_rows
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

RIDGE = 0.01  # lambda, in units of the mean variance of the rows
FEWEST = 20  # tokens that occur: below, there is no slope


def token_counts(lm: LM, texts: Iterable[str]) -> Int[np.ndarray, " d_vocab"]:
    """How often each token occurs in the texts; tokens that the tokenizer puts in front of a text are not counted."""
    counts = np.zeros(lm.d_vocab, dtype=np.int64)
    for text in texts:
        found = encode(lm.tokenizer, text, lm.bos)
        np.add.at(counts, np.array(found.ids[found.lead :], dtype=np.int64), 1)
    return counts


@torch.no_grad()
def frequency_direction(lm: LM, counts: Int[np.ndarray, " d_vocab"]) -> Float[Tensor, " d_model"]:
    """u, scaled to length 1, pointing to frequent tokens. Raises InputError where fewer than 20 tokens occur."""
    there = np.flatnonzero(counts > 0)
    if len(there) < FEWEST:
        raise InputError("a frequency direction needs tokens that occur", found=str(len(there)), allowed=f">= {FEWEST}")
    rows = answer_rows(lm, torch.from_numpy(there).to(lm.device)).double()
    rows = rows - rows.mean(dim=0)
    log = torch.from_numpy(np.log(counts[there])).to(rows)
    covariance = rows.T @ rows / len(rows)
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=rows.dtype, device=rows.device)
    u = torch.linalg.solve(covariance + ridge, rows.T @ (log - log.mean()) / len(rows))
    return (u / u.norm()).float()


def frequency_slope(
    push: Float[np.ndarray, "part d_vocab"], counts: Int[np.ndarray, " d_vocab"]
) -> tuple[Float[np.ndarray, " part"], int]:
    """Spearman correlation of what each part pushes with the log count, over tokens that occur, and their number.

    nan for a part that pushes all tokens alike, or where fewer than 20 tokens occur.
    """
    there = counts > 0
    n = int(there.sum())
    if n < FEWEST:
        return np.full(len(push), np.nan), n
    ranks = rankdata(push[:, there], axis=1)
    order = rankdata(counts[there])
    ranks, order = ranks - ranks.mean(axis=1, keepdims=True), order - order.mean()
    size = np.sqrt((ranks**2).sum(axis=1) * (order**2).sum())
    return np.where(size > 0, ranks @ order / np.where(size > 0, size, 1.0), np.nan), n
