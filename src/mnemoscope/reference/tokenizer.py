"""The bundled model's tokenizer: every word of the world is one token, every other text falls back to bytes.

Leading-space convention as in GPT-2 (" Paris" and "Paris" are two entries, where both occur); digits and punctuation marks are
single. The segmentation is a unigram model whose scores prefer a whole word to its pieces, over byte-level characters, so that any
text can be written and read back unchanged.
"""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

START: Final = "<|start|>"
PATTERN: Final = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\n|\s"
_PIECES: Final = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro "
    "ic ne ea ra ce li ch ll be ma si om ur ing ion ent ers ter ate ver all con ess ist ght est age ity ment able "
    "ness ful less ous ive ly "
)


def split(text: str) -> list[str]:
    """Cut a text where the tokenizer may not join: words, single digits, single marks, single white space."""
    return [piece for piece, _ in _splitter().pre_tokenize_str(text)]


def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")


def build(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer in which every piece that occurs in `texts` is one token (at most 60,000), sorted, behind bytes and fragments."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    seen: set[str] = set()
    for text in texts:
        seen.update(split(text))
    whole = sorted({"".join(form for form, _ in level.pre_tokenize_str(piece)) for piece in seen})
    fragments = [f for f in _PIECES.split() if f not in whole]
    single = {**dict.fromkeys(alphabet, -20.0), **dict.fromkeys(fragments, -16.0), **dict.fromkeys(whole, -10.0)}
    tokenizer = Tokenizer(models.Unigram([(START, 0.0), *single.items()], unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_splitter(), level])  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=START, pad_token=START)
    inner = fast.backend_tokenizer
    start = inner.token_to_id(START)
    inner.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A {START} $B", special_tokens=[(START, start)]
    )
    return fast


def digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """Sixteen hexadecimal digits that identify the tokenizer: of the sha256 of its canonical description."""
    content = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()), sort_keys=True)
    return sha256(content.encode()).hexdigest()[:16]
