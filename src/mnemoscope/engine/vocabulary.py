"""Directions to read the stream along: rows of the unembedding, their mean, and mean and variance of a vector's logits.

The mean and the variance of the logits of a vector x over the vocabulary need only the mean row and the d x d second
moment of W_U (one matrix product per model), never the d_vocab logits themselves (methods.md B6.9):

    mean = <m, x> + mean b        var = x' C x + 2 x' cov(w, b) + var b

over the rows that the tokenizer can emit: padded rows would shift both. All before any soft-cap, in logits.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemoscope.errors import PromptError, UnsupportedError
from mnemoscope.model.head import unembedding
from mnemoscope.model.lm import LM

ROWS = 8192  # vocabulary rows held in float32 at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Unembedding rows in units of logits: logit (before any soft-cap) = <normed stream, rows> + bias."""

    rows: Float[Tensor, "*token d_model"]
    bias: Float[Tensor, "*token"]


def token_rows(lm: LM, tokens: Int[Tensor, "*token"]) -> Rows:
    """Rows of W_U for tokens, logit scale and multipliers included, in float32 or better."""
    weight, bias, scale, multiplier = _weights(lm)
    foreign = tokens[(tokens < 0) | (tokens >= lm.d_vocab)]
    if foreign.numel():
        found = str(foreign.flatten().tolist()[:8])
        raise PromptError("tokens outside the vocabulary", found=found, allowed=f"0 to {lm.d_vocab - 1}")
    tokens = tokens.to(weight.device)
    rows = weight[tokens].to(_wide(weight)) * (scale * multiplier)
    zero = rows.new_zeros(tokens.shape)
    return Rows(rows=rows, bias=zero if bias is None else bias[tokens].to(rows.dtype) * scale)


def emittable(lm: LM) -> Bool[Tensor, " d_vocab"]:
    """Rows of the vocabulary that the tokenizer can emit; without a tokenizer, all of them."""
    found = torch.ones(lm.d_vocab, dtype=torch.bool)
    if lm.tokenizer is not None:
        ids = torch.tensor(sorted({int(i) for i in lm.tokenizer.get_vocab().values()}), dtype=torch.long)
        found[:] = False
        found[ids[(ids >= 0) & (ids < lm.d_vocab)]] = True
    return found


def mean_row(lm: LM) -> Rows:
    """The mean row of W_U over `emittable` tokens. Found once per LM."""
    return lm.once("mean unembedding row", lambda: _mean_row(lm))


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """First and second moments of the unembedding's rows w and biases b over the `n` emittable tokens; units: logits."""

    mean: Float[Tensor, " d_model"]
    covariance: Float[Tensor, "d_model d_model_2"]
    mean_bias: float
    bias_covariance: Float[Tensor, " d_model"]
    bias_variance: float
    n: int

    def centre(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """Mean over the vocabulary of the logits of a normed stream x."""
        return x.to(self.mean) @ self.mean + self.mean_bias

    def spread(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """Standard deviation over the vocabulary of the logits of a normed stream x (population, n in the divisor)."""
        x = x.to(self.mean)
        square = einsum(x, self.covariance, x, "... a, a b, ... b -> ...")
        return (square + 2 * x @ self.bias_covariance + self.bias_variance).clamp_min(0).sqrt()


def moments(lm: LM) -> Moments:
    """The moments of a model's unembedding. Found once per LM; costs d_vocab x d_model^2 products."""
    return lm.once("vocabulary moments", lambda: _moments(lm))


def zscore(
    lm: LM, x: Float[Tensor, "batch d_model"], tokens: Int[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """How far a token's logit stands out of the vocabulary's: (logit - mean) / standard deviation, before any soft-cap.

    x: the stream after the final norm (`mnemoscope.model.head.normed`), or a part of it. Undefined (nan) where the
    logits do not vary (standard deviation below 1e-6 of |x| times the largest spread of the rows).
    """
    found, rows = moments(lm), token_rows(lm, tokens)
    wide = x.to(rows.rows)
    logits = einsum(wide, rows.rows, "batch d_model, batch token d_model -> batch token") + rows.bias
    centre, spread = found.centre(wide)[:, None], found.spread(wide)[:, None]
    floor = 1e-6 * wide.norm(dim=-1)[:, None] * found.covariance.trace().sqrt()
    return torch.where(spread > floor, (logits - centre) / spread, torch.nan)


def exact_rank(
    logits: Float[Tensor, "*batch d_vocab"], tokens: Int[Tensor, "*batch token"]
) -> Float[Tensor, "*batch token"]:
    """Number of vocabulary entries with a larger logit, plus half of the others with an equal one; 0 is the top."""
    own = logits.gather(-1, tokens.to(logits.device))
    larger = torch.stack([(logits > value[..., None]).sum(-1) for value in own.unbind(-1)], -1)
    equal = torch.stack([(logits == value[..., None]).sum(-1) for value in own.unbind(-1)], -1) - 1
    return larger.double() + equal.double() / 2


def _weights(lm: LM) -> tuple[Tensor, Tensor | None, float, float]:
    head = unembedding(lm)
    module: Any = head.head.module if head.head is not None else None
    if head.reason or head.head is None or not isinstance(module, nn.Linear):
        found = head.reason or f"its output embedding is a {type(module).__name__}, not a linear map"
        raise UnsupportedError(f"{lm.name} has no unembedding rows", found=found)
    bias = None if module.bias is None else module.bias.detach()
    return module.weight.detach(), bias, head.scale, head.head.multiplier


def _wide(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)


@torch.no_grad()
def _mean_row(lm: LM) -> Rows:
    ids = emittable(lm).nonzero()[:, 0]
    total: Tensor | None = None
    bias = 0.0
    for chunk in ids.split(ROWS):
        found = token_rows(lm, chunk)
        part = found.rows.double().sum(0)
        total = part if total is None else total + part
        bias += float(found.bias.double().sum())
    assert total is not None
    mean = (total / len(ids)).to(_wide(_weights(lm)[0]))
    return Rows(rows=mean, bias=mean.new_tensor(bias / len(ids)))


@torch.no_grad()
def _moments(lm: LM) -> Moments:
    """Centred second moments in one pass over the rows, in float32 or better."""
    ids = emittable(lm).nonzero()[:, 0]
    first = mean_row(lm)
    d_model = first.rows.shape[-1]
    covariance, with_bias = first.rows.new_zeros(d_model, d_model), first.rows.new_zeros(d_model)
    variance = 0.0
    for chunk in ids.split(ROWS):
        found = token_rows(lm, chunk)
        rows, bias = found.rows - first.rows, found.bias - first.bias
        covariance += rows.T @ rows
        with_bias += rows.T @ bias
        variance += float((bias.double() ** 2).sum())
    n = len(ids)
    return Moments(
        mean=first.rows,
        covariance=covariance / n,
        mean_bias=float(first.bias),
        bias_covariance=with_bias / n,
        bias_variance=variance / n,
        n=n,
    )
