"""The terms of a block's sum by least squares: which submodule outputs, with which coefficients, give stream_out.

Every candidate output is generic (noise was added to each), so the solution is unique: true terms have their
coefficient, all others zero. Positions count alike: rows are divided by |stream_out|, massive activations included.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.model.probe import BlockRun

SMALLEST = 5e-3  # a coefficient below is zero; least squares leaves about eps / sqrt(numbers), see `smallest`


def smallest(dtype: torch.dtype) -> float:
    """Coefficients below are zero, given the rounding of the block's own sum."""
    return max(SMALLEST, 4 * torch.finfo(dtype).eps)


def allowed_error(dtype: torch.dtype) -> float:
    """Rounding of a sum of a few terms, relative to its norm at a position."""
    return max(4 * torch.finfo(dtype).eps, 1e-12)  # in float64 the fit itself is no better


def block_terms(run: BlockRun, names: list[str]) -> tuple[dict[str, float], float]:
    """Coefficients of the true terms among `names`, and of stream_in; ({}, 0) if no combination gives the output."""
    assert run.resid_out is not None
    width, dtype = run.resid_in.shape[-1], run.resid_out.dtype
    weight = 1 / run.resid_out.cpu().double().reshape(-1, width).norm(dim=-1, keepdim=True).clamp_min(1e-30)

    def column(tensor: Tensor) -> Tensor:
        return weight * tensor.cpu().double().reshape(-1, width)

    goal = column(run.resid_out)
    columns = torch.stack([column(run.resid_in), *(column(run.outputs[name]) for name in names)], -1)
    chosen, c = _sparse(columns, goal, smallest(dtype))
    error = _misfit(columns[..., chosen], c, goal)
    if not torch.isfinite(c).all() or not error <= allowed_error(dtype):
        return {}, 0.0
    ones = torch.where((c - 1).abs() < max(torch.finfo(dtype).eps, 1e-6), torch.ones_like(c), c)
    if _misfit(columns[..., chosen], ones, goal) <= 1.25 * error:  # one, up to the noise of the fit
        c = ones
    values = dict(zip(chosen, c.tolist(), strict=True))
    return {names[i - 1]: value for i, value in values.items() if i > 0}, values.get(0, 0.0)


def _sparse(
    columns: Float[Tensor, "row d_model term"], goal: Float[Tensor, "row d_model"], least: float
) -> tuple[list[int], Float[Tensor, " term_kept"]]:
    """Solve, drop the terms whose coefficient is below `least`, and solve again until none is."""
    chosen = list(range(columns.shape[-1]))
    while chosen:
        a = columns[..., chosen].flatten(0, 1)
        c = torch.linalg.lstsq(a, goal.reshape(-1, 1), driver="gelsd").solution[:, 0]
        kept = [i for i, value in zip(chosen, c.tolist(), strict=True) if abs(value) > least]
        if len(kept) == len(chosen):
            return chosen, c
        chosen = kept
    return [], columns.new_zeros(0)


def _misfit(
    columns: Float[Tensor, "row d_model term"], c: Float[Tensor, " term"], goal: Float[Tensor, "row d_model"]
) -> float:
    """Largest Euclidean norm over positions."""
    return float((columns @ c - goal).norm(dim=-1).max())
