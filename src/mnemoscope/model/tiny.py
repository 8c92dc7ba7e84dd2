"""Tiny random models of every decoder-only class that transformers has, with awkward sizes.

What is understood about decoders is tested on these: three layers (or as many as show every layer type of the class), a
window shorter than the text, grouped heads, head widths that are not d_model / n_heads, an odd vocabulary. Biases and
norm gains are random too: a model whose biases are zero hides every mistake that is made about biases. The weights are
scaled so that logits are of order 10 and every layer has a say, so that an effect is far above rounding.

A size is found by its name in the configuration (`SIZES`); what one family needs beyond that is one line with its
reason in `mnemoscope.model.families`.
"""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mnemoscope.errors import choose
from mnemoscope.model.families import (
    EXPLICIT,
    NOT_DECODERS,
    OPTIONAL_SIZES,
    SIZES,
    SPECIAL,
    TWELVE,
    UNBUILT,
    UNREACHED_SIZES,
)

__all__ = ["TWELVE", "all_classes", "tiny", "tiny_config"]

LOGIT_SCALE = 10.0  # largest absolute logit over the calibration tokens
N_LAYERS = 3


@cache
def all_classes() -> tuple[str, ...]:
    """Model types of every decoder-only class in transformers' causal-LM mapping.

    The others are in `families.NOT_DECODERS` and `families.UNBUILT`, each with its reason.
    """
    return tuple(sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(NOT_DECODERS) - set(UNBUILT)))


def tiny(model_type: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **overrides: Any) -> PreTrainedModel:
    """A tiny random model of a class, in eval mode, the same for the same seed.

    overrides: entries of its text configuration that replace the chosen sizes.
    Largest absolute logit on a few calibration tokens: about 10.
    """
    choose("decoder-only class", model_type, all_classes())
    config = tiny_config(model_type, **overrides)
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(seed)
        # a family's own advice to its trainers (fast kernels that are not installed ...) is none of ours
        warnings.simplefilter("ignore")
        model = (
            AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
            .float()
            .eval()
        )
        _randomise_(model, torch.Generator().manual_seed(seed))
        _scale_logits_(model)
    return model.to(dtype)


def tiny_config(model_type: str, **overrides: Any) -> PreTrainedConfig:
    """The configuration of `tiny`: the class's default one with every size replaced."""
    default = AutoConfig.for_model(model_type)
    text = default.get_text_config(decoder=True)
    sizes = dict(EXPLICIT[model_type]) if model_type in EXPLICIT else generic_sizes(text)
    sizes |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    sizes |= SPECIAL.get(model_type, {}) | overrides
    parts = {key: value for key, value in vars(default).items() if isinstance(value, PreTrainedConfig)}
    shrunk = {key: {**_unreached(part), "model_type": part.model_type} for key, part in parts.items()}
    if text is default:
        return AutoConfig.for_model(model_type, **{**shrunk, **sizes})
    text_key = next(key for key, value in parts.items() if value is text)
    return AutoConfig.for_model(model_type, **{**shrunk, text_key: {**sizes, "model_type": text.model_type}})


def _unreached(part: PreTrainedConfig) -> dict[str, Any]:
    return {name: value for name, value in UNREACHED_SIZES.items() if name in vars(part)}


def generic_sizes(default: PreTrainedConfig) -> dict[str, Any]:
    """A small value for every size of a configuration; per-layer lists cut to layers that show all types."""
    known = vars(default)
    names = {name: name.removeprefix("swa_") for name in known}  # windowed layers may have sizes of their own
    sizes = {
        name: SIZES[size]
        for name, size in names.items()
        if size in SIZES and (known[name] is not None or size in OPTIONAL_SIZES)
    }
    if "kv_lora_rank" in known:  # latent attention: one key per query head, rotary on a part of it
        sizes |= {"num_key_value_heads": sizes["num_attention_heads"], "head_dim": sizes["qk_rope_head_dim"]}
    lists = per_layer_lists(default)
    layers = showing_layers(lists)
    sizes |= {name: [values[i] for i in layers] for name, values in lists.items()}
    for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        if name in known:
            sizes[name] = len(layers)
    return sizes


def per_layer_lists(default: PreTrainedConfig) -> dict[str, list[Any]]:
    """Entries of a configuration that have one value per layer; lists of layer numbers are not among them."""
    n_layers = default.num_hidden_layers
    return {
        name: list(value)
        for name, value in vars(default).items()
        if isinstance(value, (list, tuple))
        and 1 < len(value) == n_layers
        and not name.startswith("_")
        and list(value) != list(range(n_layers))
    }


def showing_layers(lists: Mapping[str, list[Any]]) -> list[int]:
    """The first layer of every kind (kinds: distinct tuples of per-layer values), filled up to three layers."""
    if not lists:
        return list(range(N_LAYERS))
    kinds = list(zip(*(map(str, values) for values in lists.values()), strict=True))
    first = sorted({kind: i for i, kind in reversed(list(enumerate(kinds)))}.values())
    others = [i for i in range(len(kinds)) if i not in first]
    return sorted(first + others[: max(0, N_LAYERS - len(first))])


def _randomise_(model: nn.Module, generator: torch.Generator) -> None:
    """Give every matrix unit gain, and every vector (bias, gain, sink ...) noise around its initial value."""
    for parameter in model.parameters():
        value = parameter.data
        noise = torch.randn(value.shape, generator=generator)
        centred = value.ndim > 1 and value.mean().abs() <= 0.2 * value.std() + 1e-8
        value.copy_(noise * _unit_gain(value) if centred else value + 0.2 * noise)


def _unit_gain(value: Tensor) -> float:
    rows, columns = value.shape[-2:]
    return (rows * columns) ** -0.25


@torch.no_grad()
def _scale_logits_(model: PreTrainedModel) -> None:
    """Scale the unembedding until the largest logit is about LOGIT_SCALE (twice: it may be tied to the embedding)."""
    ids = torch.arange(1, 13)[None]
    head: Any = model.get_output_embeddings()
    for _ in range(3):
        largest = model(input_ids=ids, use_cache=False).logits.abs().max()
        head.weight.data.mul_(float(LOGIT_SCALE / largest))
