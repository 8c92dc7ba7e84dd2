"""Planted models as ordinary models: saved, loaded, alike in both families, and clear about what cannot be built."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemoscope.errors import InputError
from mnemoscope.reference import planted
from mnemoscope.reference.planting import truth as truths
from mnemoscope.reference.planting.build import KINDS
from mnemoscope.reference.planting.clock import LONGEST, learned, rotary
from mnemoscope.reference.planting.decoys import PREVIOUS
from mnemoscope.reference.planting.noise import CURVE, spoiled
from mnemoscope.reference.planting.plan import dice
from mnemoscope.reference.planting.semantic import Sizes, plan

SMALL = {
    "induction": {"vocabulary": 12, "period": 6, "documents": 3},
    "semantic": {"pairs": 5, "triples": 3, "fillers": 4, "documents": 2, "distractors": 2},
    "recall": {"topics": 4, "relations": 2, "templates": 2, "distractors": 1},
    "attribute": {"topics": 4, "relations": 2, "templates": 2, "distractors": 1},
    "geometry": {"people": 4, "draws": 1},
    "geometry_twin": {"people": 4, "draws": 1},
}


def test_every_kind_is_tried():
    assert set(SMALL) == set(KINDS)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", SMALL)
def test_a_saved_model_is_the_model(kind, family, tmp_path):
    made = planted(kind, family=family, folder=tmp_path, **SMALL[kind])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    texts = [prompt.text for prompt in made.prompts[:2]]
    before, after = (t(texts, return_tensors="pt", padding=True)["input_ids"] for t in (made.tokenizer, tokenizer))
    assert torch.equal(before, after)
    with torch.no_grad():
        assert torch.equal(model(before).logits, made.model(before).logits)
    assert truths.read(tmp_path).to_json() == made.truth.to_json()
    assert made.tokenizer.unk_token_id not in before
    told = truths.read(tmp_path)
    again = planted(told.kind, family=told.family, seed=told.seed, noise=told.noise, **told.options)
    for name, weight in again.model.state_dict().items():
        assert torch.equal(weight, made.model.state_dict()[name]), name


@pytest.mark.parametrize("kind", SMALL)
def test_families_and_grouping_change_nothing_but_the_host(kind):
    """Without noise the circuit is what computes: another architecture, grouping or width gives the same logits."""
    hosts = [
        planted(kind, noise=0.0, family=f, kv_group=g, **SMALL[kind])
        for f, g in (("gpt2", 1), ("llama", 1), ("llama", 2))
    ]
    ids = hosts[0].tokenizer(hosts[0].prompts[0].text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = [made.model(ids).logits[0, -1] for made in hosts]
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], atol=0.1, rtol=0)  # of about 20
    assert [made.prompts for made in hosts[1:]] == [hosts[0].prompts] * 2


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_norms_are_the_identity_on_the_stream(family, plant, probe):
    looked = probe(plant("semantic", noise=0.0, family=family, **SMALL["semantic"]))
    for layer, norms in enumerate(looked.norms):
        stream = looked.stream[layer][looked.rows, looked.last]
        for norm in norms:
            assert ((norm(stream) - stream).norm(dim=-1) / stream.norm(dim=-1)).max() < 0.008


def test_every_word_is_one_token_with_its_own_offsets(plant):
    made = plant("semantic", noise=0.0, **SMALL["semantic"])
    for document in made.corpus.documents:
        enc = made.tokenizer(document.text, return_offsets_mapping=True)
        assert enc["input_ids"][0] == made.tokenizer.bos_token_id
        assert [tuple(span) for span in enc["offset_mapping"][1:]] == [word.span for word in document.words]


def test_noise_has_the_stated_size_and_one_direction():
    circuit = plan(Sizes(), dice(0)).circuit
    by_sigma = [spoiled(circuit, sigma=sigma, rng=np.random.default_rng(1)) for sigma in CURVE]
    for clean, *noised in zip(circuit.heads, *(c.heads for c in by_sigma), strict=True):
        for part in ("match", "write"):
            planted_block = getattr(clean, part).values
            if not planted_block.any():
                continue
            for sigma, head in zip(CURVE, noised, strict=True):
                drift = getattr(head, part).values - planted_block
                assert np.linalg.norm(drift) / np.linalg.norm(planted_block) == pytest.approx(sigma)
        np.testing.assert_allclose(
            np.array(noised[4].drift), 4 * np.array(noised[2].drift), atol=1e-9
        )  # sigma 2 and .5


def test_noise_and_seed_move_only_what_they_should():
    quiet, loud, other = (
        planted("semantic", noise=n, seed=s, **SMALL["semantic"]) for n, s in ((0.0, 0), (1.0, 0), (0.0, 1))
    )
    assert quiet.truth == replace(loud.truth, noise=0.0)
    assert quiet.prompts == loud.prompts
    assert quiet.corpus == loud.corpus
    assert other.prompts != quiet.prompts
    again = planted("semantic", **loud.truth.options, noise=1.0, seed=0)
    for name, weight in again.model.state_dict().items():
        assert torch.equal(weight, loud.model.state_dict()[name])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_takes_seed_noise_distractors_and_sizes(kind, family):
    """Other seeds give other words, as many distractors stand in the truth as were asked for, widths are those asked for."""
    size = {key: value for key, value in SMALL[kind].items() if key != "distractors"}
    layers = 2 if kind == "induction" else 3 if kind.startswith("geometry") else 4
    for count in (0, 3):
        made = planted(kind, family=family, seed=7, noise=1.0, n_heads=10, d_head=48, distractors=count, **size)
        assert len(made.truth.of_kind("distractor")) == count
        assert len({head.layer for head in made.truth.of_kind("distractor")}) == min(count, layers)
        assert (made.model.config.num_attention_heads, made.model.config.hidden_size) == (10, 10 * 48)
        unseen = {name for head in made.truth.of_kind("distractor") for name in head.signature.unseen}
        assert bool(unseen) == bool(count)
    assert made.prompts[0].text != planted(kind, family=family, seed=8, **SMALL[kind]).prompts[0].text


@pytest.mark.parametrize("d_head", range(12, 512, 20))
def test_no_other_token_looks_like_the_previous_one(d_head):
    """The three clocks of a previous-token head: one token back beats every other distance by ten units of score."""
    distance = np.arange(LONGEST)
    for clock in (rotary(d_head), learned(d_head)):
        score = sum(a * np.cos(f * (distance - 1)) for a, f in zip(PREVIOUS, clock.frequencies, strict=True))
        assert score[1] - np.delete(score, 1).max() > 10


def test_a_wide_previous_token_head_attends_to_the_previous_token(plant, probe):
    """Of 170 slots (theta would not be finite at 10^85) as of 52."""
    looked = probe(plant("induction", noise=0.0, d_head=170, period=25, vocabulary=26))
    (head,) = looked.truth.of_kind("previous_token")
    paid = looked.attention[head.layer][0, head.head, : looked.last[0] + 1]
    assert paid.diagonal(offset=-1)[1:].min() > 0.9999


@pytest.mark.parametrize("d_head", [8, 16, 24, 48, 64, 96, 128, 170])
def test_rotary_clocks_and_content_have_slots_of_their_own(d_head):
    clock = rotary(d_head)
    used = [slot for pair in clock.pairs for slot in pair]
    assert len(set(used)) == 6
    assert not set(used) & set(clock.content)
    assert sorted(clock.frequencies, reverse=True) == list(clock.frequencies)
    assert np.isfinite(np.float32(clock.theta))
    assert clock.frequencies == pytest.approx((1.0, 0.1, 0.01))
    rates = clock.theta ** (-2 * np.arange(d_head // 2) / d_head)  # as transformers computes them
    assert [rates[x] for x, _ in clock.pairs] == pytest.approx(clock.frequencies)


def test_a_truth_that_is_absent_or_damaged_is_refused(tmp_path):
    with pytest.raises(InputError, match="no truth"):
        truths.read(tmp_path)
    (tmp_path / truths.FILE).write_text('{"format": 1, "kind": "induction"}')
    with pytest.raises(InputError, match="build the model again"):
        truths.read(tmp_path)
