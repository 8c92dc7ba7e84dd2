"""Norms held at what they did: with its recorded scale, a norm is a linear map, so what goes in may be split into parts.

    y = g * (x - mean x) / s + b        (no mean for an rms norm)

g, b and the kind are facts about the module (`mnemoscope.model.norm`); 1/s is read off the recorded input and output of
that very position by least squares, so it holds whatever the module does about eps and precision.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.norm import FinalNorm


@dataclass(frozen=True, kw_only=True, eq=False)
class Frozen:
    """A norm at recorded positions: y = gain * centred(x) * inverse + bias. error: largest relative error of that."""

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centres: bool
    inverse: Float[Tensor, "batch pos 1"]
    error: float

    def push(self, part: Float[Tensor, "*more batch pos d_model"]) -> Float[Tensor, "*more batch pos d_model"]:
        """What a part of the input is of the output; the parts of a whole sum to the whole without `bias`."""
        return self.gain * _centred(part, self.centres) * self.inverse

    def pull(self, direction: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """The direction to read the input along so as to read the output along `direction` (the transpose of push)."""
        return _centred(self.gain * direction, self.centres) * self.inverse


def frozen(
    facts: FinalNorm, given: Float[Tensor, "batch pos d_model"], output: Float[Tensor, "batch pos d_model"]
) -> Frozen:
    """A norm held at what it did to `given`. Raises UnsupportedError if it is no norm, or did something else."""
    if facts.reason:
        raise UnsupportedError(f"{facts.name} cannot be held at its recorded scale", found=facts.reason)
    dtype = wide(given.dtype)
    gain, bias = (value.to(given.device, dtype) for value in (facts.gain, facts.bias))
    x, y = gain * _centred(given.to(dtype), facts.centres), output.to(dtype) - bias
    inverse = (x * y).sum(-1, keepdim=True) / (x * x).sum(-1, keepdim=True).clamp_min(torch.finfo(dtype).tiny)
    error = float(((x * inverse - y).norm(dim=-1) / y.norm(dim=-1).clamp_min(torch.finfo(dtype).tiny)).max())
    allowed = 32 * max(torch.finfo(output.dtype).eps, torch.finfo(torch.float32).eps)
    if not error <= allowed:
        raise UnsupportedError(
            f"{facts.name} cannot be held at its recorded scale",
            found=f"gain x input differs from its output by {error:.1e} (relative)",
            allowed=f"{allowed:.1e}",
        )
    return Frozen(gain=gain, bias=bias, centres=facts.centres, inverse=inverse, error=error)


def wide(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 where the model has it: what sums are kept in."""
    return torch.promote_types(dtype, torch.float32)


def _centred(x: Tensor, centres: bool) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True) if centres else x
