"""Character spans become whole tokens under every manner of treating spaces, or are all reported."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemoscope.data.prompt import Prompt, filled, joined
from mnemoscope.errors import AlignmentError, UnsupportedError
from mnemoscope.model.align import align, token_range
from mnemoscope.model.encode import Encoding, encode

NAMES = ("byte level", "byte level, spaces in offsets", "byte level, prefix space", "metaspace", "word level")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("topic", ["France", "Zürich", "Malmö lies"])
def test_a_role_is_the_tokens_that_spell_it(name: str, topic: str, tokenizers: dict[str, Any]) -> None:
    tokenizer = tokenizers[name]
    for template in ("The capital of {topic}, and", "{topic} lies in", "Once upon {topic}"):
        prompt = filled(template, {"topic": topic})
        encoding = encode(tokenizer, prompt.text)
        assert encoding.offsets is not None
        ((start, stop),) = align([prompt], [encoding], tokenizer_name=name)["topic"][0]
        pieces = encoding.offsets[start:stop]
        assert prompt.text[pieces[0][0] : pieces[-1][1]].strip() == topic
        without = [i for i in range(len(encoding.ids)) if not start <= i < stop]
        (a, b) = prompt.spans["topic"][0]
        touched = [i for i in without if encoding.offsets[i][0] < b and encoding.offsets[i][1] > a]
        assert all(not prompt.text[slice(*encoding.offsets[i])].strip() for i in touched)  # white space at most


def test_a_space_in_the_span_makes_no_difference(tokenizers: dict[str, Any]) -> None:
    for name, tokenizer in tokenizers.items():
        bare = joined(["The capital of ", ("topic", "France"), " is"])
        spaced = joined(["The capital of", ("topic", " France"), " is"])
        encodings = [encode(tokenizer, prompt.text) for prompt in (bare, spaced)]
        one, other = align([bare, spaced], encodings, tokenizer_name=name)["topic"]
        assert one == other


def test_a_character_of_several_tokens_is_all_of_them(tokenizers: dict[str, Any]) -> None:
    prompt = joined(["a ", ("sign", "😀"), " b"])
    encoding = encode(tokenizers["byte level"], prompt.text)
    ((start, stop),) = align([prompt], [encoding], tokenizer_name="byte level")["sign"][0]
    assert tokenizers["byte level"].decode(encoding.ids[start:stop]).strip() == "😀"
    assert stop - start >= 4


def test_every_offender_is_listed() -> None:
    # tokens: "dogs" " cat" - spans inside a token, across tokens, and a good one
    offsets = ((0, 4), (4, 8))
    prompts = [
        Prompt(text="dogs cat", spans={"a": ((0, 3),)}),
        Prompt(text="dogs cat", spans={"a": ((0, 4),)}),
        Prompt(text="dogs cat", spans={"a": ((5, 8),), "b": ((2, 8),)}),
    ]
    encodings = [Encoding(ids=(1, 2), offsets=offsets, lead=0, left_out=())] * 3
    with pytest.raises(AlignmentError) as caught:
        align(prompts, encodings, tokenizer_name="gpt2")
    message = str(caught.value)
    assert message.startswith("2 of 3 prompts have no whole-token span for role 'a', 'b' under tokenizer 'gpt2'")
    assert "prompt 0 'dog' chars 0-3 -> inside token 0 ('dogs')" in message
    assert "prompt 2 'gs cat' chars 2-8 -> inside token 0 ('dogs')" in message
    assert "allowed: spans that start and end on token boundaries" in message


def test_a_lost_character_and_an_absent_one_are_reported() -> None:
    assert token_range("ab", ((0, 1),), (0, 2)) == "characters 'b' are in no token"
    assert token_range("a b", ((0, 1),), (2, 3)) == "no token stands for it"


def test_a_tokenizer_without_offsets_is_refused_only_for_roles() -> None:
    encoding = Encoding(ids=(1,), offsets=None, lead=0, left_out=())
    assert align([Prompt(text="a")], [encoding], tokenizer_name="slow") == {}
    with pytest.raises(UnsupportedError, match="does not tell which characters"):
        align([filled("{x}", {"x": "a"})], [encoding], tokenizer_name="slow")


@given(cuts=st.lists(st.integers(1, 19), unique=True), span=st.tuples(st.integers(0, 19), st.integers(1, 20)))
@settings(deadline=None, max_examples=60)
def test_exactly_the_unions_of_tokens_are_aligned(cuts: list[int], span: tuple[int, int]) -> None:
    text = "abcdefghijklmnopqrst"  # no white space: borders have to agree exactly
    borders = [0, *sorted(cuts), 20]
    offsets = tuple(pairwise(borders))
    a, b = min(span[0], span[1] - 1), max(span[0] + 1, span[1])
    found = token_range(text, offsets, (a, b))
    if a in borders and b in borders:
        assert found == (borders.index(a), borders.index(b))
    else:
        assert isinstance(found, str)
