"""A rectangle of tokens in which every prompt keeps its positions, its roles and its numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mnemoscope.data.prompt import Prompt, filled
from mnemoscope.errors import InputError, OptionError, PromptError, UnsupportedError
from mnemoscope.model.batch import batch_of_ids, forward_inputs, tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.model.positions import columns, positions
from mnemoscope.model.tiny import tiny


@pytest.fixture(scope="module")
def lm(tokenizers: dict[str, Any]) -> LM:
    return view(tiny("llama", vocab_size=len(tokenizers["metaspace"])), tokenizers["metaspace"])


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [
        filled("The capital of {topic} is", {"topic": "France"}),
        filled("Once upon a time {topic} was happy", {"topic": "Lily"}),
    ]


@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_mask_positions_and_spans_agree(side: str, lm: LM, prompts: list[Prompt]) -> None:
    batch = tokenize(lm, prompts, padding=side)
    assert batch.padded
    for i, prompt in enumerate(prompts):
        wanted = lm.tokenizer(prompt.text)["input_ids"]
        row = slice(int(batch.first[i]), int(batch.last[i]) + 1)
        assert batch.ids[i, row].tolist() == wanted
        assert batch.mask[i].sum() == batch.lengths[i] == len(wanted)
        assert batch.mask[i, row].all()
        assert batch.positions[i, row].tolist() == list(range(len(wanted)))
        ((start, stop),) = batch.spans["topic"][i]
        assert lm.tokenizer.decode(batch.ids[i, start:stop]).strip() == prompt.part("topic")[0]
    assert int(batch.last[0 if side == "left" else 1]) == batch.ids.shape[1] - 1


def test_what_goes_to_the_model(lm: LM, prompts: list[Prompt]) -> None:
    assert set(forward_inputs(lm, tokenize(lm, prompts[:1]))) == {"input_ids"}
    padded = forward_inputs(lm, tokenize(lm, prompts, padding="left"))
    assert set(padded) == {"input_ids", "attention_mask", "position_ids"}
    opt = view(tiny("opt", vocab_size=lm.d_vocab), lm.tokenizer)
    assert "attention_mask" in forward_inputs(opt, tokenize(opt, prompts))


def test_no_pad_token_is_needed(tokenizers: dict[str, Any], prompts: list[Prompt]) -> None:
    byte = tokenizers["byte level"]
    assert byte.pad_token is None
    lm = view(tiny("gpt2", vocab_size=len(byte), n_positions=128), byte)
    assert len(tokenize(lm, prompts, padding="left")) == 2


def test_token_ids_are_taken_as_they_are(lm: LM) -> None:
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    batch = tokenize(lm, ids)
    assert torch.equal(batch.ids, ids)
    assert batch.lead == (0, 0)
    bare = view(lm.model)
    assert [prompt.text for prompt in tokenize(bare, ids).prompts] == ["5 6 7", "8 9 10"]


def test_what_cannot_be_read(lm: LM) -> None:
    with pytest.raises(PromptError, match=r"prompt 1: \[-1, 9999\]"):
        tokenize(lm, torch.tensor([[1, 2], [9999, -1]]))
    with pytest.raises(PromptError, match=r"prompt 0: 65 tokens \| allowed: at most 64 tokens"):
        tokenize(lm, torch.ones(1, 65, dtype=torch.long))
    with pytest.raises(PromptError, match="empty"):
        tokenize(lm, ["fine", ""])
    with pytest.raises(PromptError, match="at least one prompt"):
        tokenize(lm, [])
    with pytest.raises(PromptError, match="whole numbers"):
        tokenize(lm, torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(InputError, match="list of prompts"):
        tokenize(lm, "one string")
    with pytest.raises(OptionError, match="did you mean 'left'"):
        tokenize(lm, ["a"], padding="lef")
    with pytest.raises(UnsupportedError, match="without a tokenizer"):
        tokenize(view(lm.model), ["text"])
    with pytest.raises(PromptError, match="no token ids"):
        batch_of_ids(lm, [(1, 2), ()])


def test_a_model_that_padding_breaks_refuses_it(tiny_lm: Callable[..., Any]) -> None:
    lm = tiny_lm("rwkv")
    batch = batch_of_ids(lm, [(5, 6, 7, 8), (9, 10, 11, 12, 13)], padding="left")
    with pytest.raises(UnsupportedError, match=r"padded on the left .* moves its logits"):
        forward_inputs(lm, batch)
    assert set(forward_inputs(lm, batch_of_ids(lm, [(5, 6, 7, 8), (9, 10, 11, 12, 13)]))) == {
        "input_ids",
        "attention_mask",
    }


def test_positions(lm: LM, prompts: list[Prompt]) -> None:
    batch = tokenize(lm, prompts, padding="left")
    last = batch.ids.shape[1] - 1
    assert columns(batch, "last") == ((last,), (last,))
    assert columns(batch, "all") == columns(batch, "each")
    assert [len(row) for row in columns(batch, "all")] == batch.lengths.tolist()
    for row, ranges in zip(columns(batch, "topic", align="last"), batch.spans["topic"], strict=True):
        assert row == (ranges[-1][1] - 1,)
    assert positions(batch, "last").tolist() == [[last], [last]]


def test_positions_that_are_no_rectangle(lm: LM) -> None:
    pair = [filled("a {x} b", {"x": "time"}), filled("a {x} b", {"x": "Switzerland Sweden"})]
    batch = tokenize(lm, pair)
    with pytest.raises(PromptError, match=r"unequal numbers of tokens .*align=\"last\""):
        columns(batch, "x")
    with pytest.raises(PromptError, match="no rectangle"):
        positions(batch, "all")
    with pytest.raises(OptionError, match="no position or role is called 'y'"):
        columns(batch, "y")
    some = tokenize(lm, [pair[0], Prompt(text="a b")])
    with pytest.raises(PromptError, match=r"role 'x' is missing \| found: prompt 1"):
        columns(some, "x")
