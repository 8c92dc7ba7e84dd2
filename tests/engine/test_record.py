"""Recording changes nothing and gives what plain hooks and the model's own attention outputs give."""

import gc
import weakref
from functools import cache

import pytest
import torch

from mnemoscope.axes import SITES
from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.record import record, trace, trace_columns
from mnemoscope.engine.site import site_reason
from mnemoscope.errors import OptionError, UnsupportedError, VerificationError
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import TWELVE, tiny

IDS = torch.randint(0, 211, (2, 10), generator=torch.Generator().manual_seed(0))


@cache
def lm_of(name: str, dtype: torch.dtype = torch.float32) -> LM:
    return view(tiny(name, dtype=dtype), name=name)


def sites_of(lm: LM) -> list[str]:
    return [site for site in SITES if not site_reason(lm, site, 0)]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float32) for name in TWELVE), ("gemma2", torch.bfloat16), ("mixtral", torch.bfloat16)],
)
def test_logits_are_bit_identical_while_every_site_is_recorded(name: str, dtype: torch.dtype) -> None:
    lm = lm_of(name, dtype)
    with torch.no_grad():
        own = lm.model(input_ids=IDS, use_cache=False).logits
    before = [len(table) for table in _hook_tables(lm.model)]
    found = trace(lm, IDS, sites_of(lm), "all", logits="all")
    assert torch.equal(found.logits, own)
    assert [len(table) for table in _hook_tables(lm.model)] == before


@pytest.mark.parametrize("name", TWELVE)
def test_attention_rows_are_those_the_model_returns(name: str) -> None:
    lm = lm_of(name)
    with torch.no_grad():
        own = lm.model(input_ids=IDS, use_cache=False, output_attentions=True).attentions
    found = trace(lm, IDS, ("pattern",), "all")
    for layer in range(lm.n_layers):
        expected = own[layer].transpose(1, 2)  # batch query head key
        torch.testing.assert_close(found.at("pattern", layer), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "gemma3_text", "mixtral"])
def test_attention_rows_under_sdpa_are_those_of_eager(name: str) -> None:
    eager = trace(lm_of(name), IDS, ("pattern",), "all")["pattern"]
    model = tiny(name)
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(trace(view(model), IDS, ("pattern",), "all")["pattern"], eager, atol=1e-4, rtol=1e-3)


def test_sites_are_what_plain_hooks_see() -> None:
    lm = lm_of("gemma2")
    model = lm.model
    seen: dict[tuple[str, int], torch.Tensor] = {}

    def keep(name, layer, output):
        seen[name, layer] = (output[0] if isinstance(output, tuple) else output).detach().clone()

    handles = []
    for layer, block in enumerate(model.model.layers):
        handles += [
            block.register_forward_hook(lambda m, a, out, layer=layer: keep("resid_post", layer, out)),
            block.post_attention_layernorm.register_forward_hook(lambda m, a, out, n=layer: keep("attn_out", n, out)),
            block.post_feedforward_layernorm.register_forward_hook(lambda m, a, out, n=layer: keep("mlp_out", n, out)),
            block.pre_feedforward_layernorm.register_forward_pre_hook(lambda m, a, n=layer: keep("resid_mid", n, a[0])),
            block.self_attn.o_proj.register_forward_pre_hook(lambda m, a, n=layer: keep("z", n, a[0])),
        ]
    found = trace(lm, IDS, ("resid_post", "attn_out", "mlp_out", "resid_mid", "z"), "all")
    assert all(any(h.id in d for d in _hook_tables(model)) for h in handles)  # other people's hooks survive
    for handle in handles:
        handle.remove()
    for (site, layer), expected in seen.items():
        torch.testing.assert_close(found.at(site, layer).flatten(2), expected, atol=1e-6, rtol=1e-6)


def _hook_tables(model):
    return [table for m in model.modules() for table in (m._forward_hooks, m._forward_pre_hooks)]


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "gpt_neox"])
def test_pattern_times_v_is_z(name: str) -> None:
    lm = lm_of(name)
    found = trace(lm, IDS, ("pattern", "v", "z"), "all")
    v = found["v"][:, :, :, list(lm.kv_head_of)]
    z = torch.einsum("lbqhk,lbkhd->lbqhd", found["pattern"], v)
    torch.testing.assert_close(z, found["z"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "gemma3_text"])
def test_positions_and_logits_of_unequal_prompts_are_those_of_each_alone(name: str) -> None:
    lm = lm_of(name)
    short = IDS[1:, :6]
    mask = torch.ones_like(IDS, dtype=torch.bool)
    mask[1, 6:] = False
    batch = tokenize(lm, IDS)
    batch = type(batch)(**{**{f: getattr(batch, f) for f in batch.__dataclass_fields__}, "mask": mask})
    found = trace(lm, batch, ("resid_post", "z", "pattern"), "last", logits="last")
    alone = trace(lm, short, ("resid_post", "z", "pattern"), "last", logits="last")
    torch.testing.assert_close(found["resid_post"][:, 1:], alone["resid_post"], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found["pattern"][:, 1:, ..., :6], alone["pattern"], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.logits[1:], alone.logits, atol=4e-5, rtol=1e-4)
    with torch.no_grad():
        own = lm.model(input_ids=short, use_cache=False).logits[:, -1:]
    torch.testing.assert_close(alone.logits, own, atol=2e-5, rtol=1e-5)


def test_a_role_is_the_columns_of_its_tokens(stories) -> None:
    from mnemoscope.model.load import load

    lm = load(str(stories))
    text = "Once upon a time, there was a little girl named Lily. She"
    start = text.index("Lily")
    prompt = Prompt(text=text, spans={"name": ((start - 1, start + 4),)})
    found = trace(lm, [prompt], ("resid_post",), "name", logits="positions")
    everything = trace(lm, [text], ("resid_post",), "all", logits="all")
    assert lm.tokenizer is not None
    assert lm.tokenizer.decode(found.batch.ids[0, found.columns[0]]).strip() == "Lily"
    columns = found.columns[0]
    torch.testing.assert_close(found["resid_post"], everything["resid_post"][:, :, columns], atol=0, rtol=0)
    torch.testing.assert_close(found.logits, everything.logits[:, columns], atol=2e-5, rtol=1e-5)


def test_layers_are_handed_over_one_by_one_and_freed() -> None:
    lm = lm_of("llama")
    batch = tokenize(lm, IDS)
    alive: list[weakref.ref] = []
    counts: list[int] = []

    def each(layer, found):
        alive.append(weakref.ref(found["z"]))
        gc.collect()
        counts.append(sum(ref() is not None for ref in alive))

    record(lm, batch, {"z": range(lm.n_layers)}, trace_columns(batch, "all", "equal"), each)
    assert counts == [1] * lm.n_layers


def test_nothing_of_ours_remains_after_an_exception() -> None:
    lm = view(tiny("llama"))  # fresh: transformers leaves hooks of its own once it has returned attentions
    batch = tokenize(lm, IDS)

    def each(layer, found):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        record(lm, batch, {"z": (0,), "attn_out": (0,)}, trace_columns(batch, "all", "equal"), each)
    assert not any(table for table in _hook_tables(lm.model))
    with torch.no_grad():
        torch.testing.assert_close(trace(lm, IDS, logits="all").logits, lm.model(IDS, use_cache=False).logits)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'resid_post'"):
        trace(lm_of("gpt2"), IDS, ("resid_pots",))
    with pytest.raises(OptionError, match="unknown layers"):
        trace(lm_of("gpt2"), IDS, ("z",), layers=(3,))
    with pytest.raises(UnsupportedError, match="no resid_mid"):
        trace(lm_of("phi"), IDS, ("resid_mid",))
    with pytest.raises(UnsupportedError, match="called 2 times"):
        trace(lm_of("diffllama"), IDS, ("z",))
    with pytest.raises(OptionError, match="was not recorded"):
        trace(lm_of("gpt2"), IDS, ("z",), layers=(1,)).at("z", 0)


def test_an_attention_function_that_does_something_else_is_noticed(monkeypatch) -> None:
    from mnemoscope.model.seams import AttentionCall

    own = AttentionCall.__call__

    def scaled(call, **changes):
        z, pattern = own(call, **changes)
        return z * 1.01, pattern

    monkeypatch.setattr(AttentionCall, "__call__", scaled)
    with pytest.raises(VerificationError, match="not what the model computed"):
        trace(lm_of("llama"), IDS, ("pattern",))
