"""Changing what a head attends to: columns of the attention pattern multiplied by g and renormalised, or rows replaced.

    a'_k  =  g a_k / (g sum_{k in K} a_k + sum_{k not in K} a_k [+ sink])        for the keys K of a patch

which is the model's own attention with log g added to the scores of K: the model's function computes it, sinks and
soft-caps included (methods.md B7.6). g = 0 (op "zero") is attention knockout; a query with no key left is nan. `replace`
puts in the source run's row and reads the values of the run that is patched. Whole forward passes only.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.attend import additive_mask, rules_of
from mnemoscope.engine.edit import Edit
from mnemoscope.model.seams import AttentionCall


def reweighted(call: AttentionCall, edits: Sequence[Edit]) -> AttentionCall:
    """The call with log g added to the scores at every (row, head, query, key) of the edits."""
    batch, heads, queries, _ = call.query.shape
    mask = additive_mask(call, rules_of(call)).expand(batch, heads, queries, call.key.shape[2]).clone()
    for edit in edits:
        assert edit.heads is not None
        assert edit.keys is not None
        at = tuple(index.to(mask.device) for index in (edit.rows, edit.heads, edit.columns, edit.keys))
        gain = torch.zeros(len(edit.rows)) if edit.values is None else edit.values[:, 0]
        mask[at] = mask[at] + gain.to(mask.device, torch.float32).log()
    kwargs = {**call.kwargs, "is_causal": False} if call.kwargs.get("is_causal") else call.kwargs
    return replace(call, mask=mask.to(call.query.dtype), kwargs=kwargs)


def with_rows(call: AttentionCall, z: Float[Tensor, "batch query head d"], edits: Sequence[Edit]) -> Tensor:
    """z with the rows of the edits read anew: given attention rows times the values of this run."""
    z = z.clone()
    group = call.query.shape[1] // call.key.shape[1]
    for edit in edits:
        assert edit.heads is not None
        assert edit.values is not None
        rows, columns, heads = (index.to(z.device) for index in (edit.rows, edit.columns, edit.heads))
        pattern = edit.values.to(z.device, z.dtype)
        values = call.value[rows, heads // group, : pattern.shape[1]]
        z[rows, columns, heads] = einsum(pattern[:, : values.shape[1]], values, "entry key, entry key d -> entry d")
    return z


def patched_attention(call: AttentionCall, edits: Sequence[Edit]) -> tuple[Tensor, Tensor | None]:
    """The call computed with pattern edits."""
    scaled = [edit for edit in edits if edit.op in ("scale", "zero")]
    z, pattern = (reweighted(call, scaled) if scaled else call)()
    replaced = [edit for edit in edits if edit.op not in ("scale", "zero")]
    return (with_rows(call, z, replaced) if replaced else z), pattern
