"""Failures that users of other tools reported, as tests of ours. The comment names the public thread."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import sweep
from mnemoscope.errors import UnsupportedError
from mnemoscope.model import weights
from mnemoscope.model.batch import batch_of_ids, forward_inputs, tokenize
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import tiny


def ids(n, length, seed=0):
    return torch.randint(3, 200, (n, length), generator=torch.Generator().manual_seed(seed))


# ndif-team/nnsight 672: a left-padded GPT-2 batch without position ids moved the next-token distribution, without an error.
# TransformerLens 1005: a batch gave other results than its prompts one by one, because pads were not masked.
@pytest.mark.parametrize("family", ["gpt2", "gpt-sw3", "biogpt", "ctrl", "gpt_bigcode", "openai-gpt", "xglm"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_prompt_has_the_numbers_it_has_alone(family, side):
    lm = view(tiny(family))
    long, short = ids(1, 11)[0].tolist(), ids(1, 6, seed=1)[0].tolist()
    batch = batch_of_ids(lm, [long, short], padding=side)
    with torch.no_grad():
        together = lm.model(**forward_inputs(lm, batch), use_cache=False).logits[1, int(batch.last[1])]
        alone = lm.model(input_ids=torch.tensor([short]), use_cache=False).logits[0, -1]
    assert float((together - alone).abs().max()) < 32 * torch.finfo(torch.float32).eps * float(alone.abs().max())


# TransformerLens 1639: on BLOOM, what was called the attention's output held the whole residual stream.
def test_blooms_writers_are_refused_by_name_and_its_parts_still_sum():
    lm = view(tiny("bloom"))
    with pytest.raises(UnsupportedError, match="attn_out"):
        trace(lm, ids(2, 7), sites=("attn_out",))
    parts = decompose(lm, ids(2, 7))
    whole = trace(lm, ids(2, 7), sites=("resid_post",), layers=(lm.n_layers - 1,))
    torch.testing.assert_close(parts.outputs().sum(0), whole["resid_post"][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_attention_and_mlp_outputs_are_what_is_added_to_the_stream(family):
    lm = view(tiny(family))
    found = trace(lm, ids(2, 7), sites=("resid_pre", "attn_out", "mlp_out", "resid_post"), positions="all")
    total = found["resid_pre"] + found["attn_out"] + found["mlp_out"]
    torch.testing.assert_close(total, found["resid_post"], rtol=1e-5, atol=1e-4)
    assert float((found["attn_out"] - found["resid_post"]).abs().max()) > 0.1


# TransformerLens 1680: chosen positions were ignored without a word, and tearing down removed other people's hooks.
def test_positions_are_honoured_and_foreign_hooks_survive():
    lm = view(tiny("llama"))
    seen = []
    handle = lm.blocks[1].register_forward_hook(lambda module, args, output: seen.append(1))
    tokens = ids(2, 7)
    every = trace(lm, tokens, sites=("z",), positions="all")
    last = trace(lm, tokens, sites=("z",), positions="last")
    assert last["z"].shape[2] == 1
    torch.testing.assert_close(last["z"][:, :, 0], every["z"][:, :, -1], rtol=0, atol=0)
    before = len(seen)
    lm.model(input_ids=tokens, use_cache=False)
    assert len(seen) == before + 1
    handle.remove()


# TransformerLens 980: patching k or v heads raised on every model with grouped heads.
@pytest.mark.parametrize("site", ["k", "v"])
def test_key_and_value_heads_are_patched_where_heads_are_grouped(site):
    lm = view(tiny("llama"))
    assert lm.n_kv_heads < lm.n_heads
    base, source = ids(2, 7), ids(2, 7, seed=1)
    fast = sweep(lm, base, source, site=site, tokens=[5, 6])
    slow = sweep(lm, base, source, site=site, tokens=[5, 6], path="slow")
    assert fast.axes == ("layer", "kv_head", "prompt")
    assert fast.effects.shape == (lm.n_layers, lm.n_kv_heads, 2)
    assert np.abs(fast.effects).max() > 1e-2
    np.testing.assert_allclose(fast.effects, slow.effects, atol=fast.verification.tolerance)


# TransformerLens 1553, 1585, 1593: OV and QK circuits crashed, or mixed heads up, on every model with grouped heads.
def test_a_heads_output_is_its_own_value_circuit_where_heads_are_grouped():
    lm = view(tiny("llama"))
    found = trace(lm, ids(1, 7), sites=("v", "pattern", "attn_out"), positions="all")
    for layer in range(lm.n_layers):
        v, rows = found.at("v", layer)[0], found.at("pattern", layer)[0]
        W_O, b_O = weights.W_O(lm, layer), weights.b_O(lm, layer)
        total = b_O.expand(v.shape[0], -1)
        for head, kv in enumerate(lm.kv_head_of):
            total = total + rows[:, head, : v.shape[0]] @ v[:, kv] @ W_O[head]
        torch.testing.assert_close(total, found.at("attn_out", layer)[0], rtol=1e-4, atol=1e-4)


# TransformerLens 1418: a BOS token that the tokenizer does not add was added silently.
def test_nothing_is_put_in_front_of_a_text_silently():
    from tokenizers import Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({"<s>": 0, "a": 1, "b": 2}, unk_token="<s>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")
    lm = view(tiny("gpt2"), tokenizer)
    assert tokenize(lm, ["a b a"]).ids.tolist() == [[1, 2, 1]] == [tokenizer("a b a").input_ids]
    assert tokenize(lm, ["a b a"], bos="yes").ids.tolist() == [[0, 1, 2, 1]]
