"""Matrices -> an ordinary GPT-2 or Llama of transformers, saved and loaded like any other.

What differs: where position lives (`clock.py`), fused and transposed weights, and neurons. A linear map through an MLP is
gelu(x) - gelu(-x) = x in GPT-2 (exact for the tanh form too, whose inner part is odd), and a constant gate in Llama's
silu(gate) * up. The product of two features is gelu(s (a + b - 3/2)) in GPT-2, silu(s (a - 1/2)) b in Llama.
"""

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
import torch
from jaxtyping import Float
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from mnemoscope.reference.planting.parts import BOTH, Mlp
from mnemoscope.reference.planting.space import CONSTANT, ONE, Space
from mnemoscope.reference.planting.weights import Attention, Weights

STEEP = 24.0  # how sharply a gate opens


@dataclass(frozen=True, kw_only=True)
class Neurons:
    """One layer's MLP; `gate` is what goes through the nonlinearity, `up` multiplies it (ones without a second branch)."""

    gate: Float[np.ndarray, "d_model d_mlp"]
    up: Float[np.ndarray, "d_model d_mlp"]
    out: Float[np.ndarray, "d_mlp d_model"]


def hosted(weights: Weights, family: str) -> PreTrainedModel:
    """Put the weights into the family's model, in eval mode, single precision."""
    return (_gpt2 if family == "gpt2" else _llama)(weights)


def _gpt2(weights: Weights) -> GPT2LMHeadModel:
    layers = [_joined([_gelu(mlp, weights.space) for mlp in mlps], weights.space) for mlps in weights.mlps]
    layout, (d_vocab, d_model) = weights.layout, weights.W_E.shape
    width = max(layer.gate.shape[1] for layer in layers)
    config = GPT2Config(
        vocab_size=d_vocab,
        n_positions=layout.n_ctx,
        n_embd=d_model,
        n_layer=len(layers),
        n_head=layout.n_heads,
        n_inner=width,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).eval()
    _blank(model)
    _set(model, "transformer.wte", weights.W_E)
    _set(model, "transformer.wpe", weights.W_pos)
    _set(model, "lm_head", weights.W_U.T)
    for i, (attention, neurons) in enumerate(zip(weights.attention, layers, strict=True)):
        part = f"transformer.h.{i}"
        fused = [_flat(matrix) for matrix in (attention.W_Q, attention.W_K, attention.W_V)]
        _set(model, f"{part}.attn.c_attn", np.concatenate(fused, axis=1))
        _set(model, f"{part}.attn.c_proj", _stacked(attention))
        _set(model, f"{part}.mlp.c_fc", _padded(neurons.gate, width))
        _set(model, f"{part}.mlp.c_proj", _padded(neurons.out.T, width).T)
    return model


def _llama(weights: Weights) -> LlamaForCausalLM:
    layers = [_joined([_swiglu(mlp, weights.space) for mlp in mlps], weights.space) for mlps in weights.mlps]
    layout, (d_vocab, d_model) = weights.layout, weights.W_E.shape
    width = max(layer.gate.shape[1] for layer in layers)
    config = LlamaConfig(
        vocab_size=d_vocab,
        hidden_size=d_model,
        intermediate_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=layout.n_heads,
        num_key_value_heads=layout.n_heads // layout.kv_group,
        head_dim=layout.clock.d_head,
        max_position_embeddings=layout.n_ctx,
        rope_parameters={"rope_type": "default", "rope_theta": layout.clock.theta},
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    _blank(model)
    _set(model, "model.embed_tokens", weights.W_E)
    _set(model, "lm_head", weights.W_U.T)
    for i, (attention, neurons) in enumerate(zip(weights.attention, layers, strict=True)):
        part = f"model.layers.{i}"
        _set(model, f"{part}.self_attn.q_proj", _flat(attention.W_Q).T)
        _set(model, f"{part}.self_attn.k_proj", _flat(attention.W_K).T)
        _set(model, f"{part}.self_attn.v_proj", _flat(attention.W_V).T)
        _set(model, f"{part}.self_attn.o_proj", _stacked(attention).T)
        _set(model, f"{part}.mlp.gate_proj", _padded(neurons.gate, width).T)
        _set(model, f"{part}.mlp.up_proj", _padded(neurons.up, width).T)
        _set(model, f"{part}.mlp.down_proj", _padded(neurons.out.T, width))
    return model


def _gelu(mlp: Mlp, space: Space) -> Neurons:
    lines, pairs = space.read(mlp.linear.rows), _pairs(mlp)
    sums = space.read([a for a, _ in pairs]) + space.read([b for _, b in pairs]) - 1.5 * space.read([ONE])
    gate = np.concatenate([lines, -lines, STEEP * sums]).T
    opened = STEEP / 2  # gelu(s / 2) = s / 2 to single precision
    out = [_written(mlp, space, "linear"), -_written(mlp, space, "linear"), _written(mlp, space, "gated") / opened]
    return Neurons(gate=gate, up=np.zeros_like(gate), out=np.concatenate(out))


def _swiglu(mlp: Mlp, space: Space) -> Neurons:
    lines, pairs = space.read(mlp.linear.rows), _pairs(mlp)
    always = np.repeat(space.read([ONE]), len(lines), axis=0)
    firsts = space.read([a for a, _ in pairs]) - 0.5 * space.read([ONE])
    gate = np.concatenate([always, STEEP * firsts]).T
    up = np.concatenate([lines, space.read([b for _, b in pairs])]).T
    out = [_written(mlp, space, "linear") / _silu(1.0), _written(mlp, space, "gated") / _silu(STEEP / 2)]
    return Neurons(gate=gate, up=up, out=np.concatenate(out))


def _pairs(mlp: Mlp) -> list[tuple[str, str]]:
    return [(row.split(BOTH)[0], row.split(BOTH)[1]) for row in mlp.gated.rows]


def _written(mlp: Mlp, space: Space, part: str) -> Float[np.ndarray, "row d_model"]:
    planted = mlp.linear if part == "linear" else mlp.gated
    return planted.values @ space.write(planted.cols)


def _silu(x: float) -> float:
    return x / (1 + exp(-x))


def _joined(parts: list[Neurons], space: Space) -> Neurons:
    empty = np.zeros((space.d_model, 1))  # a layer without neurons would be no layer
    return Neurons(
        gate=np.concatenate([empty, *(part.gate for part in parts)], axis=1),
        up=np.concatenate([empty, *(part.up for part in parts)], axis=1),
        out=np.concatenate([empty.T, *(part.out for part in parts)]),
    )


def _padded(matrix: Float[np.ndarray, "d_model d_mlp"], width: int) -> Float[np.ndarray, "d_model width"]:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


def _flat(matrix: Float[np.ndarray, "head d_model d_head"]) -> Float[np.ndarray, "d_model wide"]:
    return np.concatenate(list(matrix), axis=1)


def _stacked(attention: Attention) -> Float[np.ndarray, "wide d_model"]:
    return np.concatenate(list(attention.W_O))


def _blank(model: PreTrainedModel) -> None:
    """Biases to zero, and norm gains such that a norm undoes its own scale."""
    gain = CONSTANT / sqrt(model.config.hidden_size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(gain)


def _set(model: PreTrainedModel, module: str, values: Float[np.ndarray, "row col"]) -> None:
    weight = model.get_parameter(f"{module}.weight")
    with torch.no_grad():
        weight.copy_(torch.from_numpy(np.ascontiguousarray(values)).to(weight.dtype))
