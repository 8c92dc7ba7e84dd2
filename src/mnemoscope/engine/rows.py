"""Attention rows of the queries that are asked for, in float32, proven: rows times v must be the model's own z."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.engine.attend import additive_mask, rules_of, weights
from mnemoscope.errors import VerificationError
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall


def gathered(value: Tensor, columns: Int[Tensor, "batch pos"]) -> Tensor:
    """value [batch column ...] at chosen columns, as a copy."""
    columns = columns.to(value.device)
    if columns.shape == value.shape[:2] and bool((columns == torch.arange(value.shape[1], device=value.device)).all()):
        return value.clone()
    rows = torch.arange(columns.shape[0], device=value.device)[:, None]
    return value.expand(columns.shape[0], *value.shape[1:])[rows, columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class PatternRows:
    """Attention rows computed here, with their proof: |rows x v - z| at most `error`, and what rounding allows."""

    rows: Float[Tensor, "batch pos head key"]
    error: float
    allowed: float


def pattern_rows(
    call: AttentionCall,
    z: Float[Tensor, "batch query head d_value"],
    columns: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch query"],
) -> PatternRows:
    """Attention rows of chosen queries, in float32, from the q, k and mask of a call."""
    rules = rules_of(call)
    columns = columns.to(call.query.device)
    n_batch, n_kv = call.key.shape[:2]
    query = gathered(rearrange(call.query, "batch head pos d -> batch pos head d"), columns).float() * rules.scaling
    grouped = rearrange(query, "batch pos (kv g) d -> batch kv (g pos) d", kv=n_kv)
    g = call.query.shape[1] // n_kv
    scores = rearrange(grouped @ call.key.float().mT, "batch kv (g pos) key -> batch kv 1 g pos key", g=g)
    bias = additive_mask(call, rules).expand(n_batch, -1, -1, -1)
    bias = rearrange(gathered(rearrange(bias, "b h query key -> b query h key"), columns), "b pos h key -> b h pos key")
    rows = weights(scores, bias, rules, torch.float32)[:, :, 0]
    again = rearrange(rows, "batch kv g pos key -> batch kv (g pos) key") @ call.value.float()
    again = rearrange(again, "batch kv (g pos) d -> batch pos (kv g) d", g=g)
    there = mask.to(columns.device).gather(1, columns)[:, :, None, None]
    error = float(((again - gathered(z, columns).float()) * there).abs().max())
    largest = max(1.0, float(scores.abs().max())) * float(call.value.float().abs().max())
    eps = max(torch.finfo(z.dtype).eps, torch.finfo(torch.float32).eps)
    return PatternRows(
        rows=rearrange(rows, "batch kv g pos key -> batch pos (kv g) key"),
        error=error,
        allowed=16 * eps * largest,  # the rounding of a score is relative to its size
    )


def proven_rows(lm: LM, layer: int, found: PatternRows) -> Float[Tensor, "batch pos head key"]:
    """The rows. Raises VerificationError where they are not what the model computed."""
    if not found.error <= found.allowed:
        raise VerificationError(
            f"attention rows of layer {layer} of {lm.name} are not what the model computed",
            found=f"rows times v differ from z by {found.error:.1e}",
            allowed=f"{found.allowed:.1e}",
            hint="record z instead of pattern",
        )
    return found.rows
