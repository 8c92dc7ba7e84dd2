"""BOS policy: nothing is added or dropped silently."""

from typing import Any

import pytest

from mnemoscope.errors import OptionError, PromptError, UnsupportedError
from mnemoscope.model.encode import encode


@pytest.fixture
def sentence(tokenizers: dict[str, Any]) -> Any:
    return tokenizers["metaspace"]


def test_auto_is_what_the_tokenizer_does(tokenizers: dict[str, Any]) -> None:
    for tokenizer in tokenizers.values():
        assert list(encode(tokenizer, "Once upon a time").ids) == tokenizer("Once upon a time")["input_ids"]


def test_yes_and_no_insist(tokenizers: dict[str, Any], sentence: Any) -> None:
    byte = tokenizers["byte level"]
    bare = byte("Once upon")["input_ids"]
    assert list(encode(byte, "Once upon", "auto").ids) == bare
    assert list(encode(byte, "Once upon", "yes").ids) == [byte.bos_token_id, *bare]
    assert encode(byte, "Once upon", "yes").lead == 1
    with_bos = encode(sentence, "Once upon", "yes")
    assert list(with_bos.ids) == sentence("Once upon")["input_ids"]
    assert encode(sentence, "Once upon", "no").ids == with_bos.ids[1:]
    assert encode(sentence, "Once upon", "no").lead == 0


def test_two_bos_tokens_are_refused_not_merged(sentence: Any) -> None:
    with pytest.raises(PromptError, match="two BOS"):
        encode(sentence, "<s>Once upon", "auto")
    with pytest.raises(PromptError, match="begins with the BOS"):
        encode(sentence, "<s>Once upon", "no")
    assert encode(sentence, "<s>Once upon", "yes").ids.count(sentence.bos_token_id) == 1


def test_an_end_mark_is_left_out_and_reported(ending_tokenizer: Any) -> None:
    found = encode(ending_tokenizer, "Once upon")
    assert ending_tokenizer("Once upon")["input_ids"][-1] == ending_tokenizer.eos_token_id
    assert found.left_out == (ending_tokenizer.eos_token_id,)
    assert list(found.ids) == ending_tokenizer("Once upon")["input_ids"][:-1]


def test_offsets_are_those_of_the_text(tokenizers: dict[str, Any]) -> None:
    text = "The capital of France"
    for tokenizer in tokenizers.values():
        found = encode(tokenizer, text)
        assert found.offsets is not None
        assert len(found.offsets) == len(found.ids)
        assert text.replace(" ", "") == "".join(text[a:b].strip() for a, b in found.offsets)


def test_what_cannot_be_read(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="empty"):
        encode(tokenizers["byte level"], "")
    with pytest.raises(UnsupportedError, match="without a tokenizer"):
        encode(None, "text")
    with pytest.raises(PromptError, match="has no BOS token"):
        encode(tokenizers["word level"], "a", "yes")
    with pytest.raises(OptionError, match="did you mean 'auto'"):
        encode(tokenizers["word level"], "a", "autp")


def test_the_prefix_of_a_real_tokenizer(shared: Any) -> None:
    from transformers import AutoTokenizer

    gpt2 = AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2")
    assert encode(gpt2, "The capital of France is Paris").ids == (464, 3139, 286, 4881, 318, 6342)
    stories = AutoTokenizer.from_pretrained(shared / "models" / "stories260K")
    assert encode(stories, "Once upon").ids == (1, 403, 407)
    assert encode(stories, "Once upon", "no").ids == (403, 407)
