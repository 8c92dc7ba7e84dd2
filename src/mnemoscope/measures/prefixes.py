"""Logits behind many token rows that begin alike: each common beginning is read once.

Few-shot prompts share their demonstrations: four queries with each of eight numbers of shots are 32 prompts, and a fifth of their
tokens are different ones. The common beginning goes through the model once, its keys and values are handed to every prompt, cut
where the prompt leaves it, and only the prompt's own end is computed. That is the model's own cache, and it is not trusted: some
prompts of every call are computed the plain way too, and beyond the noise tolerance the plain way is taken for all. Models
whose cache is not one key and value per token (windows, states) go the plain way from the start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from mnemoscope.engine.record import unembedding_at
from mnemoscope.engine.tolerance import sweep_floor, tolerance
from mnemoscope.errors import PromptError, listed
from mnemoscope.model.batch import batch_of_ids
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padded_inputs, padding_reason, takes_positions

FEWEST = 4  # shared tokens that make rows a group
PAYS = 0.75  # share of the plain way's tokens below which reading beginnings once is worth it
TOKENS = 8192  # of one forward pass
BYTES = 2**27  # of the keys and values of one forward pass
PROVEN = 3  # rows of a call that are computed both ways

Rows = Sequence[tuple[int, ...]]
Chunk = tuple[Int[np.ndarray, " _row"], Float[Tensor, "_row d_vocab"]]  # numbers of rows, their logits


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows with a common beginning: the trunk, the rows' numbers, and how many of the trunk's tokens each begins with."""

    trunk: tuple[int, ...]
    rows: tuple[int, ...]
    shared: tuple[int, ...]


def last_logits(lm: LM, rows: Rows, *, reuse: bool = True) -> Iterator[Chunk]:
    """(numbers of rows, logits behind their last token), chunk by chunk, every row once; logits in float32.

    The chunks depend on the rows alone. `reuse` False computes every row from its first token. Raises PromptError for rows that are
    empty or longer than the model's context.
    """
    _refuse_impossible(lm, rows)
    groups = grouped(rows) if reuse else ()
    if groups and (chunks := _shared_chunks(lm, rows, groups)) is not None:
        taken = {row for group in groups for row in group.rows}
        yield from chunks
        yield from _plain(lm, rows, [row for row in range(len(rows)) if row not in taken])
    else:
        yield from _plain(lm, rows, range(len(rows)))


def grouped(rows: Rows) -> tuple[Group, ...]:
    """Groups of rows whose common beginnings are worth reading once; rows without one are in no group."""
    order = sorted(range(len(rows)), key=lambda row: rows[row])
    cuts = [i for i in range(1, len(order)) if _common(rows[order[i - 1]], rows[order[i]]) < FEWEST]
    found: list[Group] = []
    for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True):
        members = tuple(order[a:b])
        leader = max(members, key=lambda row: len(rows[row]))
        reach = [min(_common(rows[leader], rows[row]), len(rows[row]) - 1) for row in members]
        width = max((s for row, s in zip(members, reach, strict=True) if row != leader), default=0)
        shared = [min(s, width) for s in reach]
        plain = sum(len(rows[row]) for row in members)
        if len(members) > 1 and width + plain - sum(shared) <= PAYS * plain:
            found.append(Group(trunk=rows[leader][:width], rows=members, shared=tuple(shared)))
    return tuple(found)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _refuse_impossible(lm: LM, rows: Rows) -> None:
    if not rows or not all(rows):
        raise PromptError("a prompt is empty", found="no token ids", allowed="at least one token")
    long = [f"row {i}: {len(row)} tokens" for i, row in enumerate(rows) if lm.n_ctx and len(row) > lm.n_ctx]
    if long:
        raise PromptError(
            f"{len(long)} of {len(rows)} prompts are longer than the context of {lm.name}",
            found=listed(long),
            allowed=f"at most {lm.n_ctx} tokens",
            hint="fewer shots",
        )


def _plain(lm: LM, rows: Rows, chosen: Sequence[int]) -> Iterator[Chunk]:
    """Every row from its first token, rows of equal length together: no padding, nothing but `input_ids`."""
    lengths = sorted({len(rows[row]) for row in chosen})
    for length in lengths:
        alike = [row for row in chosen if len(rows[row]) == length]
        step = max(1, TOKENS // length)
        for start in range(0, len(alike), step):
            part = alike[start : start + step]
            ids = torch.tensor([rows[row] for row in part], device=lm.device)
            yield np.array(part), _read(lm, {"input_ids": ids}, use_cache=False).logits[:, -1].float()


@torch.no_grad()
def _read(lm: LM, inputs: dict[str, Any], *, use_cache: bool) -> Any:
    """One forward pass that unembeds the last column only."""
    ids = inputs["input_ids"]
    last = torch.full((len(ids), 1), ids.shape[1] - 1, device=ids.device)
    with unembedding_at(lm, last):
        return lm.model(**inputs, use_cache=use_cache)


def _shared_chunks(lm: LM, rows: Rows, groups: Sequence[Group]) -> Iterator[Chunk] | None:
    """The chunks of all grouped rows, the first ones proven; None where the model's cache cannot be used like this."""
    if padding_reason(lm, "right", width=max(map(len, rows))):
        return None
    batches = _batches(groups)
    try:
        first = list(_of_batch(lm, rows, batches[0]))
    except _Unfit:
        return None
    if not _proven(lm, rows, first):
        return None
    return _chained(lm, rows, first, batches[1:])


def _chained(lm: LM, rows: Rows, first: list[Chunk], rest: Sequence[Sequence[Group]]) -> Iterator[Chunk]:
    yield from first
    for batch in rest:
        yield from _of_batch(lm, rows, batch)


class _Unfit(Exception):
    """This model's cache is not one key and one value per token and layer."""


def _batches(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups whose trunks go through the model together, of about equal length."""
    ordered = sorted(groups, key=lambda group: (len(group.trunk), group.trunk))
    found: list[list[Group]] = []
    for group in ordered:
        if found and (len(found[-1]) + 1) * len(group.trunk) <= TOKENS:
            found[-1].append(group)
        else:
            found.append([group])
    return found


def _of_batch(lm: LM, rows: Rows, groups: Sequence[Group]) -> Iterator[Chunk]:
    layers = _trunks(lm, groups)
    places = [(row, i, s) for i, group in enumerate(groups) for row, s in zip(group.rows, group.shared, strict=True)]
    places.sort(key=lambda place: (len(rows[place[0]]) - place[2], place[2], place[0]))
    per_token = sum(keys[0, :, 0].nbytes + values[0, :, 0].nbytes for keys, values in layers)
    start = 0
    while start < len(places):
        tail = len(rows[places[start][0]]) - places[start][2]
        stop = start
        while stop < len(places) and len(rows[places[stop][0]]) - places[stop][2] == tail:
            width = places[stop][2] + tail
            size = stop - start + 1
            if size > 1 and (size * tail > TOKENS or size * width * per_token > BYTES):
                break
            stop += 1
        part = places[start:stop]
        yield np.array([row for row, _, _ in part]), _continued(lm, rows, part, layers)
        start = stop


def _trunks(lm: LM, groups: Sequence[Group]) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of every trunk, per layer [group kv_head pos d]; padded on the right."""
    batch = batch_of_ids(lm, [group.trunk for group in groups])
    inputs = padded_inputs(lm, batch.ids, batch.mask, batch.positions) if batch.padded else {"input_ids": batch.ids}
    cache = getattr(_read(lm, inputs, use_cache=True), "past_key_values", None)
    if type(cache) is not DynamicCache or len(cache.layers) != lm.n_layers:
        raise _Unfit
    shape = batch.ids.shape
    found = [(layer.keys, layer.values) for layer in cache.layers if type(layer) is DynamicLayer]
    if len(found) != lm.n_layers or any(
        part is None or part.ndim != 4 or (part.shape[0], part.shape[2]) != shape for pair in found for part in pair
    ):
        raise _Unfit
    return [(keys, values) for keys, values in found if keys is not None and values is not None]


def _continued(
    lm: LM, rows: Rows, part: Sequence[tuple[int, int, int]], layers: Sequence[tuple[Tensor, Tensor]]
) -> Float[Tensor, "row d_vocab"]:
    """Logits behind rows of equal tail length: (row, its trunk, tokens shared with it)."""
    width = max(shared for _, _, shared in part)
    trunk = torch.tensor([group for _, group, _ in part], device=lm.device)
    tails = torch.tensor([rows[row][shared:] for row, _, shared in part], device=lm.device)
    cache = DynamicCache([(keys[trunk, :, :width], values[trunk, :, :width]) for keys, values in layers])
    inputs: dict[str, Any] = {"input_ids": tails}
    if any(shared < width for _, _, shared in part):
        shared = torch.tensor([s for _, _, s in part], device=lm.device)[:, None]
        seen = torch.arange(width, device=lm.device)[None] < shared
        mask = torch.cat([seen, torch.ones_like(tails, dtype=torch.bool)], dim=1)
        positions = shared + torch.arange(tails.shape[1], device=lm.device)[None]
        inputs |= {"attention_mask": mask.long(), **({"position_ids": positions} if takes_positions(lm) else {})}
    return _read(lm, {**inputs, "past_key_values": cache}, use_cache=True).logits[:, -1].float()


def _proven(lm: LM, rows: Rows, chunks: Sequence[Chunk]) -> bool:
    """Whether rows from the first, the middle and the last chunk have the logits of the plain way."""
    picked = {0, len(chunks) // 2, len(chunks) - 1}
    for index in sorted(picked)[:PROVEN]:
        numbers, found = chunks[index]
        row = int(numbers[0])
        _, alone = next(_plain(lm, rows, [row]))
        floor = sweep_floor(lm, batch_of_ids(lm, [rows[row]]))
        if not float((found[0] - alone[0]).abs().max()) <= tolerance(floor, lm.dtype, float(alone.abs().max())):
            return False
    return True
