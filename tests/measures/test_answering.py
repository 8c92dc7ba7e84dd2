"""Answers against transformers' own generate, and probabilities against whole passes; with and without reuse of the prompt."""

import math

import pytest
import torch


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def asked(request):
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("geometry", family=request.param, noise=0.5, draws=1, people=3, sentences=2)
    return made, view(made.model, made.tokenizer, name=request.param), made.prompts[:7]


def whole(made, prompt, answer):
    """log p(answer | prompt) in one pass over both, token by token."""
    before = made.tokenizer(prompt.text, return_tensors="pt")["input_ids"]
    after = made.tokenizer(prompt.text + answer, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        log_p = made.model(input_ids=after).logits.float().log_softmax(-1)[0]
    at = range(before.shape[1], after.shape[1])
    return sum(float(log_p[i - 1, after[0, i]]) for i in at)


def test_probabilities_are_those_of_whole_passes(asked):
    from mnemoscope.measures.answering import answered

    made, lm, prompts = asked
    for prompt, one in zip(prompts, answered(lm, prompts, batch=4), strict=True):
        own = whole(made, prompt, prompt.answer)
        assert one.logprob == pytest.approx(own, abs=1e-4)
        assert one.margin == pytest.approx(own - max(whole(made, prompt, f) for f in prompt.foils), abs=1e-4)


def test_what_is_said_is_greedy(asked):
    """Every word said is the most probable one in a whole pass (ties within rounding), the first one that of generate."""
    from mnemoscope.measures.answering import EXTRA, answered

    made, lm, prompts = asked
    for prompt, one in zip(prompts, answered(lm, prompts, batch=4), strict=True):
        ids = made.tokenizer(prompt.text, return_tensors="pt")["input_ids"]
        out = made.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False)
        said = made.tokenizer(one.said, add_special_tokens=False)["input_ids"]
        assert len(said) == 1 + EXTRA
        assert said[0] == int(out[0, -1])
        with torch.no_grad():
            logits = made.model(input_ids=torch.cat([ids, torch.tensor([said])], dim=1)).logits[
                0, ids.shape[1] - 1 : -1
            ]
        best = logits.max(-1).values - logits[torch.arange(len(said)), torch.tensor(said)]
        assert float(best.max()) < 1e-4


def test_without_reuse_the_numbers_are_the_same(asked):
    from mnemoscope.measures.answering import Reuse, answered, reuse
    from mnemoscope.model.lm import view

    made, lm, prompts = asked
    assert reuse(lm).reason == ""
    other = view(made.model, made.tokenizer, name="no reuse")
    other.once("prefix reuse", lambda: Reuse(error=math.nan, allowed=0.0, reason="for this test"))
    for fast, slow in zip(answered(lm, prompts), answered(other, prompts), strict=True):
        assert fast.said == slow.said
        assert fast.logprob == pytest.approx(slow.logprob, abs=1e-4)


def test_equal_lengths_where_padding_is_refused(asked):
    from mnemoscope.measures.answering import answered
    from mnemoscope.model.lm import view

    made, lm, prompts = asked
    strict = view(made.model, made.tokenizer, name="no padding")
    strict.once("left padding", lambda: "for this test")
    for padded, alone in zip(answered(lm, prompts), answered(strict, prompts), strict=True):
        assert padded.logprob == pytest.approx(alone.logprob, abs=1e-4)


def test_candidates_of_several_tokens_and_of_different_length(asked):
    from dataclasses import replace

    from mnemoscope.measures.answering import answered

    made, lm, prompts = asked
    words = made.truth.facts["names"]
    long = replace(prompts[0], answer=f" {words[0]} {words[1]} .", foils=(f" {words[2]}", f" {words[1]} ."))
    (one,) = answered(lm, [long])
    assert one.logprob == pytest.approx(whole(made, long, long.answer), abs=1e-4)
    assert one.margin == pytest.approx(one.logprob - max(whole(made, long, f) for f in long.foils), abs=1e-4)
    (none,) = answered(lm, [replace(prompts[0], foils=())])
    assert math.isnan(none.margin)
