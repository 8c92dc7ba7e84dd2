"""Sharpened attention: the algebra by hand, the engine's own whole passes, and a planted head that reads one sentence."""

import numpy as np
import pytest
import torch


def asked_of(lm, rows, answers):
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures.answer_margin import forced
    from mnemoscope.model.answers import Answer

    held = [Answer(prompt=Prompt(text="x"), ids=a, foils=(f,), route="extended") for a, f in answers]
    return forced(lm, rows, held)


def columns(asked, chosen):
    on = torch.zeros_like(asked.batch.mask)
    for row, where in enumerate(chosen):
        on[row, list(where)] = True
    return on


@pytest.fixture(scope="module", params=["llama", "gpt2", "gpt_oss"])
def lm(request):
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    return view(tiny(request.param), None, name=request.param)  # gpt_oss: attention sinks, grouped heads


ROWS = [[3, 5, 7, 11, 2], [6, 1, 8, 4, 4, 9], [2, 9, 4, 3, 1]]
ANSWERS = [((5, 6), (5, 7)), ((1,), (2,)), ((3, 3, 2), (9,))]


def test_reweighting_by_hand():
    """Two keys with attention .8 and .2 and values 1 and 5; the second gets g = 4: weights .5 and .5."""
    from mnemoscope.measures.sharpening import reweighted

    z, z_on, share = torch.tensor([[0.8 * 1 + 0.2 * 5]]), torch.tensor([[0.2 * 5]]), torch.tensor([0.2])
    torch.testing.assert_close(reweighted(z, z_on, share, 4.0), torch.tensor([[3.0]]))
    assert torch.equal(reweighted(z, z_on, share, 1.0), z)


def test_it_is_what_whole_passes_with_changed_patterns_give(lm):
    """Against the engine's pattern site, which adds log g to the scores inside the model's own attention."""
    from mnemoscope.engine.plan import Patch
    from mnemoscope.measures.answer_margin import judged
    from mnemoscope.measures.sharpening import sharpened

    gains = (0.25, 4.0)
    asked = asked_of(lm, ROWS, ANSWERS)
    on = {"relevant": columns(asked, [[1, 2], [0, 3], [2]]), "distractor": columns(asked, [[0], [1, 2], [0, 1]])}
    layers = [layer for layer in range(lm.n_layers) if lm.attentions[layer] is not None]
    groups = [(layer, tuple(range(lm.n_heads))) for layer in layers] + [(layers[-1], (0,))]
    found = sharpened(lm, asked, on, groups, gains=gains)
    spans = {name: [[(c, c + 1) for c in row.nonzero().flatten().tolist()] for row in own] for name, own in on.items()}
    from dataclasses import replace

    batch = replace(asked.batch, spans={**asked.batch.spans, **{k: tuple(map(tuple, v)) for k, v in spans.items()}})
    cells = [
        tuple(
            Patch(site="pattern", layer=layer, head=head, position="said", op="scale", value=gain, keys=name)
            for head in heads
        )
        for layer, heads in groups
        for name in on
        for gain in gains
    ]
    slow = judged(lm, replace(asked, batch=batch), cells)
    assert np.abs(found.logprob.reshape(len(cells), -1) - slow.logprob).max() < 2e-4
    assert np.abs(found.margin.reshape(len(cells), -1) - slow.margin).max() < 2e-4
    assert np.abs(found.logprob - found.plain["logprob"]).max() > 0.01


def test_gain_one_changes_nothing(lm):
    from mnemoscope.measures.sharpening import sharpened

    asked = asked_of(lm, ROWS, ANSWERS)
    found = sharpened(lm, asked, {"all": columns(asked, [[0, 1]] * 3)}, [(0, (0, 1))], gains=(1.0,))
    assert np.abs(found.logprob - found.plain["logprob"]).max() < 1e-4


def test_planted_induction_answers_by_its_attention():
    """A B x A C x A: the induction head attends to B and C alike; more attention on B is more of B.

    In this model the head is the only one that writes words, so its logit follows z: log odds of B against C move in proportion
    to the difference of attention, (g - 1) / (g + 1) for equal shares that make up all of the attention.
    """
    from mnemoscope.measures.sharpening import GAINS, sharpened
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("induction", noise=0.0, distractors=0)
    w = list(made.truth.facts["words"])
    lm = view(made.model, made.tokenizer, name="planted")
    rows = tokenize(lm, [f"{w[i]} {w[i + 5]} {w[i + 10]} {w[i]} {w[i + 15]} {w[i + 10]} {w[i]}" for i in range(4)]).ids
    ids = {word: int(lm.tokenizer.convert_tokens_to_ids(word)) for word in w}
    answers = [((ids[w[i + 5]],), (ids[w[i + 15]],)) for i in range(4)]
    asked = asked_of(lm, rows.tolist(), answers)
    where = {
        name: columns(
            asked, [[list(row).index(t[0]) for t in (pick,)] for row, pick in zip(rows.tolist(), options, strict=True)]
        )
        for name, options in (("B", [a for a, _ in answers]), ("C", [f for _, f in answers]))
    }
    heads = {h["kind"]: (h["layer"], (h["head"],)) for h in made.truth.to_json()["heads"]}
    found = sharpened(lm, asked, where, [heads["induction"], heads["copies_never_matches"]])
    assert found.attention[0].min() > 0.4  # half on either
    change = found.margin - found.plain["margin"]
    expected = np.array([(g - 1) / (g + 1) for g in GAINS])
    per_unit = change[0, 0, -1].mean() / expected[-1]
    assert per_unit > 0.3
    np.testing.assert_allclose(change[0, 0], np.outer(expected, np.full(4, per_unit)), rtol=0.1, atol=0.02 * per_unit)
    np.testing.assert_allclose(change[0, 1], -change[0, 0], rtol=0.1, atol=0.02 * per_unit)
    assert np.abs(change[1]).max() < 0.05 * per_unit  # looks elsewhere: nothing to sharpen


def test_what_cannot_be_asked_is_refused(lm):
    from mnemoscope.errors import InputError
    from mnemoscope.measures.sharpening import sharpened

    asked = asked_of(lm, ROWS, ANSWERS)
    with pytest.raises(InputError, match="is empty"):
        sharpened(lm, asked, {"none": columns(asked, [[0], [], [1]])}, [(0, (0,))])
    with pytest.raises(InputError, match="gains"):
        sharpened(lm, asked, {"all": columns(asked, [[0]] * 3)}, [(0, (0,))], gains=(0.0,))
