"""The facts about a norm are found by pushing vectors, for norms whose facts are planted."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mnemoscope.model.norm import norm_facts


class GainPlusOne(nn.Module):
    """Gemma's: the gain is 1 + w."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(0.3 * torch.randn(width, generator=torch.Generator().manual_seed(1))), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (1 + self.weight) * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


def planted(kind: str, width: int, eps: float) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    if kind == "rms":
        norm: nn.Module = nn.RMSNorm(width, eps=eps)
    elif kind == "gemma":
        return GainPlusOne(width, eps)
    else:
        norm = nn.LayerNorm(width, eps=eps)
    for parameter in norm.parameters():
        parameter.data += 0.3 * torch.randn(width, generator=generator)
    return norm


@given(
    kind=st.sampled_from(["rms", "gemma", "layer"]),
    width=st.integers(7, 65),
    eps=st.sampled_from([1e-6, 1e-5, 1e-3]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=40)
def test_planted_norms(kind: str, width: int, eps: float, dtype: torch.dtype) -> None:
    module = planted(kind, width, eps).to(dtype)
    facts = norm_facts(module, "norm", width, dtype)
    assert facts.reason == ""
    assert facts.centres == (kind == "layer")
    weight = module.get_parameter("weight").detach().double()
    assert torch.equal(facts.gain, weight + 1 if kind == "gemma" else weight)
    if kind == "layer":
        assert torch.equal(facts.bias, module.get_parameter("bias").detach().double())
    else:
        assert float(facts.bias.abs().max()) == 0
    assert facts.eps == pytest.approx(eps, rel=1e-2)


def test_a_norm_without_parameters() -> None:
    facts = norm_facts(nn.LayerNorm(16, elementwise_affine=False), "norm", 16, torch.float32)
    assert torch.equal(facts.gain, torch.ones(16, dtype=torch.float64))
    assert facts.reason == ""


def test_what_is_no_norm() -> None:
    assert "neither" in norm_facts(nn.Tanh(), "tanh", 16, torch.float32).reason
    assert "neither" in norm_facts(nn.Identity(), "identity", 16, torch.float32).reason
