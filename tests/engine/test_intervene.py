"""Patches as a context: the sweep's own effects, in `forward` and token by token in `generate`; patterns re-weighted."""

import numpy as np
import pytest
import torch

from mnemoscope.engine.intervene import intervene
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.sweep import sweep, sweep_cells
from mnemoscope.errors import InputError, OptionError


@torch.no_grad()
def logits(lm, ids):
    return lm.model(input_ids=ids, use_cache=False).logits


def test_a_context_is_the_sweeps_patch(naive):
    lm = naive.model("gemma2")
    base = naive.prompts(lm, 1, (8, 8, 8))
    steer = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(0))
    patches = [
        Patch(site="z", layer=1, head=2, position=(3, 5), op="zero"),
        Patch(site="resid_post", layer=0, position="all", op="add", value=steer),
        Patch(site="k", layer=2, head=0, position=4, op="scale", value=0.5),
    ]
    plain = logits(lm, base.ids)
    found = sweep_cells(lm, base, [(patch,) for patch in patches], tokens=7)
    for i, patch in enumerate(patches):
        with intervene(lm, [patch]):
            moved = logits(lm, base.ids)
        effect = (moved - plain)[:, -1, 7].numpy()
        assert np.abs(effect).max() > 1e-3
        np.testing.assert_allclose(found.effects[i], effect, atol=found.verification.tolerance)
    assert torch.equal(logits(lm, base.ids), plain)


@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
def test_generation_with_a_cache_is_generation_without(naive, name):
    """Steering every token: each generated token is the argmax of a whole pass that is steered likewise."""
    lm = naive.model(name)
    ids = naive.prompts(lm, 1, (6, 6)).ids
    steer = 2 * torch.randn(lm.d_model, generator=torch.Generator().manual_seed(3))
    patches = [
        Patch(site="mlp_out", layer=1, position="all", op="add", value=steer),
        Patch(site="z", layer=0, head=1, position=2, op="zero"),
    ]
    with intervene(lm, patches):
        out = lm.model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
        for stop in range(6, 11):
            assert torch.equal(logits(lm, out[:, :stop])[:, -1].argmax(-1), out[:, stop])
    plain = lm.model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert not torch.equal(plain, out)


def weighted(call, keys, gain, head):
    """The definition: columns times g, every row renormalised; with a sink, sink and all."""
    group = call.query.shape[1] // call.key.shape[1]
    key, value = (x.repeat_interleave(group, dim=1) for x in (call.key, call.value))
    scores = call.query @ key.mT * call.kwargs["scaling"]
    if call.kwargs.get("softcap"):
        scores = call.kwargs["softcap"] * torch.tanh(scores / call.kwargs["softcap"])
    scores = scores + call.mask
    sink = call.kwargs.get("s_aux")
    extra = [] if sink is None else [sink.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)]
    pattern = torch.cat([scores, *extra], -1).softmax(-1)
    pattern[:, head, :, keys] *= gain
    pattern = pattern / pattern.sum(-1, keepdim=True)
    return (pattern[..., : value.shape[2]] @ value).transpose(1, 2)


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss"])
def test_pattern_columns_times_g(naive, name):
    from mnemoscope.model.seams import attention_seam

    lm = naive.model(name)
    base = naive.prompts(lm, 1, (8, 8, 8))
    found = sweep(lm, base, site="pattern", op="scale", value=4.0, keys=(2, 3), positions="all", tokens=7, heads=[1])
    assert found.verification.path == "slow"
    plain = logits(lm, base.ids)[:, -1, 7]
    for layer in range(lm.n_layers):

        def handler(call, layer=layer):
            return (weighted(call, [2, 3], 4.0, 1), None) if call.layer == layer else call()

        with attention_seam(lm.attention_layers, handler):
            effect = (logits(lm, base.ids)[:, -1, 7] - plain).numpy()
        np.testing.assert_allclose(found.effects[layer, 0], effect, atol=1e-4)
    assert np.abs(found.effects).max() > 1e-2


def test_pattern_rows_from_another_run(naive):
    """Replaced by themselves they change nothing; from a source run, q and k of all positions would say the same."""
    lm = naive.model("llama")
    base, source = naive.prompts(lm, 1, (8, 8, 8)), naive.prompts(lm, 2, (8, 8, 8))
    own = sweep(lm, base, base, site="pattern", positions="all", tokens=7)
    np.testing.assert_allclose(own.effects, 0, atol=1e-4)
    heads = [h for h in range(lm.n_heads) if lm.kv_head_of[h] == 0]
    rows = tuple(Patch(site="pattern", layer=1, head=h, position="all") for h in heads)
    queries = tuple(Patch(site="q", layer=1, head=h, position="all") for h in heads)
    keys = (Patch(site="k", layer=1, head=0, position="all"),)
    found = sweep_cells(lm, base, [rows, (*queries, *keys)], sources=(source,), tokens=7)
    np.testing.assert_allclose(found.effects[0], found.effects[1], atol=1e-4)
    assert np.abs(found.effects).max() > 1e-2


def test_what_a_context_cannot_do(naive):
    lm = naive.model("llama")
    for patch, error in (
        (Patch(site="z", layer=0), InputError),
        (Patch(site="z", layer=0, op="zero", position="subject"), OptionError),
        (Patch(site="z", layer=9, op="zero"), OptionError),
        (Patch(site="pattern", layer=0, op="scale", value=2.0), InputError),
    ):
        with pytest.raises(error), intervene(lm, [patch]):
            pass
