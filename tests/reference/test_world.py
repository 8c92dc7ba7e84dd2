"""What is promised of the rows that are trained on: a constant mixture, one token per word, honest weights."""

import numpy as np
import pytest

from mnemoscope.data import facts
from mnemoscope.reference import tokenizer, world


@pytest.fixture(scope="module")
def coder():
    return world.tokenizer()


def test_every_word_is_one_token_and_any_text_comes_back(coder) -> None:
    for relation in facts.facts():
        for fact in relation.facts:
            for word in (fact.topic, fact.answer):
                assert len(coder.tokenize(f" {word}")) == 1, word
    for text in ("Süß: 3.14 €\n\ttabs  and   spaces", "The capital of France is", " 12", "x" * 50):
        ids = coder(text, add_special_tokens=False)["input_ids"]
        assert coder.decode(ids) == text
    assert coder("a")["input_ids"][0] == coder.bos_token_id
    assert coder.tokenize(" 40)") == ["Ġ4", "0", ")"]


def test_the_tokenizer_is_the_same_every_time(coder) -> None:
    assert tokenizer.digest(coder) == tokenizer.digest(tokenizer.build(reversed(world.vocabulary_texts())))


@pytest.mark.parametrize("bucket", world.BUCKETS, ids=lambda b: str(b.length))
def test_rows_decode_to_the_documents_and_padding_weighs_nothing(coder, bucket: world.Bucket) -> None:
    rng = np.random.default_rng(0)
    docs = [world.document(kind, bucket.length, rng) for kind, _ in bucket.shares]
    ids, weights = world.encoded(docs, bucket.length, coder, rng)
    for row, weight, doc in zip(ids, weights, docs, strict=True):
        filled = weight > 0
        text = coder.decode(row[filled])
        assert doc.text.startswith(text)
        if (~filled[1:]).any():
            assert text == doc.text
            assert (row[1:][~filled[1:]] == coder.bos_token_id).all()


def test_answers_weigh_most_and_noise_next_to_nothing(coder) -> None:
    rng = np.random.default_rng(0)
    doc = world.document("pairs", 128, rng)
    ids, weights = world.encoded([doc], 128, coder, rng)
    heavy = {coder.decode([i]) for i in ids[0][weights[0] >= world.ANSWER]}
    assert heavy
    assert heavy <= {f" {d}" for d in range(10)}
    assert sum(share for share in (s for b in world.BUCKETS for _, s in b.shares)) == pytest.approx(len(world.BUCKETS))


def test_the_mixture_does_not_depend_on_the_step(coder, monkeypatch) -> None:
    """With the same random numbers, any two steps hold the same rows: no curriculum hides in the generator. The long bucket
    comes with every fourth step, from the first to the last."""
    from mnemoscope.reference import train

    drawn = np.random.default_rng
    monkeypatch.setattr(train.np.random, "default_rng", lambda seed: drawn(seed[0]))
    config = train.TrainConfig(rows=0.05)
    first = [row for pair in train.batch(0, config, coder) for row in pair]
    for step, count in ((4, 8), (4496, 8), (1, 6), (2999, 6)):
        rows = [row for pair in train.batch(step, config, coder) for row in pair]
        assert len(rows) == count
        assert all(a.equal(b) for a, b in zip(first, rows, strict=False))
