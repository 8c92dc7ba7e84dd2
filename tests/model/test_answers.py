"""Answers extend the prompt's tokens, by one route for all prompts."""

from collections.abc import Callable
from typing import Any

import pytest

from mnemoscope.data.prompt import Prompt, filled
from mnemoscope.errors import PromptError
from mnemoscope.model.answers import answer_ids, answers, first_difference
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import tiny


@pytest.fixture(scope="module")
def lm_with(tokenizers: dict[str, Any]) -> Callable[[str], LM]:
    return lambda name: view(tiny("llama", vocab_size=len(tokenizers[name])), tokenizers[name])


def test_the_answer_is_what_the_tokens_gain(lm_with: Callable[[str], LM]) -> None:
    for name in ("byte level", "metaspace"):
        lm = lm_with(name)
        prompt = Prompt(text="The capital of France is", answer=" Paris", foils=(" Tokyo", " a"))
        found = answer_ids(lm, prompt)
        assert found.route == "extended"
        assert found.prompt == prompt
        whole = lm.tokenizer("The capital of France is Paris")["input_ids"]
        assert [*lm.tokenizer(prompt.text)["input_ids"], *found.ids] == whole
        assert len(found.foils) == 2
        assert lm.tokenizer.decode(found.foils[0]).strip() == "Tokyo"


def test_a_trailing_space_moves_to_the_answer_for_all(lm_with: Callable[[str], LM]) -> None:
    lm = lm_with("byte level")
    with_space = filled("dog, {x} ", {"x": "cat:"}, answer="a")
    without = Prompt(text="dog, cat:", answer=" a")
    found = answers(lm, [with_space, without])
    assert [answer.route for answer in found] == ["stripped", "stripped"]
    assert found[0].prompt.text == found[1].prompt.text == "dog, cat:"
    assert found[0].ids == found[1].ids
    assert found[0].prompt.part("x") == ("cat:",)
    with pytest.raises(PromptError, match="no common way"):
        answers(lm, [with_space], route="extended")


def test_gpt2_and_the_digit_route(shared: Any) -> None:
    from transformers import AutoTokenizer

    gpt2 = AutoTokenizer.from_pretrained(shared / "tokenizers" / "gpt2")
    lm = view(tiny("gpt2", vocab_size=len(gpt2)), gpt2)
    (found,) = answers(lm, [Prompt(text="dog, cat: ", answer="3", foils=("4",))])
    assert (found.route, gpt2.decode(found.ids), gpt2.decode(found.foils[0])) == ("stripped", " 3", " 4")
    assert answer_ids(lm, Prompt(text="The capital of France is", answer=" Paris")).ids == (6342,)


def test_every_offender_is_listed(lm_with: Callable[[str], LM]) -> None:
    lm = lm_with("word level")  # "dog" + "s" is one unknown word, not an extension
    prompts = [Prompt(text="dog", answer="s"), Prompt(text="cat", answer=" dog"), Prompt(text="cat", answer="t")]
    with pytest.raises(PromptError, match=r"prompt 0 'dog' \+ 's'.*prompt 2 'cat' \+ 't'"):
        answers(lm, prompts)


def test_first_difference() -> None:
    assert first_difference((5, 6, 7), (5, 8)) == (1, 6, 8)
    assert first_difference((5,), (6,)) == (0, 5, 6)
    with pytest.raises(PromptError, match="one begins with the other"):
        first_difference((5, 6), (5,))


def test_no_answer_is_no_tokens(lm_with: Callable[[str], LM]) -> None:
    assert answer_ids(lm_with("byte level"), Prompt(text="dog")).ids == ()
