"""Exchanges on planted circuits: the topic is carried, or the attribute; terms against the model's own logits."""

import numpy as np
import pytest
import torch

SIZES = {"topics": 4, "relations": 2, "templates": 2, "distractors": 2, "noise": 0.0}


def circuit(kind):
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted(kind, **SIZES)
    lm = view(made.model, made.tokenizer, name=kind)
    first, second = made.relations
    own = [p for p in made.prompts if p.labels["relation"] == first.name and p.labels["template"] == first.templates[0]]
    its = [
        p for p in made.prompts if p.labels["relation"] == second.name and p.labels["template"] == second.templates[0]
    ]
    word = made.tokenizer.convert_tokens_to_ids
    return made, lm, own, its, word


@pytest.mark.parametrize("kind", ["recall", "attribute"])
def test_the_control_tells_a_topic_from_an_attribute(kind):
    from mnemoscope.measures.function_application import exchange, named, of_heads

    made, lm, own, its, word = circuit(kind)
    heads = made.truth.of_kind("mover" if kind == "recall" else "attribute_mover")
    movers = [(h.layer, h.head) for h in heads]
    n = len(own)
    turned = [own[(i + 1) % n] for i in range(n)]
    partners = [
        {word(p.answer.strip()): "own", word(q.answer.strip()): "partner"} for p, q in zip(own, turned, strict=True)
    ]
    within = exchange(lm, own, turned, {"movers": of_heads(movers)})
    assert named(within.base, partners) == ["own"] * n
    assert named(within.patched["movers"], partners) == ["partner"] * n
    across = [its[(i + 1) % n] for i in range(n)]
    names = [one | {word(q.answer.strip()): "attribute"} for one, q in zip(partners, across, strict=True)]
    control = exchange(lm, own, across, {"movers": of_heads(movers)})
    assert set(named(control.patched["movers"], names)) == {"partner" if kind == "recall" else "attribute"}


def test_bystanders_are_of_the_same_layers_and_no_movers():
    from mnemoscope.measures.function_application import bystanders

    heads = [(layer, head) for layer in range(3) for head in range(3)]
    movers = [(1, 0), (1, 2), (2, 1)]
    for seed in range(20):
        found = bystanders(movers, heads, np.random.default_rng(seed))
        assert [layer for layer, _ in found] == [1, 2]  # layer 1 has one head left
        assert not set(found) & set(movers)


@pytest.mark.parametrize("exchanged", [False, True])
def test_terms_sum_to_the_difference_of_logits(exchanged):
    """Embeddings say the same of both answers here, so attention and MLPs sum to the model's own logit difference."""
    from mnemoscope.measures.function_application import exchange, of_heads, places, terms

    made, lm, own, _, word = circuit("recall")
    movers = [(h.layer, h.head) for h in made.truth.of_kind("mover")]
    turned = [*own[1:], own[0]]
    a, b = (torch.tensor([word(p.answer.strip()) for p in prompts]) for prompts in (own, turned))
    found = terms(lm, own, a, b, **({"heads": movers, "source": turned} if exchanged else {}))
    runs = exchange(lm, own, turned, {"movers": of_heads(movers)})
    logits = runs.patched["movers"] if exchanged else runs.base
    each = np.arange(len(own))
    whole = logits[each, a.numpy()] - logits[each, b.numpy()]
    assert np.allclose(found.attn.sum(0) + found.mlp.sum(0), whole, atol=1e-2)
    answering = next(mlp.layer for mlp in made.truth.mlps if "answerer" in mlp.kinds)
    assert (np.abs(found.mlp).argmax(0) == answering).all()
    if not exchanged:
        place = places(lm, own, a, a.sort().values)
        assert (place[answering:] == 0).all()
        assert (place[answering - 1] > 0).any()
