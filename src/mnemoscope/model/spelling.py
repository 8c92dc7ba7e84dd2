"""How a token is written, for people: with the space that belongs to it, and never as a replacement character.

Decoding a token alone drops the space before a word for sentencepiece-like tokenizers, and gives U+FFFD for a piece of a
character; the vocabulary entry itself knows better.
"""

from collections.abc import Sequence

from mnemoscope.model.lm import LM

SPACE = "▁"  # how sentencepiece writes a space


def spelled(lm: LM, token: int) -> str:
    """One token as it stands in a text. Without a tokenizer, or for ids it does not know, the id itself as #id."""
    tokenizer = lm.tokenizer
    piece = None if tokenizer is None else tokenizer.convert_ids_to_tokens(token)
    if tokenizer is None or not isinstance(piece, str):
        return f"#{token}"
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if not text or "\ufffd" in text:
        return piece.replace(SPACE, " ") or f"#{token}"
    return f" {text}" if piece.startswith(SPACE) and not text.startswith(" ") else text


def all_spelled(lm: LM, tokens: Sequence[int]) -> tuple[str, ...]:
    """Every token of a sequence as it stands in the text."""
    return tuple(spelled(lm, int(token)) for token in tokens)
