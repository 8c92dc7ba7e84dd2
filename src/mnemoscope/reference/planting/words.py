"""Made-up words and the tokenizer that reads them: one word, one token."""

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mnemoscope.errors import InputError

SPECIAL = ("<pad>", "<bos>", "<unk>")
ONSETS, VOWELS, CODAS = "bdfgklmnprstvz", "aeiou", ("", "n", "r", "l", "s")


def made_up(count: int, *, rng: np.random.Generator) -> tuple[str, ...]:
    """Distinct pronounceable lower-case words of two syllables, in random order. At most 12,000 are sensible."""
    if count > 12_000:
        raise InputError(f"{count} made-up words", allowed="at most 12,000", hint="ask for a smaller vocabulary")
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = [str(rng.choice(list(ONSETS))) + str(rng.choice(list(VOWELS))) for _ in range(2)]
        words["".join(syllables) + str(rng.choice(CODAS))] = None
    return tuple(words)


def tokenizer_of(words: tuple[str, ...], *, n_ctx: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer of whole words and single marks, which puts <bos> in front; ids in the order given.

    Character offsets are those of the words. What is not in the vocabulary becomes <unk>.
    """
    vocab = {token: i for i, token in enumerate((*SPECIAL, *words))}
    inner = Tokenizer(models.WordLevel(vocab, unk_token=SPECIAL[2]))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{SPECIAL[1]} $A", pair=f"{SPECIAL[1]} $A $B", special_tokens=[(SPECIAL[1], vocab[SPECIAL[1]])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        unk_token=SPECIAL[2],
        model_max_length=n_ctx,
        clean_up_tokenization_spaces=False,
    )
