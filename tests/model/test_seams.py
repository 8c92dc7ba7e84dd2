"""Looking changes nothing, and nothing of ours is left behind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers.modeling_utils import AttentionInterface

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.seams import AttentionCall, attention_seam, block_seam, module_seam
from mnemoscope.model.tiny import TWELVE

IDS = torch.arange(3, 14)[None]


def hooks_of(model: torch.nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )


def idle(call: AttentionCall) -> Any:
    return call()


@pytest.mark.parametrize("name", TWELVE)
def test_idle_seams_are_bit_identical(name: str, tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm(name)
    for implementation in ("eager", "sdpa") if lm.model._supports_sdpa else ("eager",):
        lm.model.set_attn_implementation(implementation)
        look_and_compare(lm)
    lm.model.set_attn_implementation("eager")


def look_and_compare(lm: Any) -> None:
    seen: list[int] = []

    def handler(call: AttentionCall) -> Any:
        seen.append(call.layer)
        return call()

    with torch.no_grad():
        bare = lm.model(input_ids=IDS, use_cache=False).logits
        with (
            attention_seam(lm.attention_layers, handler),
            block_seam(lm.blocks, before=lambda call: None, after=lambda layer, resid: None),
        ):
            seen_through = lm.model(input_ids=IDS, use_cache=False).logits
        after = lm.model(input_ids=IDS, use_cache=False).logits
    assert torch.equal(bare, seen_through)
    assert torch.equal(bare, after)
    assert seen == list(range(lm.n_layers))
    assert hooks_of(lm.model) == 0


@pytest.mark.parametrize("where", ["attention", "before", "after", "model"])
def test_an_exception_leaves_nothing_behind(where: str, tiny_lm: Callable[..., Any]) -> None:
    lm, original = tiny_lm("llama"), AttentionInterface.get_interface

    def fails(*_: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    foreign = lm.blocks[1].register_forward_hook(fails) if where == "model" else None
    with (
        torch.no_grad(),
        pytest.raises(RuntimeError, match="device-side assert"),
        attention_seam(lm.attention_layers, fails if where == "attention" else idle),
        block_seam(
            lm.blocks,
            before=fails if where == "before" else lambda call: None,
            after=fails if where == "after" else lambda layer, resid: None,
        ),
        module_seam({"norm": lm.model.model.norm}, before=lambda *_: None, after=lambda *_: None),
    ):
        lm.model(input_ids=IDS, use_cache=False)
    if foreign is not None:
        assert hooks_of(lm.model) == 1  # theirs
        foreign.remove()
    assert hooks_of(lm.model) == 0
    assert AttentionInterface.get_interface is original


def test_a_device_side_error_leaves_nothing_behind(tiny_lm: Callable[..., Any]) -> None:
    lm, original = tiny_lm("gpt2"), AttentionInterface.get_interface
    beyond = torch.tensor([[1, lm.d_vocab + 1]])  # the embedding fails inside the forward pass
    with (
        torch.no_grad(),
        pytest.raises(IndexError),
        attention_seam(lm.attention_layers, idle),
        block_seam(lm.blocks, before=lambda call: None),
    ):
        lm.model(input_ids=beyond, use_cache=False)
    assert hooks_of(lm.model) == 0
    assert AttentionInterface.get_interface is original


def test_foreign_hooks_survive_and_still_act(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("llama")
    counted: list[str] = []
    handle = lm.blocks[0].register_forward_hook(lambda *_: counted.append("theirs"))
    try:
        with torch.no_grad(), block_seam(lm.blocks, after=lambda layer, resid: None):
            lm.model(input_ids=IDS, use_cache=False)
        with torch.no_grad():
            lm.model(input_ids=IDS, use_cache=False)
        assert counted == ["theirs", "theirs"]
        assert hooks_of(lm.model) == 1
    finally:
        handle.remove()


def test_the_inner_seam_sees_first_and_calls_the_outer(tiny_lm: Callable[..., Any]) -> None:
    lm, order = tiny_lm("gpt2"), list[str]()

    def named(name: str, factor: float) -> Callable[[AttentionCall], Any]:
        def handler(call: AttentionCall) -> Any:
            order.append(name)
            return replace(call, value=call.value * factor)()

        return handler

    layers = {lm.attentions[0]: 0}
    with torch.no_grad():
        with attention_seam(layers, named("outer", 2.0)), attention_seam(layers, named("inner", 0.5)):
            both = lm.model(input_ids=IDS, use_cache=False).logits
        bare = lm.model(input_ids=IDS, use_cache=False).logits
    assert order == ["inner", "outer"]
    assert torch.equal(both, bare)  # times 2 and times 1/2 are exact


def test_two_models_at_once_do_not_mix(tiny_lm: Callable[..., Any]) -> None:
    one, other = tiny_lm("llama"), tiny_lm("qwen3")
    with torch.no_grad():
        alone = [lm.model(input_ids=IDS, use_cache=False).logits for lm in (one, other)]

        def silenced(call: AttentionCall) -> Any:
            z, pattern = call()
            return torch.zeros_like(z), pattern

        with attention_seam(one.attention_layers, silenced), attention_seam(other.attention_layers, idle):
            first = one.model(input_ids=IDS, use_cache=False).logits
            second = other.model(input_ids=IDS, use_cache=False).logits
    assert not torch.allclose(first, alone[0])
    assert torch.equal(second, alone[1])


def test_seams_may_close_in_any_order(tiny_lm: Callable[..., Any]) -> None:
    one, other, original = tiny_lm("llama"), tiny_lm("qwen3"), AttentionInterface.get_interface
    first, second = attention_seam(one.attention_layers, idle), attention_seam(other.attention_layers, idle)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with torch.no_grad():
        other.model(input_ids=IDS, use_cache=False)
    second.__exit__(None, None, None)
    assert AttentionInterface.get_interface is original


def test_replacing_the_stream_is_what_the_model_then_computes(tiny_lm: Callable[..., Any]) -> None:
    lm, other = tiny_lm("gpt2"), torch.flip(IDS, (1,))
    kept: list[torch.Tensor] = []

    def keep(layer: int, resid: torch.Tensor) -> None:
        if layer == 1:
            kept.append(resid)

    with torch.no_grad():
        with block_seam(lm.blocks, after=keep):
            wanted = lm.model(input_ids=other, use_cache=False).logits
        with block_seam(lm.blocks, after=lambda layer, resid: kept[0] if layer == 1 else None):
            by_after = lm.model(input_ids=IDS, use_cache=False).logits
        with block_seam(lm.blocks, before=lambda call: call.with_resid(kept[0]) if call.layer == 2 else None):
            by_before = lm.model(input_ids=IDS, use_cache=False).logits
    assert torch.equal(by_after, wanted)
    assert torch.equal(by_before, wanted)


def test_a_block_without_a_stream_is_refused() -> None:
    block = torch.nn.Identity()
    with block_seam([block], before=lambda call: None), pytest.raises(UnsupportedError, match="residual stream"):
        block("no tensor")
