"""Initial weights of the reference model: mimetic, with a weak seed of the one circuit that did not begin by itself.

From ordinary random weights, copying did not begin within 5.6M tokens of earlier mixtures, nor within 1.1M tokens of spans
alone (docs/log.md lists the attempts; longer was not tried). So the first weights imitate what trained transformers have in
common, after Trockman and Kolter (2023), "Mimetic initialization of self-attention layers": queries resemble keys, and
values are written back to where an output embedding can read them. On top of that lies a seed: half of the heads of layer 0
prefer the previous token a little and write it into directions of its own, and half of the heads of layers 1 and 2 compare
the current token with those directions, weakly: copying is at chance with these weights, and the head that matches best
pays .12 of its attention to the right token in repeated spans of 8 words, where an even one pays .08 (in spans of 32 .03
and .02). The model card says so. Everything else has to be learned.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import LlamaConfig

EMBEDDED = 0.12  # standard deviation of embeddings, and of the vector that all of them share
UNEMBEDDED = 0.15  # standard deviation of output embeddings: a rotated copy of the (centred) embeddings
HIDDEN = 0.04  # of MLP matrices
ALIKE = 0.06  # of queries and keys, the part they share; half of it for the part in which they differ
KEPT = 0.3  # share of the ordinary weights in a seeded head
NEAR = 8.6  # squared norm of each frequency of a seeded previous-token query; attention to it is then about a half
FREQUENCIES = 4  # of the fastest rotary frequencies, which carry the preference
SEEDED = (1, 2)  # layers with heads that compare the current token with previous ones


def start_(decoder: nn.Module, config: LlamaConfig, generator: torch.Generator) -> None:
    """Overwrite the weights of a `Decoder` with initial ones, drawn from `generator` alone."""
    d = config.hidden_size
    turned, aside = _rotation(d, generator), _rotation(d, generator)
    deep = HIDDEN / (2 * config.num_hidden_layers) ** 0.5
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if ".mlp." in name:
                weight.normal_(0.0, deep if name.endswith("down_proj.weight") else HIDDEN, generator=generator)
        shared = torch.randn(d, generator=generator)
        shared *= d**0.5 / shared.norm()
        own = torch.randn(config.vocab_size, d, generator=generator)
        decoder.get_parameter("model.embed_tokens.weight").copy_(EMBEDDED * (own + shared))
        decoder.get_parameter("lm_head.weight").copy_(UNEMBEDDED * own @ turned)
        seen: Tensor | None = None
        for layer in range(config.num_hidden_layers):
            part = decoder.get_submodule(f"model.layers.{layer}.self_attn")
            seen = _attention_(part, config, generator, layer, (turned, aside, shared / d**0.5), seen)


def _attention_(
    part: nn.Module,
    config: LlamaConfig,
    generator: torch.Generator,
    layer: int,
    frame: tuple[Tensor, Tensor, Tensor],
    seen: Tensor | None,
) -> Tensor:
    """Fill one attention module and return the values of layer 0 (`seen` in the later calls), with which seeded heads compare."""
    turned, aside, common = frame
    d, d_head = config.hidden_size, int(config.head_dim or config.hidden_size // config.num_attention_heads)
    kv = config.num_key_value_heads or config.num_attention_heads
    group = config.num_attention_heads // kv

    def normal(heads: int) -> Tensor:
        return torch.randn(heads, d_head, d, generator=generator) * ALIKE

    shared = normal(kv)
    query = shared.repeat_interleave(group, 0) + normal(kv * group) / 2
    key = shared + normal(kv) / 2
    value = _frame(kv * d_head, d, generator).reshape(kv, d_head, d)
    written = value @ turned if layer else value.clone()  # layer 0 copies among embeddings, others to the output
    half = kv // 2
    if layer == 0:
        written[:half] = value[:half] @ aside
        near_query, near_key = _near(config, d_head)
        key[:half] = 0.1 * key[:half] + torch.outer(near_key, common) / d**0.5
        query[: half * group] = 0.1 * query[: half * group] + torch.outer(near_query, common) / d**0.5
        seen = value
    assert seen is not None  # layer 0 comes first
    if layer in SEEDED:
        key[:half] = KEPT * key[:half] + seen[:half] @ aside
        query[: half * group] = KEPT * query[: half * group] + seen[:half].repeat_interleave(group, 0)
    part.get_parameter("q_proj.weight").copy_(query.flatten(0, 1))
    part.get_parameter("k_proj.weight").copy_(key.flatten(0, 1))
    part.get_parameter("v_proj.weight").copy_(value.flatten(0, 1))
    part.get_parameter("o_proj.weight").copy_(written.repeat_interleave(group, 0).flatten(0, 1).T)
    return seen


def _near(config: LlamaConfig, d_head: int) -> tuple[Float[Tensor, " d_head"], Float[Tensor, " d_head"]]:
    """A query and a key whose rotary product is largest one position back: sum of cos(frequency * (distance - 1))."""
    theta = float((config.rope_parameters or {}).get("rope_theta") or 10_000.0)
    half = d_head // 2
    query, key = torch.zeros(d_head), torch.zeros(d_head)
    for i in range(min(FREQUENCIES, half)):
        angle = torch.tensor(theta ** (-i / half))
        query[i], key[i], key[i + half] = 1.0, angle.cos(), angle.sin()
    # a normalised stream has norm sqrt(d_model), of which the shared vector is 1/sqrt(2)
    return query * (2 * NEAR) ** 0.5, key * (2 * NEAR) ** 0.5


def _frame(rows: int, d: int, generator: torch.Generator) -> Tensor:
    """`rows` orthonormal rows as far as there is room, otherwise random ones of about unit norm."""
    return _rotation(d, generator)[:rows] if rows <= d else torch.randn(rows, d, generator=generator) / d**0.5


def _rotation(d: int, generator: torch.Generator) -> Float[Tensor, "d_model d_model"]:
    return torch.linalg.qr(torch.randn(d, d, generator=generator))[0]
