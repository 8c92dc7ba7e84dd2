"""Planted fact circuits: movers, erased heads, the answering MLP, the suppressor, and the control that tells the decoy."""

import pytest
import torch

from mnemoscope.data.relation import prompt
from mnemoscope.reference.planting.recall import AMPLIFY

SIZES = {"topics": 6, "relations": 3, "templates": 3, "distractors": 3}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def recall(request, plant, probe):
    return probe(plant("recall", family=request.param, noise=0.0, **SIZES))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def attribute(request, plant, probe):
    return probe(plant("attribute", family=request.param, noise=0.0, **SIZES))


def partner(looked, *, other_relation):
    """For every prompt another of the same template number and another topic: of the same relation, or of the next."""
    relations = {r.name: r for r in looked.made.relations}
    names = list(relations)
    found = []
    for p in looked.prompts:
        r = relations[p.labels["relation"]]
        number = r.templates.index(p.labels["template"])
        r = relations[names[(names.index(r.name) + other_relation) % len(names)]]
        topics = [f.topic for f in r.facts]
        topic = topics[(topics.index(p.labels["topic"]) + 2) % len(topics)]
        found.append((r.name, number, topic))
    index = {
        (
            p.labels["relation"],
            relations[p.labels["relation"]].templates.index(p.labels["template"]),
            p.labels["topic"],
        ): i
        for i, p in enumerate(looked.prompts)
    }
    return torch.tensor([index[key] for key in found])


def answers(looked, *, relation_of, topic_of):
    facts = {(r.name, f.topic): f.answer for r in looked.made.relations for f in r.facts}
    words = [
        facts[looked.prompts[a].labels["relation"], looked.prompts[b].labels["topic"]]
        for a, b in zip(relation_of.tolist(), topic_of.tolist(), strict=True)
    ]
    return looked.tokens(words)


def exchanged(looked, kind, source):
    """Top token after the heads of a kind get their z from the source prompts."""
    heads = looked.truth.of_kind(kind)
    return looked.patched({(h.layer, h.head): looked.z_of(h)[source] for h in heads}).argmax(-1)


@pytest.mark.parametrize("kind", ["recall", "attribute"])
@pytest.mark.parametrize("suppressor", ["mlp", "head"])
def test_facts_are_answered_also_behind_demonstrations(kind, suppressor, plant, probe):
    looked = probe(plant(kind, noise=0.0, suppressor=suppressor, **SIZES))
    assert looked.accuracy() == 1.0
    r = looked.made.relations[0]
    few = [prompt(r, f, t, shots=[g for g in r.facts if g is not f][:3]) for f in r.facts for t in r.templates]
    assert probe(looked.made, few).accuracy() == 1.0


def test_exchanging_movers_applies_the_relation_to_the_other_topic(recall):
    """Topic carried: the answer becomes r(X'), whatever relation the source prompt asked for (methods.md B6.6)."""
    own = recall.rows
    for other_relation in (0, 1):
        source = partner(recall, other_relation=other_relation)
        expected = answers(recall, relation_of=own, topic_of=source)
        assert (exchanged(recall, "mover", source) == expected).float().mean() >= 0.95


def test_the_attribute_decoy_fails_the_control(attribute):
    """Attribute carried: within a relation it looks the same; from another relation its answer comes along, r'(X')."""
    within, across = (partner(attribute, other_relation=k) for k in (0, 1))
    expected = answers(attribute, relation_of=attribute.rows, topic_of=within)
    assert (exchanged(attribute, "attribute_mover", within) == expected).float().mean() >= 0.95
    top = exchanged(attribute, "attribute_mover", across)
    assert (top == answers(attribute, relation_of=across, topic_of=across)).float().mean() >= 0.95
    assert (top == answers(attribute, relation_of=attribute.rows, topic_of=across)).float().mean() <= 0.05


def test_movers_attend_to_the_topic_and_write_it(recall):
    topics = recall.tokens(p.labels["topic"] for p in recall.prompts)
    for head in recall.truth.of_kind("mover"):
        for i, last in enumerate(recall.last.tolist()):
            assert recall.attention[head.layer][i, head.head, last, recall.places(i, "topic")[0]] > 0.95
        written = recall.z_of(head) @ recall.W_O(head) @ recall.W_U
        assert (written.argmax(-1) == topics).all()


def causal_weight(looked, head, layer):
    """e_h of methods.md B6.5 for one MLP: <m(x) - m(x - a_h + mean a_h), a_h - mean a_h> / |a_h - mean a_h|^2, summed."""
    block = looked.blocks[layer]
    stream = looked.stream[layer + 1][looked.rows, looked.last] - looked.mlp[layer][looked.rows, looked.last]
    a = looked.z_of(head) @ looked.W_O(head)
    shift = a - a.mean(0)
    if shift.abs().max() < 1e-3:
        return float("nan")
    with torch.no_grad():
        change = block.mlp(looked.norms[layer][1](stream)) - block.mlp(looked.norms[layer][1](stream - shift))
    return ((change * shift).sum() / (shift * shift).sum()).item()


def test_the_mlp_erases_wrong_topics_and_amplifies_movers(recall):
    layer = next(mlp.layer for mlp in recall.truth.mlps if "answerer" in mlp.kinds)
    for kind in ("wrong_neighbour", "wrong_bystander"):
        for head in recall.truth.of_kind(kind):
            assert causal_weight(recall, head, layer) == pytest.approx(-1, abs=0.02)
            assert recall.cause(head).abs().max() < 0.05
    for head in recall.truth.of_kind("mover"):
        assert causal_weight(recall, head, layer) == pytest.approx(AMPLIFY, abs=0.02)
    for head in recall.truth.of_kind("distractor"):
        weight = causal_weight(recall, head, layer)
        assert weight != weight or abs(weight) < 0.1


def test_the_answer_appears_in_the_answering_mlp(recall):
    layer = next(mlp.layer for mlp in recall.truth.mlps if "answerer" in mlp.kinds)
    answer = recall.tokens(p.answer for p in recall.prompts)
    before, after = (recall.stream[i][recall.rows, recall.last] @ recall.W_U for i in (layer, layer + 1))
    assert before[recall.rows, answer].abs().max() < 0.1
    assert after[recall.rows, answer].min() > 10


@pytest.mark.parametrize("kind", ["recall", "attribute"])
@pytest.mark.parametrize(("suppressor", "amount"), [("mlp", 3.0), ("head", 2.0), ("mlp", 0.0)])
def test_the_suppressor_takes_what_it_should(kind, suppressor, amount, plant, probe):
    """The write term of methods.md B6.7, -D W'_Y / s_L, norm-folded and vocabulary-centred: within 5% of the planted one."""
    looked = probe(plant(kind, noise=0.0, suppressor=suppressor, amount=amount, **SIZES))
    said = looked.truth.facts["suppression"]
    D = looked.stream[said["layer"] + 1] - looked.stream[said["layer"]]
    final = looked.stream[-1]
    s = final.norm(dim=-1, keepdim=True) / final.shape[-1] ** 0.5
    gain = looked.final_norm.weight.detach()
    centred = looked.W_U - looked.W_U.mean(1, keepdim=True)
    write = -((D / s * gain) @ centred)[looked.rows, looked.last]
    answer = looked.tokens(p.answer for p in looked.prompts)
    taken = write[looked.rows, answer]
    assert taken.mean().item() == pytest.approx(said["centred_logits"], rel=0.05, abs=0.05)
    assert said["logits"] == amount


@pytest.mark.parametrize("seed", range(3))
def test_the_amount_is_that_of_the_suppressor_also_where_distractors_write_beside_it(seed, plant, probe):
    looked = probe(plant("recall", noise=0.0, seed=seed, topics=6, relations=2, templates=3, distractors=8))
    said = looked.truth.facts["suppression"]
    assert any(head.layer == said["layer"] for head in looked.truth.of_kind("distractor"))
    final, gain = looked.stream[-1][looked.rows, looked.last], looked.final_norm.weight.detach()
    s = final.norm(dim=-1, keepdim=True) / final.shape[-1] ** 0.5
    centred = looked.W_U - looked.W_U.mean(1, keepdim=True)
    own = -((looked.mlp[said["layer"]][looked.rows, looked.last] / s * gain) @ centred)
    taken = own[looked.rows, looked.tokens(p.answer for p in looked.prompts)]
    assert taken.mean().item() == pytest.approx(said["centred_logits"], rel=0.05)


@pytest.mark.parametrize("alike", [False, True])
def test_plain_text_is_expected_as_surely_as_answers_and_spared_or_not(alike, plant, probe):
    """Every habitual word expects the next one, at strengths on both sides of an answer's; the twin takes the same from them."""
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.reference.planting.habits import HABITUAL, STRONGEST, WEAKEST
    from mnemoscope.reference.planting.recall import ANSWER
    from mnemoscope.reference.planting.space import LOGIT_GAIN

    text = " ".join(HABITUAL)
    looked = probe(plant("recall", noise=0.0, alike=alike, **SIZES), [Prompt(text=text)])
    following = looked.tokens([*HABITUAL[1:], HABITUAL[0]])
    before, after = (looked.stream[i][0, -len(HABITUAL) :] @ looked.W_U for i in (-2, -1))
    sure = before[range(len(HABITUAL)), following]
    assert (before.argmax(-1) == following).all()
    assert sure.min() / LOGIT_GAIN == pytest.approx(WEAKEST, rel=0.05)
    assert sure.max() / LOGIT_GAIN == pytest.approx(STRONGEST, rel=0.05)
    assert WEAKEST < ANSWER < STRONGEST
    taken = sure - after[range(len(HABITUAL)), following]
    assert taken.mean().item() == pytest.approx(looked.truth.facts["suppression"]["logits"] * alike, rel=0.05, abs=0.05)


def test_a_head_cannot_take_from_plain_text(plant):
    from mnemoscope.errors import InputError

    with pytest.raises(InputError, match="suppressor of all"):
        plant("recall", suppressor="head", alike=True, **SIZES)


def test_truth_names_every_role_once(recall):
    seen = {}
    for part in (*recall.truth.heads, *recall.truth.mlps):
        for measure in part.signature.seen:
            seen.setdefault(measure, []).append(part)
    assert {name: len(parts) for name, parts in seen.items()} == {
        "move": 2,
        "relate": 1,
        "erase": 2,
        "apply": 1,
        "suppress": 1,
    }
