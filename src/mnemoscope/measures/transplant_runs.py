"""Runs of the same items that end in the same tokens, so that the state of one can be put into another (methods B7.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Int

from mnemoscope.data.passages import NEUTRAL
from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.body import final_stream
from mnemoscope.measures.answer_margin import END, Forced, forced
from mnemoscope.model.answers import Answer, answers
from mnemoscope.model.batch import Batch, batch_of_ids, tokenize
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import BlockCall, block_seam
from mnemoscope.results.schema.icl_cause import SOURCES

ITEM: Final = "item"  # role: all tokens of the test item that are the same in every run
SAME, OTHER, SHUFFLED, NEUTRAL_PREFIX = SOURCES


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs of the same items that end in the same tokens.

    before   without examples;  after: source -> behind the item's own examples, shuffled ones, or neutral text
    sources  source -> where states are taken from (of OTHER: another item's run behind its examples)
    kept     which of the given items are here: those whose runs fit into the context
    partner  which item OTHER is for each of them; itself where there is no other: OTHER is nan there
    shared   tokens of the test item that are the same in all runs;  padded: neutral text brings all runs to one length
    """

    before: Forced
    after: Mapping[str, Forced]
    sources: Mapping[str, Batch]
    kept: tuple[int, ...]
    partner: tuple[int, ...]
    shared: Int[np.ndarray, " prompt"]
    padded: bool


def runs(
    lm: LM,
    before: Sequence[Prompt],
    after: Sequence[Prompt],
    shuffled: Sequence[Prompt] | None = None,
    *,
    start: str | None = None,
    units: Sequence[str] | None = None,
    alike: Sequence[str] | None = None,
    neutral: Sequence[str] = NEUTRAL,
    part: slice = slice(None),
) -> Runs | None:
    """Align the runs of items, token by token from the end; None where no item of `part` can be.

    start   the role with which the test item begins (lines: the asked x); None: as many tokens as are the same in all runs
    units   which items are the same unit: OTHER takes one of another unit;  alike: and of the same value here (answer form)
    neutral sentences of the neutral text
    part    the items that are wanted here; lengths, partners and what fits are those of all items, whichever are wanted

    The neutral prefix makes a run exactly as long as the one behind examples (its text is cut in front). Where positions are added
    to the stream (learned positions) every run, the one before included, is filled up with neutral text in front to the length of
    the longest run that fits, so that the test item stands at the same positions everywhere. Items that do not fit into the
    context, or share no token, are left out; OTHER takes the run whose shared part is nearest in length.
    """
    held = answers(lm, before)
    rows, lead = _ids(lm, [one.prompt for one in held])
    behind = {SAME: _same_end(lm, after, held)}
    if shuffled is not None:
        behind[SHUFFLED] = _same_end(lm, shuffled, held)
    longest = _from_start(lm, before, start)
    same = [min(_common(row, ids[i]) for ids in behind.values()) for i, row in enumerate(rows)]
    shared = np.array([min(longest[i], len(row) - lead, same[i]) for i, row in enumerate(rows)])
    padded = adds_positions(lm)
    needed = [max(len(ids[i]) for ids in behind.values()) for i in range(len(rows))]
    width = max((n for n, one in zip(needed, held, strict=True) if _fits(lm, n + len(one.ids))), default=0)
    behind[NEUTRAL_PREFIX] = [
        _filled(lm, row, lead, width if padded else len(behind[SAME][i]), (*neutral[1:], *neutral[:1]))
        for i, row in enumerate(rows)
    ]
    if padded:
        rows = [_filled(lm, row, lead, width, neutral) for row in rows]
        behind |= {s: [_filled(lm, row, lead, width, neutral) for row in ids] for s, ids in behind.items()}
    kept = _fitting(lm, rows, behind, held, shared)
    partner = _partners(shared, kept, units, alike)
    wanted = set(range(len(rows))[part])
    kept = [i for i in kept if i in wanted]
    if not kept:
        return None
    own, short = [held[i] for i in kept], [rows[i] for i in kept]
    return Runs(
        before=forced(lm, short, own, {ITEM: _ends(short, shared[kept])}),
        after={source: forced(lm, [ids[i] for i in kept], own) for source, ids in behind.items()},
        sources=_sources(lm, behind, kept, partner, shared[kept]),
        kept=tuple(kept),
        partner=tuple(partner[i] for i in kept),
        shared=shared[kept],
        padded=padded,
    )


def _sources(
    lm: LM,
    behind: Mapping[str, Sequence[list[int]]],
    kept: Sequence[int],
    partner: Mapping[int, int],
    shared: np.ndarray,
) -> dict[str, Batch]:
    """Where states are taken from, in the order of SOURCES; of OTHER: the partner's run behind its examples."""
    rows = {source: [ids[i] for i in kept] for source, ids in behind.items()}
    rows[OTHER] = [behind[SAME][partner[i]] for i in kept]
    return {source: _source(lm, rows[source], shared) for source in SOURCES if source in rows}


def adds_positions(lm: LM) -> bool:
    """Whether the stream into the first block depends on where a token stands (learned or sinusoidal positions)."""

    def find() -> bool:
        seen: list[torch.Tensor] = []

        def before(call: BlockCall) -> None:
            if call.layer == 0:
                seen.append(call.resid[0])

        ids = torch.full((1, 6), 1 % lm.d_vocab, device=lm.device)
        with torch.no_grad(), block_seam(lm.blocks, before=before):
            final_stream(lm, {"input_ids": ids})
        return not torch.allclose(seen[0][1], seen[0][5])

    return lm.once("positions are added to the stream", find)


def _ids(lm: LM, prompts: Sequence[Prompt]) -> tuple[list[list[int]], int]:
    found = [encode(lm.tokenizer, prompt.text, lm.bos) for prompt in prompts]
    return [list(one.ids) for one in found], found[0].lead


def _same_end(lm: LM, prompts: Sequence[Prompt], held: Sequence[Answer]) -> list[list[int]]:
    """Ids of prompts, cut at the end as those of `held` were."""
    cut = [
        replace(p, text=p.text.rstrip(" "), spans={}) if one.route == "stripped" else replace(p, spans={})
        for p, one in zip(prompts, held, strict=True)
    ]
    return _ids(lm, cut)[0]


def _from_start(lm: LM, before: Sequence[Prompt], start: str | None) -> list[int]:
    """Tokens from the beginning of a role to the end of the prompt."""
    batch = tokenize(lm, before)
    lengths = batch.lengths.tolist()
    if start is None:
        return lengths
    return [n - ranges[0][0] for n, ranges in zip(lengths, batch.spans[start], strict=True)]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common ending."""
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return n


def _filled(lm: LM, row: Sequence[int], lead: int, length: int, sentences: Sequence[str]) -> list[int]:
    """The row, brought to a length by neutral text between its special tokens and its text."""
    missing = length - len(row)
    if missing <= 0:
        return list(row)
    n = 1
    while True:
        text = " ".join(sentences[i % len(sentences)] for i in range(n)) + "\n"
        found = encode(lm.tokenizer, text, lm.bos)
        if len(found.ids) - found.lead >= missing:
            return [*row[:lead], *found.ids[len(found.ids) - missing :], *row[lead:]]
        n *= 2


def _fitting(
    lm: LM,
    rows: Sequence[list[int]],
    behind: Mapping[str, Sequence[list[int]]],
    held: Sequence[Answer],
    shared: np.ndarray,
) -> list[int]:
    """Items all of whose runs fit into the context together with their answers, and that share a token."""
    longest = [
        max(len(row), *(len(ids[i]) for ids in behind.values())) + len(held[i].ids) for i, row in enumerate(rows)
    ]
    return [i for i, n in enumerate(longest) if shared[i] > 0 and _fits(lm, n)]


def _fits(lm: LM, n: int) -> bool:
    return not lm.n_ctx or n <= lm.n_ctx


def _partners(
    shared: np.ndarray, kept: Sequence[int], units: Sequence[str] | None, alike: Sequence[str] | None
) -> dict[int, int]:
    """For every kept item the next one of another unit (and the same form) whose shared part is nearest in length."""
    found: dict[int, int] = {}
    for i in kept:
        others = [j for j in (*(k for k in kept if k > i), *(k for k in kept if k < i)) if shared[j] >= shared[i]]
        others = [j for j in others if units is None or units[j] != units[i]]
        same = [j for j in others if alike is None or alike[j] == alike[i]]
        found[i] = min(same or others or [i], key=lambda j: shared[j] - shared[i])
    return found


def _ends(rows: Sequence[Sequence[int]], shared: np.ndarray) -> list[tuple[tuple[int, int]]]:
    return [((len(row) - int(n), len(row)),) for row, n in zip(rows, shared, strict=True)]


def _source(lm: LM, rows: Sequence[list[int]], shared: np.ndarray) -> Batch:
    batch = batch_of_ids(lm, rows)
    ends = [((len(row) - 1, len(row)),) for row in rows]
    return replace(batch, spans={END: tuple(ends), ITEM: tuple(_ends(rows, shared))})
