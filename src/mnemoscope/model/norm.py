"""What a norm does, found by pushing vectors through it: which kind, gain, bias, epsilon.

    layer norm   y = g * (x - mean x) / sqrt(var x + eps) + b          rms norm   y = g * x / sqrt(mean x^2 + eps) + b

A vector of alternating signs has mean 0 and variance 1 under both, so g and b follow from pushing it and its negative at
a large amplitude; a constant added tells the two apart; a small amplitude gives eps. Where a parameter of the module is
that gain (w, or 1 + w as in Gemma) or that bias within rounding, the parameter itself is taken, exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LARGE = 1e3  # eps is lost beside its square


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalNorm:
    """A norm and its facts.

    kind: "layer" (centres) or "rms" (does not). gain, bias: as they act on the scaled stream. eps: beside the variance.
    reason: why it is neither; "" if it is one of them. error: largest relative error of the formula on random vectors.
    """

    name: str
    module: nn.Module
    kind: str
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float
    error: float
    reason: str = ""

    @property
    def centres(self) -> bool:
        """Whether the mean is taken out."""
        return self.kind == "layer"

    def scale(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch 1"]:
        """sqrt(var + eps) or sqrt(mean square + eps) of a stream: what it is divided by. In the stream's dtype, >= fp32."""
        x = resid.to(torch.promote_types(resid.dtype, torch.float32))
        if self.centres:
            x = x - x.mean(dim=-1, keepdim=True)
        return ((x * x).mean(dim=-1, keepdim=True) + self.eps).sqrt()


@torch.no_grad()
def norm_facts(module: nn.Module, name: str, d_model: int, dtype: torch.dtype) -> FinalNorm:
    """The facts about a norm over `d_model` channels (see the module's first lines)."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    unit = _alternating(d_model).to(device)

    def push(vector: Tensor) -> Tensor:
        return module(vector.to(dtype)[None, None]).double()[0, 0]

    up, down = push(_LARGE * unit), push(-_LARGE * unit)
    sent = (_LARGE * unit).to(dtype).double()
    sent = sent / (sent * sent).mean().sqrt()
    gain, bias = (up - down) / (2 * sent), (up + down) / 2
    moved = float((push(_LARGE * unit + 3 * _LARGE) - up).norm())
    kind = "layer" if moved <= 0.05 * float(up.norm()) else "rms"
    gain = _parameter(module, gain, dtype, offset=(0.0, 1.0))
    bias = _parameter(module, bias, dtype, offset=(0.0,)) if float(bias.norm()) > 0 else bias
    eps = _epsilon(push, unit, gain, bias, dtype)
    facts = FinalNorm(name=name, module=module, kind=kind, gain=gain, bias=bias, eps=eps, error=0.0)
    return _proven(facts, d_model, dtype, push)


def _alternating(d_model: int) -> Tensor:
    """Signs +1 -1 +1 ..., centred and of mean square 1 (for an odd width the mean is not 0 by itself)."""
    signs = torch.where(torch.arange(d_model) % 2 == 0, 1.0, -1.0).double()
    signs = signs - signs.mean()
    return signs / (signs * signs).mean().sqrt()


def _parameter(module: nn.Module, found: Tensor, dtype: torch.dtype, *, offset: tuple[float, ...]) -> Tensor:
    """The module's parameter that this is, if there is one (plus 0 or 1), else what was found."""
    tolerance = 16 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    for parameter in module.parameters():
        for constant in offset:
            candidate = parameter.double() + constant
            if candidate.shape == found.shape and float((candidate - found).norm()) <= tolerance * float(found.norm()):
                return candidate
    ones = torch.ones_like(found)
    return ones if float((ones - found).norm()) <= tolerance * float(found.norm()) else found


def _epsilon(push: Callable[[Tensor], Tensor], unit: Tensor, gain: Tensor, bias: Tensor, dtype: torch.dtype) -> float:
    """From how much a small vector is shrunk: |y| / |g x^| = s / sqrt(s^2 + eps)."""
    amplitude, eps = 1e-3, 0.0
    for _ in range(3):
        sent = (amplitude * unit).to(dtype).double()
        square = float((sent * sent).mean())
        full = gain * sent / square**0.5
        ratio = float(((push(sent) - bias) * full).sum() / (full * full).sum())
        eps = square * (1 / ratio**2 - 1) if 0 < ratio < 1 else 0.0
        amplitude = max(eps, 1e-14) ** 0.5
    return eps


def _proven(facts: FinalNorm, d_model: int, dtype: torch.dtype, push: Callable[[Tensor], Tensor]) -> FinalNorm:
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for size in (0.1, 1.0, 30.0):
        x = (size * torch.randn(d_model, generator=generator, dtype=torch.float64) + 0.3 * size).to(dtype)
        x = x.to(facts.gain.device)
        centred = x.double() - x.double().mean() if facts.centres else x.double()
        rebuilt = facts.gain * centred / facts.scale(x).double() + facts.bias
        out = push(x)
        worst = max(worst, float((rebuilt - out).norm() / out.norm()))
    reason = (
        ""
        if worst <= 32 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
        else (f"neither a layer norm nor an rms norm (relative error {worst:.1e})")
    )
    return replace(facts, error=worst, reason=reason)
