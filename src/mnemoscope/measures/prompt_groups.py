"""Groups of a prompt's tokens: what is relevant, what distracts, what was demonstrated, and the sinks that are none of these.

An attention ratio (Yousefi et al. 2023, arXiv 2310.00313) compares groups; a pooled vector pools one. Roles of the prompt say what
is what. Sinks are special tokens, the prompt's first column, and tokens without a letter or digit (methods B1.8): heads rest
on them whatever the text says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from mnemoscope.errors import PromptError, listed
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

RELEVANT = ("informative", "relevant")
DISTRACTING = ("distractor",)
SHOWN = ("demonstration", "demonstration_answer", "demonstration_label", "example")
ASKED = (*RELEVANT, "question", "question_name", "asked", "query", "query_x", "query_left", "query_right", "last")


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Columns of each group, [batch pos]; padding is in none. `sentences`: per prompt, every sentence of the passage in text order.

    place  per prompt, which sentence is the relevant one (-1 without one)
    """

    text: Bool[Tensor, "batch pos"]
    asked: Bool[Tensor, "batch pos"]
    relevant: Bool[Tensor, "batch pos"]
    distractor: Bool[Tensor, "batch pos"]
    demonstration: Bool[Tensor, "batch pos"]
    rest: Bool[Tensor, "batch pos"]
    sink: Bool[Tensor, "batch pos"]
    sentences: tuple[tuple[tuple[int, ...], ...], ...]
    place: tuple[int, ...]


def groups(lm: LM, batch: Batch) -> Groups:
    """Who is in which group.

    text: all tokens but special ones; asked: those of the test item that the answer rests on (relevant sentence, question, query,
    last token), the same under every condition; all of the text where no role says so. Raises PromptError where a token
    would be in two groups, where a prompt with distractors has no relevant sentence, and where a sentence is nothing but sinks.
    """
    text, sink = batch.mask.clone(), torch.zeros_like(batch.mask)
    for row, (first, lead) in enumerate(zip(batch.first.tolist(), batch.lead, strict=True)):
        text[row, first : first + lead] = False
        sink[row, : first + max(lead, 1)] = batch.mask[row, : first + max(lead, 1)]
    sink |= _wordless(lm, batch) & batch.mask
    own = {
        name: _columns(batch, roles)
        for name, roles in (("relevant", RELEVANT), ("distractor", DISTRACTING), ("demonstration", SHOWN))
    }
    _refuse_overlap(batch, own)
    asked = _columns(batch, ASKED)
    asked = torch.where(asked.any(-1, keepdim=True), asked, text)
    kept = {name: columns & ~sink for name, columns in own.items()}
    rest = batch.mask & ~sink & ~kept["relevant"] & ~kept["distractor"] & ~kept["demonstration"]
    sentences, place = _sentences(batch, sink)
    _refuse_empty(batch, kept, sentences)
    return Groups(text=text, asked=asked & text, sink=sink, rest=rest, sentences=sentences, place=place, **kept)


def _columns(batch: Batch, roles: Sequence[str]) -> Bool[Tensor, "batch pos"]:
    chosen = torch.zeros_like(batch.mask)
    for role in roles:
        for row, ranges in enumerate(batch.spans.get(role, ())):
            for start, stop in ranges:
                chosen[row, start:stop] = True
    return chosen


def _wordless(lm: LM, batch: Batch) -> Bool[Tensor, "batch pos"]:
    """Tokens without a letter or digit."""
    ids = batch.ids.unique().tolist()
    if lm.tokenizer is None:
        return torch.zeros_like(batch.mask)
    silent = [i for i in ids if not any(c.isalnum() for c in str(lm.tokenizer.decode([i])))]
    return torch.isin(batch.ids, torch.tensor(silent, device=batch.ids.device, dtype=batch.ids.dtype))


def _refuse_overlap(batch: Batch, own: dict[str, Tensor]) -> None:
    names = list(own)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    twice = [
        f"{_named(batch, row)}: {a} and {b}"
        for a, b in pairs
        for row in (own[a] & own[b]).any(-1).nonzero().flatten().tolist()
    ]
    if twice:
        raise PromptError(
            f"groups of tokens overlap in {len(twice)} prompts",
            found=listed(twice),
            allowed="every token in one group",
            hint="correct the spans of these roles",
        )


def _refuse_empty(batch: Batch, kept: dict[str, Tensor], sentences: Sequence[Sequence[Sequence[int]]]) -> None:
    without = kept["distractor"].any(-1) & ~kept["relevant"].any(-1)
    empty = [f"{_named(batch, row)}: no relevant sentence" for row in without.nonzero().flatten().tolist()]
    for row, own in enumerate(sentences):
        if not without[row] and not all(own):
            empty.append(f"{_named(batch, row)}: a sentence without a word")
    if empty:
        raise PromptError(
            f"groups of tokens are empty in {len(empty)} prompts",
            found=listed(empty),
            allowed=f"beside distractors a relevant sentence ({' or '.join(RELEVANT)}); in each at least one token that is "
            "no punctuation and not the first of the text",
            hint="correct the spans of these roles",
        )


def _named(batch: Batch, row: int) -> str:
    """Where the prompt stands in the user's file, or its place and beginning."""
    known = batch.prompts[row].labels.get("id")
    return f"prompt {row} {batch.prompts[row].text[:30]!r}" if known is None else str(known)


def _sentences(batch: Batch, sink: Tensor) -> tuple[tuple[tuple[tuple[int, ...], ...], ...], tuple[int, ...]]:
    found: list[tuple[tuple[int, ...], ...]] = []
    place: list[int] = []
    dead = sink.tolist()
    for row in range(len(batch)):
        own = [(r, True) for role in RELEVANT for r in (batch.spans.get(role) or ((),) * len(batch))[row]]
        own += [(r, False) for role in DISTRACTING for r in (batch.spans.get(role) or ((),) * len(batch))[row]]
        ordered = sorted(own)
        found.append(tuple(tuple(c for c in range(*r) if not dead[row][c]) for r, _ in ordered))
        right = [i for i, (_, relevant) in enumerate(ordered) if relevant]
        place.append(right[0] if len(right) == 1 else -1)
    return tuple(found), tuple(place)
