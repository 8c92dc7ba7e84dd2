"""Causal weights of planted movers, wrong topics and decoys; parts that sum; models whose MLP cannot be asked."""

import pytest
import torch

SIZES = {"topics": 5, "relations": 2, "templates": 2, "distractors": 3}


def looked(family="llama", **options):
    from mnemoscope.measures.mlp_activation import askable, asked, readings
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("recall", family=family, **{"noise": 0.0, **SIZES, **options})
    lm = view(made.model, made.tokenizer, name="planted")
    prompts = [p for p in made.prompts if p.labels["relation"] == made.relations[0].name]
    topics = sorted({p.labels["topic"] for p in prompts})
    code = torch.tensor([topics.index(p.labels["topic"]) for p in prompts])
    heads = [(h.layer, h.head) for h in made.truth.heads]
    found = readings(lm, tokenize(lm, prompts), askable(lm), heads)
    groups = {"pooled": torch.zeros(len(prompts), dtype=torch.long), "within": code}
    return made, lm, found, asked(lm, found, groups)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_movers_are_amplified_and_wrong_topics_erased(family):
    from mnemoscope.measures.mlp_activation import along
    from mnemoscope.reference.planting.recall import AMPLIFY

    made, _, found, answered = looked(family)
    layer = next(mlp.layer for mlp in made.truth.mlps if "answerer" in mlp.kinds)
    kinds = {(h.layer, h.head): h.kind for h in made.truth.heads}
    one, place = answered[layer], {head: i for i, head in enumerate(found[layer].heads)}
    change, size = along(one.change["pooled"], one.d["pooled"])
    tangent, _ = along(one.tangent, one.d["pooled"])
    for head, i in place.items():
        e = float(change[i].sum() / size[i].sum())
        wanted = {"mover": AMPLIFY, "wrong_neighbour": -1.0, "wrong_bystander": -1.0}.get(kinds[head])
        if wanted is not None:
            assert one.varies["pooled"][i]
            assert e == pytest.approx(wanted, abs=0.02)
            assert float(tangent[i].sum() / size[i].sum()) == pytest.approx(wanted, abs=0.02)
        elif one.varies["pooled"][i] and kinds[head] == "distractor":
            assert abs(e) < 0.1
    for head in made.truth.of_kind("mover"):  # it says the same in all templates of a topic
        assert not one.varies["within"][place[head.layer, head.head]]


def test_parts_sum_to_what_the_mlp_reads_and_it_answers_as_recorded():
    _, _, found, answered = looked()
    for layer, one in found.items():
        torch.testing.assert_close(one.parts.sum(0), one.stream)
        assert answered[layer].error < 1e-5


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "granite"])
def test_parallel_blocks_post_norms_and_multipliers(name):
    """Heads are those that the MLP can see, in units of its own stream; asking it gives what was recorded."""
    from mnemoscope.measures.mlp_activation import askable, asked, readings, visible
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    lm = view(tiny(name), name=name)
    ids = torch.randint(1, lm.d_vocab, (4, 6), generator=torch.Generator().manual_seed(0))
    every = [(layer, head) for layer in range(lm.n_layers) for head in range(lm.n_heads)]
    found = readings(lm, tokenize(lm, ids), askable(lm), every)
    parallel = name == "gpt_neox"
    assert (0 in found) is not parallel
    for layer, one in found.items():
        assert (
            {head[0] for head in one.heads} == set(range(layer if parallel else layer + 1)) == set(visible(lm, layer))
        )
        torch.testing.assert_close(one.parts.sum(0), one.stream, rtol=1e-4, atol=1e-5)
    answered = asked(lm, found, {"pooled": torch.zeros(4, dtype=torch.long)})
    assert max(one.error for one in answered.values()) < 1e-4
    last = lm.n_layers - 1
    remainder = found[last].parts[-1]  # embedding, biases and MLPs: no head of the model is left in it
    moved = found[last].stream - found[last].parts[:-1].sum(0)
    torch.testing.assert_close(remainder, moved, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_asked_is_refused():
    from mnemoscope.errors import UnsupportedError
    from mnemoscope.measures.mlp_activation import readings
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    lm = view(tiny("gpt_neox"), name="gpt_neox")
    with pytest.raises(UnsupportedError, match="sees no head"):
        readings(lm, tokenize(lm, torch.ones((1, 3), dtype=torch.long)), [0], [])


def test_silence_along_the_answers_is_no_weight():
    from mnemoscope.measures.mlp_activation import along, deviations, listed

    d = torch.zeros(2, 3, 4)
    d[0, :, 0], d[1, :, 1] = torch.tensor([1.0, -2.0, 1.0]), torch.tensor([3.0, 0.0, -3.0])
    rows = torch.tensor([[1.0, 0, 0, 0]])
    change, size = along(2 * d, d, rows)
    assert float(change[0].sum() / size[0].sum()) == pytest.approx(2.0)
    assert torch.isnan(change[1]).all()
    parts = torch.arange(12.0).reshape(1, 4, 3)
    centred = deviations(parts, torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(centred[0, 0] + centred[0, 2], torch.zeros(3))
    loud = {(0, 0): (9.0, 0.0), (0, 1): (1.0, 5.0), (1, 0): (8.0, 4.0), (1, 1): (0.0, 0.0)}
    assert listed(loud, [(1, 1)], 3) == ((0, 0), (0, 1), (1, 1))
