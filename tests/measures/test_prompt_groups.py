import pytest


@pytest.fixture(scope="module")
def lm():
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("geometry", noise=0.0, draws=1, people=3, sentences=2)
    return made, view(made.model, made.tokenizer)


def test_every_token_is_in_one_group_and_sinks_in_none(lm):
    from mnemoscope.measures.prompt_groups import groups
    from mnemoscope.model.batch import tokenize

    made, view = lm
    batch = tokenize(view, made.prompts[:6])
    found = groups(view, batch)
    parts = [found.relevant, found.distractor, found.demonstration, found.rest, found.sink]
    total = sum(part.long() for part in parts)
    assert (total == batch.mask.long()).all()
    words = [view.tokenizer.decode([i]) for i in batch.ids[0].tolist()]
    asked = {w for w, there in zip(words, found.relevant[0].tolist(), strict=True) if there}
    assert asked == set(made.prompts[0].part("relevant")[0].split()) - {"."}
    assert {w for w, there in zip(words, found.sink[0].tolist(), strict=True) if there} >= {"<bos>", "."}


def test_sentences_are_in_text_order_and_the_relevant_one_is_known(lm):
    from mnemoscope.measures.prompt_groups import groups
    from mnemoscope.model.batch import tokenize

    made, view = lm
    batch = tokenize(view, made.prompts[:8])
    found = groups(view, batch)
    assert list(found.place) == [p.labels["place"] for p in made.prompts[:8]]
    assert all(list(one) == sorted(one) and len(one) == 2 for one in found.sentences)


def test_overlapping_and_empty_groups_are_refused(lm):
    from dataclasses import replace

    from mnemoscope.errors import PromptError
    from mnemoscope.measures.prompt_groups import groups
    from mnemoscope.model.batch import tokenize

    made, view = lm
    prompt = made.prompts[0]
    twice = replace(prompt, spans={**prompt.spans, "distractor": prompt.spans["relevant"]})
    with pytest.raises(PromptError, match="overlap in 1 prompts"):
        groups(view, tokenize(view, [twice]))
    without = replace(prompt, spans={k: v for k, v in prompt.spans.items() if k != "relevant"})
    with pytest.raises(PromptError, match=r"empty in 1 prompts .* no relevant sentence"):
        groups(view, tokenize(view, [without]))
    _, stop = prompt.spans["distractor"][0]
    full_stop = replace(prompt, spans={**prompt.spans, "distractor": ((stop - 1, stop),)}, labels={"id": "own:7"})
    with pytest.raises(PromptError, match="own:7: a sentence without a word"):
        groups(view, tokenize(view, [full_stop]))
