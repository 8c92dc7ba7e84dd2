"""A model in four bits: its layers hold packed integers and scales, and everything that needs no stored matrix still works.

The layer below stores what 4-bit formats store (two weights in a byte, a scale per output) and multiplies by what they stand
for; its `weight` has neither the shape nor the numbers of a matrix.
"""

from typing import Any

import pytest
import torch
from einops import rearrange
from torch import nn

import mnemoscope as ms
from mnemoscope.model.load import load
from mnemoscope.model.tiny import tiny
from mnemoscope.model.weights import W_O, W_Q


class FourBit(nn.Module):
    """A linear layer whose weights are integers from -7 to 7 times a scale per output."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        scale = layer.weight.detach().abs().amax(1, keepdim=True) / 7
        steps = (layer.weight.detach() / scale).round().to(torch.int64) + 8
        packed = (steps[:, ::2] * 16 + steps[:, 1::2]).to(torch.uint8)
        self.weight = nn.Parameter(packed.reshape(-1, 1), requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def matrix(self) -> torch.Tensor:
        packed = self.weight.reshape(self.out_features, -1).to(torch.int64)
        steps = torch.stack([packed // 16, packed % 16], dim=-1).flatten(1)
        return (steps - 8) * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.matrix().to(x.dtype), self.bias)


@pytest.fixture(scope="module")
def lm() -> Any:
    """A tiny Llama, every linear layer of its blocks in four bits."""
    model = tiny("llama")
    for name, layer in list(model.model.layers.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(model.model.layers.get_submodule(parent), own, FourBit(layer))
    return load((model, None))


def test_check_passes_whole(lm: Any) -> None:
    report = ms.check(lm)
    assert report.ok, report.table()
    assert {name: verdict.verdict for name, verdict in report.capabilities.items()} == dict.fromkeys(
        ("record", "patch-fast", "patch-slow", "decompose", "weights", "padding"), "yes"
    )


def test_its_matrices_are_those_that_the_integers_stand_for(lm: Any) -> None:
    attention = lm.attentions[1]
    out = rearrange(attention.o_proj.matrix(), "d_model (head width) -> head width d_model", head=4)
    torch.testing.assert_close(W_O(lm, 1), out, rtol=1e-5, atol=2e-6)
    query = rearrange(attention.q_proj.matrix(), "(head width) d_model -> head d_model width", head=4)
    torch.testing.assert_close(W_Q(lm, 1), query, rtol=1e-5, atol=2e-6)


def test_a_sweep_takes_the_fast_path_and_equals_whole_passes(lm: Any) -> None:
    base, source = torch.tensor([[5, 17, 42, 9, 23]]), torch.tensor([[5, 17, 40, 9, 23]])
    found = ms.sweep(lm, base, source, site="z", tokens=[7], foils=[[8]], metric="logit_diff")
    assert found.verification.path == "fast", found.verification.reason
    assert found.verification.rows > 0
    assert found.verification.largest <= found.verification.tolerance
