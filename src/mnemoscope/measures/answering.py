"""What a model answers, and how probable it finds the right answer: behaviour, read behind one pass over the prompt.

The prompt is read once; its keys and values then serve the greedy continuation and all candidate answers (prefix reuse). That
the model gives the same numbers this way as in whole passes is tried on the model itself first; where it does not, or has
no such cache, every continuation is read with its whole prompt.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.record import unembedding_at
from mnemoscope.engine.tolerance import tolerance
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch, forward_inputs, tokenize
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason, takes_positions

EXTRA = 2  # tokens said beyond the longest right answer


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One prompt's behaviour.

    said      greedy continuation, as text (as many tokens as the longest right answer of the batch, and 2)
    logprob   sum over the right answer's tokens of log p(token | prompt, answer so far): nats, <= 0
    margin    logprob minus that of the most probable foil; nan without foils
    route     "extended" or "stripped" (methods B4)
    """

    said: str
    logprob: float
    margin: float
    route: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """Prompts that were read: what is needed to go on. cache None: everything is read again."""

    ids: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    padded: bool
    cache: Any
    logits: Float[Tensor, "batch d_vocab"]


def answered(lm: LM, prompts: Sequence[Prompt], *, candidates: bool = True, batch: int = 16) -> tuple[Answered, ...]:
    """Behaviour on every prompt; `candidates=False` only lets the model speak (logprob and margin nan)."""
    held = answers(lm, prompts)
    read = [one.prompt for one in held]
    sizes = [len(encode(lm.tokenizer, prompt.text, lm.bos).ids) for prompt in read]
    found: dict[int, Answered] = {}
    for rows in _batches(lm, sizes, batch):
        state = _prefix(lm, tokenize(lm, [read[i] for i in rows], padding="left"))
        options = [(held[i].ids, *held[i].foils) for i in rows]
        scores = _scores(lm, state, options) if candidates else None
        said = _greedy(lm, state, max(len(option[0]) for option in options) + EXTRA)
        for place, i in enumerate(rows):
            own, foils = (float("nan"), []) if scores is None else (scores[place][0], scores[place][1:])
            margin = own - max(foils) if foils else float("nan")
            found[i] = Answered(said=said[place], logprob=own, margin=margin, route=held[i].route)
    return tuple(found[i] for i in range(len(prompts)))


def _batches(lm: LM, sizes: Sequence[int], batch: int) -> list[list[int]]:
    """Prompts by length; of equal length each batch where padding on the left is refused."""
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    strict = bool(padding_reason(lm, "left", width=max(sizes)))
    made: list[list[int]] = []
    for i in order:
        full = made and (len(made[-1]) >= batch or (strict and sizes[made[-1][0]] != sizes[i]))
        if not made or full:
            made.append([])
        made[-1].append(i)
    return made


@torch.no_grad()
def _prefix(lm: LM, batch: Batch) -> _Read:
    kept = not reuse(lm).reason
    inputs = forward_inputs(lm, batch)
    with unembedding_at(lm, batch.last[:, None]):
        out = lm.model(**inputs, use_cache=kept)
    return _Read(
        ids=batch.ids,
        mask=batch.mask,
        padded=batch.padded,
        cache=out.past_key_values if kept else None,
        logits=out.logits[:, -1].float(),
    )


@torch.no_grad()
def _further(lm: LM, state: _Read, ids: Int[Tensor, "batch new"]) -> tuple[_Read, Float[Tensor, "batch new d_vocab"]]:
    """Read more tokens; the logits behind each of them. The state given is used up (its cache grows)."""
    grown = torch.cat([state.mask, torch.ones_like(ids, dtype=torch.bool)], dim=1)
    whole = torch.cat([state.ids, ids], dim=1)
    n = ids.shape[1]
    inputs: dict[str, Any] = {"input_ids": ids if state.cache is not None else whole}
    if state.padded:
        inputs["attention_mask"] = grown.long()
        if takes_positions(lm):
            positions = (grown.long().cumsum(-1) - 1).clamp(min=0)
            inputs["position_ids"] = positions[:, -n:] if state.cache is not None else positions
    if state.cache is not None:
        logits = lm.model(**inputs, past_key_values=state.cache, use_cache=True).logits.float()
    else:
        logits = lm.model(**inputs, use_cache=False).logits[:, -n:].float()
    return replace(state, ids=whole, mask=grown, logits=logits[:, -1]), logits


def _greedy(lm: LM, state: _Read, n: int) -> list[str]:
    """What the model says next: the most probable token, `n` times. Text is read off as what decoding adds to the prompt's."""
    rows, masks, new = state.ids.tolist(), state.mask.tolist(), list[list[int]]()
    for step in range(n):
        token = state.logits.argmax(-1, keepdim=True)
        new.append(token[:, 0].tolist())
        if step < n - 1:
            state, _ = _further(lm, state, token)
    said: list[str] = []
    for row, mask, own in zip(rows, masks, zip(*new, strict=True), strict=True):
        before = [i for i, there in zip(row, mask, strict=True) if there]
        said.append(_decoded(lm, [*before, *own])[len(_decoded(lm, before)) :])
    return said


def _decoded(lm: LM, ids: list[int]) -> str:
    assert lm.tokenizer is not None
    return str(lm.tokenizer.decode(ids, skip_special_tokens=False))


def _scores(lm: LM, state: _Read, options: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    """Log probability of every candidate of every prompt, all its tokens; the state is left as it was."""
    width = max(len(own) for own in options)
    length = max(len(ids) for own in options for ids in own)
    ids = torch.zeros((len(options), width, length), dtype=torch.long)
    there = torch.zeros_like(ids, dtype=torch.bool)
    for i, own in enumerate(options):
        for j, tokens in enumerate(own):
            ids[i, j, : len(tokens)] = torch.tensor(tokens)
            there[i, j, : len(tokens)] = True
    ids, there = (
        rearrange(value, "batch option new -> (batch option) new").to(state.ids.device) for value in (ids, there)
    )
    first = repeat(state.logits, "batch d_vocab -> (batch option) 1 d_vocab", option=width)
    logits = first
    if length > 1:
        _, later = _further(lm, _copied(state, width), ids[:, :-1])
        logits = torch.cat([first, later], dim=1)
    taken = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    total = rearrange((taken * there).sum(-1), "(batch option) -> batch option", option=width)
    return [[float(total[i, j]) for j in range(len(own))] for i, own in enumerate(options)]


def _copied(state: _Read, times: int) -> _Read:
    """Every prompt `times` times, with a cache of its own."""
    cache = deepcopy(state.cache)
    if cache is not None:
        cache.batch_repeat_interleave(times)
    ids, mask, logits = (value.repeat_interleave(times, 0) for value in (state.ids, state.mask, state.logits))
    return replace(state, ids=ids, mask=mask, logits=logits, cache=cache)


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Whether a prompt's keys and values serve again: largest difference of logits from whole passes, and what is allowed.

    reason  why they do not; "" where they do
    """

    error: float
    allowed: float
    reason: str = ""


def reuse(lm: LM) -> Reuse:
    """Tried once on each model: two texts of ten tokens, six of them read first."""
    return lm.once("prefix reuse", lambda: _tried(lm))


@torch.no_grad()
def _tried(lm: LM) -> Reuse:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, lm.d_vocab, (2, 10), generator=generator).to(lm.device)
    whole = lm.model(input_ids=ids, use_cache=False).logits.float()
    floor = float((lm.model(input_ids=ids[:1], use_cache=False).logits.float() - whole[:1]).abs().max())
    allowed = tolerance(floor, lm.dtype, float(whole.abs().max()))
    mask = torch.ones_like(ids[:, :6], dtype=torch.bool)
    state = _Read(ids=ids[:, :6], mask=mask, padded=False, cache=None, logits=whole[:, 5])
    try:
        cache = lm.model(input_ids=ids[:, :6], use_cache=True).past_key_values
        if cache is None:
            return Reuse(error=math.nan, allowed=allowed, reason="it keeps no cache")
        copied = _copied(replace(state, cache=cache), 2)
        _, found = _further(lm, copied, ids[:, 6:].repeat_interleave(2, 0))
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, NotImplementedError) as error:
        why = f"its cache cannot be reused: {type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
        return Reuse(error=math.nan, allowed=allowed, reason=why)
    difference = float((found[::2] - whole[:, 6:]).abs().max())
    moved = f"reuse moves its logits by {difference:.2g} (allowed: {allowed:.2g})"
    return Reuse(error=difference, allowed=allowed, reason="" if difference <= allowed else moved)
