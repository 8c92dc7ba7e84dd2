"""Path patching against its definition in whole forward passes, its exact zeros, and attribution as its linear limit."""

import numpy as np
import pytest
import torch

from mnemoscope.engine.paths import path_patch
from mnemoscope.errors import OptionError, PromptError
from mnemoscope.model.weights import W_O


def pair(naive, name):
    lm = naive.model(name)
    return lm, naive.prompts(lm, 1, (8, 8, 8)), naive.prompts(lm, 2, (8, 8, 8))


def senders_of(lm):
    return [(layer, head) for layer in range(lm.n_layers) for head in (*range(lm.n_heads), None)]


def held(lm, kept, sender, donor, position, *, frozen):
    """Changes of the sending pass: z (and MLP outputs) as they were, at every position; then the sender's."""
    changes = {}
    for layer in range(lm.n_layers):
        for site in ("z", "mlp_out") if frozen else ("z",):

            def back(value, key=(site, layer)):
                value[:] = kept[key]

            changes[site, layer] = back
    layer, head = sender
    key = ("mlp_out", layer) if head is None else ("z", layer)
    before = changes.get(key)

    def send(value):
        if before is not None:
            before(value)
        index = position if head is None else (position, head)
        value[index] = donor[key][index]

    return {**changes, key: send}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frozen"), [("gpt2", False), ("phi", True), ("gemma2", True), ("gpt_oss", False)])
def test_to_the_logits_is_the_definition(naive, name, frozen):
    lm, base, source = pair(naive, name)
    senders = senders_of(lm)[::3]
    mlps = "frozen" if frozen else "free"
    found = path_patch(lm, base, source, senders=senders, mlps=mlps, tokens=naive.TOKENS)
    for b in range(3):
        kept, donor = {}, {}
        plain = naive.last_logit(naive.run(lm, base.ids[b], {}, kept), b)
        naive.run(lm, source.ids[b], {}, donor)
        for i, sender in enumerate(senders):
            changes = held(lm, kept, sender, donor, 7, frozen=frozen)
            effect = naive.last_logit(naive.run(lm, base.ids[b], changes), b) - plain
            np.testing.assert_allclose(found.effects[i, b], effect, atol=found.verification.tolerance)


@pytest.mark.parametrize(("into", "position"), [("q", 7), ("k", 4), ("v", 4)])
def test_into_a_receiver_is_the_definition(naive, into, position):
    lm, base, source = pair(naive, "qwen3")
    senders, receivers = senders_of(lm)[::2], [(2, 1), (1, 0)]
    found = path_patch(
        lm, base, source, senders=senders, receivers=receivers, into=into, positions=position, tokens=naive.TOKENS
    )
    for b in range(3):
        kept, donor = {}, {}
        plain = naive.last_logit(naive.run(lm, base.ids[b], {}, kept), b)
        naive.run(lm, source.ids[b], {}, donor)
        for i, sender in enumerate(senders):
            sent = {}
            naive.run(lm, base.ids[b], held(lm, kept, sender, donor, position, frozen=False), sent)
            changes = {}
            for layer, head in receivers:
                if layer > sender[0]:

                    def receive(value, layer=layer, head=head, sent=sent):
                        value[position, head] = sent[into, layer][position, head]

                    changes[into, layer] = receive
            effect = naive.last_logit(naive.run(lm, base.ids[b], changes), b) - plain
            np.testing.assert_allclose(found.effects[i, b], effect, atol=found.verification.tolerance)


def test_a_sender_elsewhere_has_exactly_no_effect(naive):
    lm, base, source = pair(naive, "llama")
    senders = senders_of(lm)
    elsewhere = path_patch(lm, base, source, senders=senders, positions=4, tokens=naive.TOKENS)
    assert (elsewhere.effects == 0).all()
    late = [(lm.n_layers - 1, 0), (0, 1)]
    received = path_patch(lm, base, source, senders=late, receivers=[(1, 0)], tokens=naive.TOKENS)
    assert (received.effects[0] == 0).all()
    assert (received.effects[1] != 0).all()
    kept, donor = {}, {}
    plain = naive.run(lm, base.ids[0], {}, kept)[-1]
    naive.run(lm, source.ids[0], {}, donor)
    moved = naive.run(lm, base.ids[0], held(lm, kept, (0, 1), donor, 4, frozen=False))[-1]
    assert torch.equal(moved, plain)  # the definition itself: not small, zero


def test_means_over_chosen_source_prompts(naive):
    lm, base, source = pair(naive, "gpt2")
    weights = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    found = path_patch(lm, base, source, senders=[(0, 1)], replacement=weights, tokens=naive.TOKENS)
    donors = [{}, {}, {}]
    for b in range(3):
        naive.run(lm, source.ids[b], {}, donors[b])
    for b in range(3):
        kept = {}
        plain = naive.last_logit(naive.run(lm, base.ids[b], {}, kept), b)
        mean = {("z", 0): sum(weights[b, i] * donors[i]["z", 0] for i in range(3))}
        effect = naive.last_logit(naive.run(lm, base.ids[b], held(lm, kept, (0, 1), mean, 7, frozen=False)), b) - plain
        np.testing.assert_allclose(found.effects[0, b], effect, atol=found.verification.tolerance)


@pytest.mark.parametrize("name", ["gpt2", "llama", "phi"])
def test_with_everything_frozen_the_effect_is_the_attribution_difference(naive, name):
    """All later parts held and the final norm at its recorded scale: a_h = <g (W_O z_h - its mean) / s, W_U>, by hand."""
    lm, base, source = pair(naive, name)
    senders = [(layer, head) for layer in range(lm.n_layers) for head in range(lm.n_heads)]
    found = path_patch(lm, base, source, senders=senders, mlps="frozen", norm="frozen", tokens=naive.TOKENS)
    final = lm.model.get_decoder()
    final = getattr(final, "ln_f", None) or getattr(final, "final_layernorm", None) or final.norm
    centre = name != "llama"
    eps = getattr(final, "eps", None) or final.variance_epsilon
    for b in range(3):
        kept, donor = {}, {}
        naive.run(lm, base.ids[b], {}, kept)
        naive.run(lm, source.ids[b], {}, donor)
        last = kept["resid_post", lm.n_layers - 1][7]
        last = last - last.mean() if centre else last
        scale = (last.square().mean() + eps).sqrt()
        direction = (lm.model.lm_head.weight[naive.TOKENS[b]] * final.weight).detach() / scale
        for i, (layer, head) in enumerate(senders):
            written = (donor["z", layer] - kept["z", layer])[7, head] @ W_O(lm, layer)[head].detach()
            written = written - written.mean() if centre else written
            np.testing.assert_allclose(found.effects[i, b], float(written.detach() @ direction), atol=1e-4)
    assert np.abs(found.effects).max() > 0.1


def test_what_has_no_path_says_so(naive):
    lm, base, source = pair(naive, "gpt2")
    with pytest.raises(OptionError, match="do not exist"):
        path_patch(lm, base, source, senders=[(9, 0)], tokens=3)
    with pytest.raises(PromptError, match="one token"):
        path_patch(lm, base, source, senders=[(0, 0)], positions="subject", tokens=3)
