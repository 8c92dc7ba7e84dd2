"""What is discovered about a decoder agrees with its configuration, where that says it, and with planted structure."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnemoscope.errors import OptionError, UnsupportedError
from mnemoscope.model.lm import view
from mnemoscope.model.structure import AttentionShape
from mnemoscope.model.tiny import TWELVE, tiny


@pytest.mark.parametrize("name", TWELVE)
def test_sizes_are_those_of_the_configuration(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm, config = tiny_lm(name), tiny_lm(name).config
    assert lm.n_layers == config.num_hidden_layers == len(lm.attentions)
    assert lm.n_heads == config.num_attention_heads
    assert lm.n_kv_heads == getattr(config, "num_key_value_heads", lm.n_heads)
    assert lm.d_model == config.hidden_size
    assert lm.d_vocab == 211
    assert lm.n_ctx == 64
    assert lm.structure.calls == lm.structure.block_calls == (1,) * lm.n_layers
    assert lm.attention_layers == {module: layer for layer, module in enumerate(lm.attentions)}
    group = lm.n_heads // lm.n_kv_heads
    assert lm.kv_head_of == tuple(head // group for head in range(lm.n_heads))
    assert lm.reason("record") == lm.reason("causal") == ""


def test_latent_attention_has_two_widths(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("deepseek_v3")
    assert (lm.d_head, lm.d_value) == (20, 16)


def test_kv_heads_are_seen_not_assumed() -> None:
    """An attention function that gives query head h the kv head h mod 2 is reported as it is."""
    from transformers.modeling_utils import AttentionInterface

    def interleaved(module: Any, q: Any, k: Any, v: Any, mask: Any = None, **_: Any) -> Any:
        times = q.shape[1] // k.shape[1]
        k, v = k.repeat(1, times, 1, 1), v.repeat(1, times, 1, 1)
        z = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return z.transpose(1, 2), None

    AttentionInterface.register("interleaved", interleaved)
    model = tiny("llama", num_attention_heads=8, num_key_value_heads=2)
    model.config._attn_implementation = "interleaved"
    assert view(model).kv_head_of == (0, 1, 0, 1, 0, 1, 0, 1)


def test_hybrids_have_attention_only_in_some_layers(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("jamba")
    assert [module is not None for module in lm.attentions] == [False, True, False]
    assert lm.reason("record") == ("residual sites only: layers 0, 2 have no attention on the attention interface")
    assert lm.n_heads == 4


def test_layers_of_different_shape_have_no_common_size(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("mimo_v2_flash", swa_num_key_value_heads=4)
    assert lm.n_heads == 4
    with pytest.raises(UnsupportedError, match=r"no single n_kv_heads .*lm\.shapes\[layer\]"):
        _ = lm.n_kv_heads
    assert {shape.n_kv_heads for shape in lm.shapes if isinstance(shape, AttentionShape)} == {2, 4}


def test_a_module_that_blocks_share_cannot_tell_its_layer() -> None:
    model = tiny("llama")
    model.model.layers[1].self_attn = model.model.layers[0].self_attn
    lm = view(model)
    assert lm.structure.calls == (1, 1, 1)
    assert [module is not None for module in lm.attentions] == [False, False, True]


def test_what_has_no_list_of_blocks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no list of decoder blocks"):
        view(tiny("hrm_text"))


def test_multimodal_models_are_their_text_decoder(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("gemma3")
    assert lm.n_layers == 3
    assert lm.d_vocab == 211
    assert lm.reason("record") == ""


def test_unknown_capability(tiny_lm: Callable[..., Any]) -> None:
    with pytest.raises(OptionError, match="did you mean 'padding'"):
        tiny_lm("llama").reason("paddin")
