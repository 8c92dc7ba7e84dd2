"""Tiny models are small, awkward, loud enough to see an effect, and the same for the same seed."""

from typing import Any

import pytest
import torch

from mnemoscope.errors import OptionError
from mnemoscope.model.families import NOT_DECODERS, SPECIAL, UNBUILT
from mnemoscope.model.tiny import TWELVE, all_classes, tiny, tiny_config

IDS = torch.tensor([[7, 3, 200, 15, 15, 9, 101, 4, 66, 31, 2, 90]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("name", TWELVE)
def test_the_twelve(name: str) -> None:
    model, text = tiny(name), tiny_config(name).get_text_config()
    assert text.vocab_size == 211
    assert text.num_hidden_layers == 3
    out = logits(model)
    assert 5 < float(out.abs().max()) < 30
    assert float(out.std()) > 1
    assert all(float(p.detach().abs().max()) > 0 for p in model.parameters())  # no bias or gain is left at zero


def test_awkward_sizes() -> None:
    llama, gemma = tiny_config("llama"), tiny_config("gemma3_text")
    assert llama.head_dim * llama.num_attention_heads != llama.hidden_size
    assert llama.num_key_value_heads == 2
    assert set(gemma.layer_types) == {"sliding_attention", "full_attention"}
    assert gemma.sliding_window < IDS.shape[1]
    assert set(tiny_config("gpt_oss").layer_types) == {"sliding_attention", "full_attention"}


def test_every_layer_type_is_shown() -> None:
    for name in ("jamba", "qwen3_next", "nemotron_h", "llama4_text", "minimax", "lfm2", "granitemoehybrid"):
        kinds = set(tiny_config(name).get_text_config().layer_types)
        assert len(kinds) > 1, name


def test_every_class_is_built_or_has_a_reason_not_to_be() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as MAPPING

    assert {*all_classes(), *NOT_DECODERS, *UNBUILT} >= set(MAPPING)
    assert set(SPECIAL) <= set(all_classes())  # no rule outlives its class
    assert len(all_classes()) >= 113


@pytest.mark.slow
def test_all_classes_can_be_built() -> None:
    for name in all_classes():
        assert torch.isfinite(logits(tiny(name))).all(), name


def test_the_same_seed_gives_the_same_model_and_touches_nobody_elses_numbers() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (tiny("mixtral", seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_attention_has_a_say() -> None:
    """Changing one early token moves the last logits by far more than rounding."""
    model, other = tiny("llama"), IDS.clone()
    other[0, 1] = 77
    with torch.no_grad():
        moved = model(input_ids=other, use_cache=False).logits[0, -1] - logits(model)[0, -1]
    assert float(moved.abs().max()) > 0.1


def test_overrides_and_unknown_names() -> None:
    assert tiny_config("gpt2", n_layer=5).num_hidden_layers == 5
    assert tiny("gpt2", dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(OptionError, match="did you mean 'llama'"):
        tiny("lama")
