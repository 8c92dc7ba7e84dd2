"""Tiny models and tokenizers that the tests of this room share. Imports nothing of the package at module level."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

TEXT = [
    "The capital of France is Paris, and the capital of Japan is Tokyo.",
    "Zürich lies in Switzerland; Malmö lies in Sweden. dog, cat: a",
    "Once upon a time, there was a little girl named Lily. She was happy.",
]


@pytest.fixture(scope="session")
def tiny_lm() -> Callable[..., Any]:
    """`tiny_lm(model_type, dtype)`: an LM per class and number type, made once."""

    @cache
    def made(model_type: str, dtype: Any = None, **overrides: Any) -> Any:
        import torch

        from mnemoscope.model.lm import view
        from mnemoscope.model.tiny import tiny

        torch.set_num_threads(1)
        return view(tiny(model_type, dtype=dtype or torch.float32, **overrides), name=model_type)

    return made


def _wrapped(tokenizer: Any, **special: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def byte_level(*, vocab_size: int = 300, add_prefix_space: bool = False, trim_offsets: bool = True) -> Any:
    """A byte-level BPE like GPT-2's: the space belongs to the word behind it; no special tokens are added."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    return _wrapped(tokenizer, bos_token="<|end|>", eos_token="<|end|>")


def metaspace(*, front: bool = True, back: bool = False) -> Any:
    """A unigram tokenizer like sentencepiece's: ▁ stands for the space, counted into offsets; <s> in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    single = ("<s> " if front else "") + "$A" + (" </s>" if back else "")
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
    return _wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def word_level() -> Any:
    """Words and signs, every space dropped."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXT * 4, trainer)
    return _wrapped(tokenizer, unk_token="<unk>")


TOKENIZERS = {
    "byte level": byte_level,
    "byte level, spaces in offsets": lambda: byte_level(trim_offsets=False),
    "byte level, prefix space": lambda: byte_level(add_prefix_space=True),
    "metaspace": metaspace,
    "word level": word_level,
}


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Any]:
    """One tokenizer of every manner of treating the space before a word."""
    return {name: make() for name, make in TOKENIZERS.items()}


@pytest.fixture(scope="session")
def ending_tokenizer() -> Any:
    """A tokenizer that puts an end mark behind every text."""
    return metaspace(back=True)
