"""A Llama-class decoder reduced to what training needs: rows of one document each, causal attention, a weighted loss.

Parameter names and mathematics are those of `transformers.LlamaForCausalLM` (tested), so that a state dict moves between the
two unchanged: we train here because a compiled forward without caches, mask builders and output classes is about twice as
fast on a CPU, and everything else (evaluation, shipping) uses the ordinary class.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention, silu
from transformers import LlamaConfig

from mnemoscope.reference.initial import start_


class Attention(nn.Module):
    """Rotary multi-head attention with optional grouped key/value heads."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads
        self.d_head = _d_head(config)
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.d_head, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.d_head, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.d_head, bias=False)
        self.o_proj = nn.Linear(self.heads * self.d_head, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """What attention adds to the stream."""
        batch, pos, _ = x.shape
        q = self.q_proj(x).view(batch, pos, self.heads, self.d_head).transpose(1, 2)
        k = self.k_proj(x).view(batch, pos, self.kv_heads, self.d_head).transpose(1, 2)
        v = self.v_proj(x).view(batch, pos, self.kv_heads, self.d_head).transpose(1, 2)
        q, k = _rotate(q.float(), cos, sin), _rotate(k.float(), cos, sin)
        # fp32 on purpose: on CPUs without bf16 matrix units the flash kernel is up to four times slower in bf16
        z = scaled_dot_product_attention(q, k, v.float(), is_causal=True, enable_gqa=self.kv_heads != self.heads)
        return self.o_proj(z.transpose(1, 2).reshape(batch, pos, self.heads * self.d_head))


class MLP(nn.Module):
    """Gated SiLU feed-forward layer."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the MLP adds to the stream."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Pre-norm block: attention, then MLP, each added to the stream."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The stream behind this block."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    """Embedding, blocks, final norm: `model.` in the names of the weights."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class Decoder(nn.Module):
    """The trainable twin of `LlamaForCausalLM`."""

    def __init__(self, config: LlamaConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.model = Stack(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.theta = float((config.rope_parameters or {}).get("rope_theta") or 10_000.0)
        self.d_head = _d_head(config)
        start_(self, config, generator)

    def forward(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits; rows are padded on the right, where causal attention makes padding harmless."""
        x = self.model.embed_tokens(ids)
        cos, sin = _rotary(ids.shape[1], self.d_head, self.theta)
        for block in self.model.layers:
            x = block(x, cos, sin)
        return self.lm_head(self.model.norm(x))


def _d_head(config: LlamaConfig) -> int:
    return config.head_dim or config.hidden_size // config.num_attention_heads


def _rotary(length: int, d_head: int, theta: float) -> tuple[Tensor, Tensor]:
    frequency = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


def summed_loss(
    logits: Float[Tensor, "batch pos d_vocab"], ids: Int[Tensor, "batch pos"], weight: Float[Tensor, "batch pos"]
) -> Float[Tensor, ""]:
    """Weighted sum of the cross-entropies (nats) of ids[:, 1:]; `weight` belongs to the predicted token."""
    loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    return (loss * weight[:, 1:].flatten()).sum()
