"""Transplants: exact identities on random models, and a planted circuit whose answer sits where we say."""

import itertools

import numpy as np
import pytest
import torch


def of_ids(lm, before, after, answers):
    """Runs of given token ids: every source is the run behind examples."""
    from dataclasses import replace

    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures import transplant_runs as tr
    from mnemoscope.measures.answer_margin import forced
    from mnemoscope.model.answers import Answer
    from mnemoscope.model.batch import batch_of_ids

    held = [Answer(prompt=Prompt(text="x"), ids=a, foils=((f,),), route="extended") for a, f in answers]
    shared = np.array([3] * len(before))
    items = {tr.ITEM: [((len(row) - 3, len(row)),) for row in before]}
    source = replace(
        batch_of_ids(lm, after),
        spans={
            "end": tuple(((len(row) - 1, len(row)),) for row in after),
            "item": tuple(((len(row) - 3, len(row)),) for row in after),
        },
    )
    return tr.Runs(
        before=forced(lm, before, held, items),
        after={tr.SAME: forced(lm, after, held)},
        sources=dict.fromkeys(tr.SOURCES, source),
        kept=tuple(range(len(before))),
        partner=tuple(range(1, len(before) + 1)),
        shared=shared,
        padded=False,
    )


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def lm(request):
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    return view(tiny(request.param), None, name=request.param)


PREFIX = [3, 5, 7, 11]
ITEMS = [[2, 9, 4], [6, 1, 8], [4, 4, 2]]


def test_a_run_transplanted_into_itself_changes_nothing(lm):
    from mnemoscope.measures import transplant as tp

    found = tp.transplanted(lm, of_ids(lm, ITEMS, ITEMS, [((5, 6), 7), ((1,), 2), ((3, 3, 3), 9)]))
    for name in ("logprob", "margin"):
        assert np.abs(getattr(found, name) - found.before[name]).max() < 1e-4


def test_behind_the_last_block_the_last_token_is_the_run_behind_examples(lm):
    from mnemoscope.measures import transplant as tp
    from mnemoscope.measures import transplant_runs as tr

    aligned = of_ids(lm, ITEMS, [PREFIX + item for item in ITEMS], [((5,), 7), ((1,), 2), ((3,), 9)])
    found, after = tp.transplanted(lm, aligned), tp.behind(lm, aligned)[tr.SAME]
    for name in ("logprob", "margin"):
        patched = getattr(found, name)[0, tp.PLACES.index("end"), -1]
        assert np.abs(patched - after[name]).max() < 1e-3
        assert np.abs(found.before[name] - after[name]).max() > 0.01


def test_the_numbers_are_those_of_the_model_itself(lm):
    """Answers of two tokens, one distractor that shares the first: log probabilities from a plain forward pass."""
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures.answer_margin import forced, plain
    from mnemoscope.model.answers import Answer

    rows = [[*PREFIX, 2], [3, 9]]
    held = [
        Answer(prompt=Prompt(text="x"), ids=(5, 6), foils=((5, 8), (4, 1)), route="extended"),
        Answer(prompt=Prompt(text="x"), ids=(2,), foils=(), route="extended"),
    ]
    found = plain(lm, forced(lm, rows, held))
    with torch.no_grad():
        log_p = lm.model(torch.tensor([[*PREFIX, 2, 5]])).logits[0].float().log_softmax(-1)
        alone = lm.model(torch.tensor([[3, 9]])).logits[0, -1].float().log_softmax(-1)
    own = float(log_p[-2, 5] + log_p[-1, 6])
    ahead = min(float(log_p[-1, 6] - log_p[-1, 8]), float(log_p[-2, 5] - log_p[-2, 4]))
    np.testing.assert_allclose(found.plain_logprob, [own, float(alone[2])], atol=1e-4)
    np.testing.assert_allclose(found.plain_margin[0], ahead, atol=1e-4)
    assert np.isnan(found.plain_margin[1])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_planted_induction_moves_with_the_last_token_and_only_behind_the_head(family):
    """before: x A; after: A B x A, answer B. The pair is in the prefix, the head in layer 1: layer 0 carries nothing of it."""
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures import transplant as tp
    from mnemoscope.measures import transplant_runs as tr
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("induction", family=family, noise=0.0, distractors=0)
    words = list(made.truth.facts["words"])
    lm = view(made.model, made.tokenizer, name=family)
    rest = words[20:]
    texts = {"before": [], "after": [], "shuffled": []}
    for i in range(4):
        a, b, c, x = words[i], words[i + 5], words[i + 10], words[i + 15]
        for name, text in (("before", f"{x} {a}"), ("after", f"{a} {b} {x} {a}"), ("shuffled", f"{a} {c} {x} {a}")):
            texts[name].append(Prompt(text=text, answer=f" {b}", foils=(f" {c}",), labels={"item": str(i)}))
    aligned = tr.runs(
        lm, *texts.values(), units=["0", "1", "2", "3"], neutral=[f"{a} {b}" for a, b in itertools.pairwise(rest)]
    )
    assert aligned.padded == (family == "gpt2")
    found, behind = tp.transplanted(lm, aligned), tp.behind(lm, aligned)
    gain = (behind[tr.SAME]["margin"] - found.before["margin"]).sum()
    assert gain > 1
    recovery = {s: (found.margin[k] - found.before["margin"]).sum(-1) / gain for k, s in enumerate(tr.SOURCES)}
    for place in range(2):
        np.testing.assert_allclose(recovery[tr.SAME][place], [0, 1], atol=0.02)
        np.testing.assert_allclose(recovery[tr.NEUTRAL_PREFIX][place], [0, 0], atol=0.02)
        assert recovery[tr.SHUFFLED][place, 1] < -0.9  # the state says the wrong word, as loudly
    assert np.isfinite(found.logprob).all()


def test_items_share_what_is_the_same_in_all_runs():
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures import transplant as tp
    from mnemoscope.measures import transplant_runs as tr
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("induction", noise=0.0)
    w = list(made.truth.facts["words"])
    lm = view(made.model, made.tokenizer, name="p")
    before = [
        Prompt(
            text=f"{w[0]} {w[1]} {w[2]}",
            answer=f" {w[3]}",
            spans={"query": ((len(w[0]) + 1, len(w[0]) + 1 + len(w[1])),)},
        )
    ]
    after = [Prompt(text=f"{w[5]} {before[0].text}", answer=f" {w[3]}")]
    whole = tr.runs(lm, before, after, after, neutral=[w[9]])
    asked = tr.runs(lm, before, after, after, start="query", neutral=[w[9]])
    assert (int(whole.shared[0]), int(asked.shared[0])) == (3, 2)
    assert np.isnan(tp.transplanted(lm, asked).logprob[tr.SOURCES.index(tr.OTHER)]).all()  # no other item: no number


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_some_of_the_items_are_aligned_as_among_all(family):
    """Unequal prefixes: partners, and the length to which runs are filled up, do not depend on what is wanted."""
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.measures import transplant_runs as tr
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("induction", family=family, noise=0.0)
    w = list(made.truth.facts["words"])
    lm = view(made.model, made.tokenizer, name=family)
    before = [Prompt(text=f"{w[9]} {w[i]}", answer=f" {w[i + 5]}", labels={}) for i in range(4)]
    after = [Prompt(text=" ".join([*w[12 : 13 + i], one.text]), answer=one.answer) for i, one in enumerate(before)]
    whole, some = (tr.runs(lm, before, after, units=list("aabb"), part=part) for part in (slice(None), slice(1, 3)))
    assert (some.kept, some.partner) == (whole.kept[1:3], whole.partner[1:3])
    assert some.padded == whole.padded == (family == "gpt2")
    for one, every in ((some.before, whole.before), *((some.after[s], whole.after[s]) for s in whole.after)):
        assert ids_of(one.batch) == ids_of(every.batch)[1:3]
    for source in whole.sources:
        assert ids_of(some.sources[source]) == ids_of(whole.sources[source])[1:3]
    assert tr.runs(lm, before, after, part=slice(4, 8)) is None
    long = Prompt(text=" ".join([w[12]] * lm.n_ctx + [before[0].text]), answer=before[0].answer)
    again = tr.runs(lm, [*before, before[0]], [*after, long])
    assert again.kept == (0, 1, 2, 3)  # one that does not fit keeps no other out
    assert ids_of(again.before.batch) == ids_of(whole.before.batch)


def ids_of(batch):
    return [row[there].tolist() for row, there in zip(batch.ids, batch.mask, strict=True)]
