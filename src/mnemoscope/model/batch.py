"""The second noun: prompts as one rectangle of token ids, with explicit positions and a mask.

Every prompt of a batch has the numbers it has alone. Therefore positions are counted inside each prompt, whatever stands
beside it; `position_ids` never go to a model without `attention_mask` (transformers takes resetting positions without a
mask for packed sequences); an unpadded batch goes to the model as bare ids, exactly as its user would give it; and a
side on which padding changes a model's numbers is refused (`mnemoscope.model.padding`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import InputError, PromptError, UnsupportedError, choose, listed
from mnemoscope.model.align import TokenRange, align
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padded_inputs, padding_reason

SIDES = ("right", "left")


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Prompts as token ids.

    ids        token ids; padding holds an arbitrary valid id
    mask       True where a token belongs to the prompt
    positions  position of each token inside its prompt, from 0
    side       where padding stands
    prompts    what was asked; for token ids, their text (or the ids as words, where there is no tokenizer)
    spans      role -> per prompt, ranges of columns of this rectangle
    lead       per prompt, the number of special tokens in front of the text (0 for token ids)
    left_out   per prompt, special tokens that the tokenizer would have put behind the text
    """

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    positions: Int[Tensor, "batch pos"]
    side: str
    prompts: tuple[Prompt, ...]
    spans: Mapping[str, tuple[tuple[TokenRange, ...], ...]]
    lead: tuple[int, ...]
    left_out: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Tokens of each prompt."""
        return self.mask.sum(dim=1)

    @property
    def first(self) -> Int[Tensor, " batch"]:
        """Column of each prompt's first token."""
        return self.mask.long().argmax(dim=1)

    @property
    def last(self) -> Int[Tensor, " batch"]:
        """Column of each prompt's last token."""
        return self.first + self.lengths - 1

    @property
    def padded(self) -> bool:
        """Whether any prompt is shorter than the rectangle."""
        return not bool(self.mask.all())


def tokenize(
    lm: LM,
    prompts: Sequence[str] | Sequence[Prompt] | Int[Tensor, "batch pos"],
    *,
    padding: str = "right",
    bos: str | None = None,
) -> Batch:
    """Prompts as a batch on the model's device.

    prompts: strings, Prompts (their roles are aligned with the tokens) or token ids [batch, pos] (taken as they are).
    bos: "auto" | "yes" | "no"; None takes the model's own setting. Raises PromptError for an empty prompt, one that is
    longer than the model's context, or an id outside the vocabulary; AlignmentError for spans that are not whole tokens.
    """
    choose("padding side", padding, SIDES)
    if isinstance(prompts, Tensor):
        return _from_ids(lm, prompts, padding)
    if isinstance(prompts, str):
        raise InputError("one string was given where a list of prompts is read", hint="write [prompt]")
    asked = tuple(Prompt(text=prompt) if isinstance(prompt, str) else prompt for prompt in prompts)
    if not asked:
        raise PromptError("no prompts were given", found="an empty list", allowed="at least one prompt")
    policy = lm.bos if bos is None else bos
    encodings = [encode(lm.tokenizer, prompt.text, policy) for prompt in asked]
    spans = align(asked, encodings, tokenizer_name=lm.tokenizer_name)
    rows = [encoding.ids for encoding in encodings]
    return _rectangle(
        lm,
        rows,
        padding,
        prompts=asked,
        spans=spans,
        lead=tuple(encoding.lead for encoding in encodings),
        left_out=tuple(encoding.left_out for encoding in encodings),
    )


def _from_ids(lm: LM, ids: Tensor, padding: str) -> Batch:
    if ids.ndim != 2 or ids.dtype.is_floating_point or ids.dtype == torch.bool or 0 in ids.shape:
        raise PromptError(
            "token ids cannot be read",
            found=f"{ids.dtype} of shape {tuple(ids.shape)}",
            allowed="whole numbers [batch, pos], at least one of each",
        )
    return batch_of_ids(lm, ids.tolist(), padding=padding)


def batch_of_ids(lm: LM, rows: Sequence[Sequence[int]], *, padding: str = "right") -> Batch:
    """Token ids of any lengths as a batch; nothing is added in front of them."""
    choose("padding side", padding, SIDES)
    if not rows or not all(rows):
        raise PromptError("a prompt is empty", found="no token ids", allowed="at least one token")
    return _rectangle(
        lm,
        rows,
        padding,
        prompts=tuple(Prompt(text=_shown(lm, row)) for row in rows),
        spans={},
        lead=(0,) * len(rows),
        left_out=((),) * len(rows),
    )


def _shown(lm: LM, row: Sequence[int]) -> str:
    words = " ".join(map(str, row))
    if lm.tokenizer is None or not all(0 <= i < len(lm.tokenizer) for i in row):
        return words
    return str(lm.tokenizer.decode(list(row))) or words


def _rectangle(
    lm: LM,
    rows: Sequence[Sequence[int]],
    side: str,
    *,
    prompts: tuple[Prompt, ...],
    spans: Mapping[str, tuple[tuple[TokenRange, ...], ...]],
    lead: tuple[int, ...],
    left_out: tuple[tuple[int, ...], ...],
) -> Batch:
    _refuse_impossible(lm, rows)
    width = max(map(len, rows))
    starts = [width - len(row) if side == "left" else 0 for row in rows]
    ids = torch.full((len(rows), width), fill_value=lm.fill_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        ids[i, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, start : start + len(row)] = True
    positions = (torch.arange(width)[None] - torch.tensor(starts)[:, None]).clamp(min=0)
    shifted = {
        role: tuple(
            tuple((a + start, b + start) for a, b in ranges) for ranges, start in zip(per_prompt, starts, strict=True)
        )
        for role, per_prompt in spans.items()
    }
    return Batch(
        ids=ids.to(lm.device),
        mask=mask.to(lm.device),
        positions=positions.to(lm.device),
        side=side,
        prompts=prompts,
        spans=shifted,
        lead=lead,
        left_out=left_out,
    )


def _refuse_impossible(lm: LM, rows: Sequence[Sequence[int]]) -> None:
    foreign = [f"prompt {i}: {sorted({t for t in row if not 0 <= t < lm.d_vocab})}" for i, row in enumerate(rows)]
    foreign = [line for line in foreign if not line.endswith("[]")]
    if foreign:
        raise PromptError(
            f"token ids outside the vocabulary of {lm.name}", found=listed(foreign), allowed=f"0 to {lm.d_vocab - 1}"
        )
    long = [f"prompt {i}: {len(row)} tokens" for i, row in enumerate(rows) if lm.n_ctx and len(row) > lm.n_ctx]
    if long:
        raise PromptError(
            f"{len(long)} of {len(rows)} prompts are longer than the context of {lm.name}",
            found=listed(long),
            allowed=f"at most {lm.n_ctx} tokens",
            hint="shorten them",
        )


def forward_inputs(lm: LM, batch: Batch) -> dict[str, Tensor]:
    """Exactly what goes to `lm.model(...)` so that each prompt has the numbers it has alone.

    Unpadded: `input_ids` only. Padded: with `attention_mask` and, where the model takes them, `position_ids`. Raises
    UnsupportedError where padding on this side is known to change the model's numbers.
    """
    if not batch.padded:
        return {"input_ids": batch.ids}
    reason = padding_reason(lm, batch.side, width=batch.ids.shape[1])
    if reason:
        raise UnsupportedError(
            f"{lm.name} cannot read prompts of different length in one batch padded on the {batch.side}",
            found=reason,
            allowed="prompts of equal length",
            hint="sort the prompts by their number of tokens, or give one at a time",
        )
    return padded_inputs(lm, batch.ids, batch.mask, batch.positions)
