"""Text to token ids, one prompt at a time, with the BOS token handled in the open.

"auto" keeps what the tokenizer puts in front of a text, "yes" insists on its BOS token, "no" on none. A tokenizer that
ends every text with a special token (an end mark) would make the model read on after the end; that token is left out,
and the encoding says so. A text that spells out its own BOS token would get a second one: refused, never merged.
"""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from mnemoscope.data.prompt import Span
from mnemoscope.errors import PromptError, UnsupportedError, choose

BOS_POLICIES = ("auto", "yes", "no")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Token ids of one text.

    offsets  character range of the text behind every token; (0, 0) for tokens that are not in the text; None where the
             tokenizer cannot tell (it is not a "fast" one)
    lead     how many special tokens stand in front of the text
    left_out special tokens that the tokenizer would have put behind the text
    """

    ids: tuple[int, ...]
    offsets: tuple[Span, ...] | None
    lead: int
    left_out: tuple[int, ...]


def needed(tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase:
    """The tokenizer, or an error that says how to do without."""
    if tokenizer is None:
        raise UnsupportedError(
            "text cannot be read",
            found="this model was loaded without a tokenizer",
            allowed="token ids [batch, pos]",
            hint="give token ids, or load with (model, tokenizer)",
        )
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase | None, text: str, bos: str = "auto") -> Encoding:
    """Token ids of a text under a BOS policy (see the module's first lines)."""
    choose("BOS policy", bos, BOS_POLICIES)
    tokenizer = needed(tokenizer)
    if not text:
        raise PromptError("a prompt is empty", allowed="at least one character", hint="give a text to read")
    bare, offsets = _tokens(tokenizer, text, add_special_tokens=False)
    front, left_out = _special(tokenizer, text, bare)
    bos_id = tokenizer.bos_token_id
    spelled = bool(bare) and bos_id is not None and bare[0] == bos_id
    front = _front(tokenizer, front, bos, spelled, text)
    if not front and not bare:
        raise PromptError(f"the prompt {text[:40]!r} has no tokens", hint="give a text that the tokenizer can read")
    return Encoding(
        ids=(*front, *bare),
        offsets=None if offsets is None else (*(((0, 0),) * len(front)), *offsets),
        lead=len(front),
        left_out=left_out,
    )


def _tokens(
    tokenizer: PreTrainedTokenizerBase, text: str, *, add_special_tokens: bool
) -> tuple[list[int], list[Span] | None]:
    fast = bool(tokenizer.is_fast)
    found: Any = tokenizer(
        text, add_special_tokens=add_special_tokens, return_offsets_mapping=fast, truncation=False, verbose=False
    )
    offsets = [(int(a), int(b)) for a, b in found["offset_mapping"]] if fast else None
    return [int(i) for i in found["input_ids"]], offsets


def _special(tokenizer: PreTrainedTokenizerBase, text: str, bare: list[int]) -> tuple[list[int], tuple[int, ...]]:
    """What the tokenizer puts in front of and behind a text; both are what is left when the text's own ids are taken."""
    full, _ = _tokens(tokenizer, text, add_special_tokens=True)
    n = len(bare)
    for start in range(len(full) - n + 1):
        if full[start : start + n] == bare:
            return full[:start], tuple(full[start + n :])
    raise UnsupportedError(
        "this tokenizer changes a text when it adds its special tokens",
        found=f"{full[:8]} with and {bare[:8]} without, for {text[:40]!r}",
        allowed="special tokens in front of or behind the text",
        hint="give token ids",
    )


def _front(tokenizer: PreTrainedTokenizerBase, front: list[int], bos: str, spelled: bool, text: str) -> list[int]:
    bos_id: Any = tokenizer.bos_token_id
    if bos == "no":
        if spelled:
            raise PromptError(
                f"bos='no' for the prompt {text[:40]!r}",
                found=f"the text itself begins with the BOS token {tokenizer.bos_token!r}",
                hint="take it out of the text, or use bos='yes'",
            )
        return []
    if bos == "yes":
        if bos_id is None:
            raise PromptError(
                "bos='yes' cannot be done",
                found="the tokenizer has no BOS token",
                allowed="auto, no",
                hint="use bos='auto'",
            )
        return [] if spelled else ([*front] if bos_id in front else [int(bos_id), *front])
    if spelled and bos_id in front:
        raise PromptError(
            f"the prompt {text[:40]!r} would begin with two BOS tokens",
            found=f"{tokenizer.bos_token!r} in the text, and the tokenizer adds one",
            allowed="one BOS token",
            hint="take it out of the text, or use bos='yes' (which adds none to such a text)",
        )
    return front
