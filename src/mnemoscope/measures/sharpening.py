"""Sharpening and flattening attention: what the answer would be, had a head looked more, or less, at one sentence.

Columns K of a head's pattern are multiplied by g and the row is renormalised (methods B7.6):

    a'_k = g a_k / (1 + (g - 1) A_K)  for k in K,   a_k / (1 + (g - 1) A_K)  for others,   A_K = sum_{k in K} a_k

An attention sink's share is among the others. In one layer nothing before the head has changed, so the head's output follows
from the run as it is,

    z' = (z + (g - 1) z_K) / (1 + (g - 1) A_K),    z_K = sum_{k in K} a_k v_k,

and is put in its place: whole forward passes with changed patterns (`mnemoscope.engine.pattern`) give the same numbers. g = 1
changes nothing; g > 1 sharpens, g < 1 flattens; the queries are all tokens that predict a token of the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.engine.chunks import select
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.engine.record import record, wanted
from mnemoscope.engine.verify import Verification
from mnemoscope.errors import InputError
from mnemoscope.measures.answer_margin import Forced, judged
from mnemoscope.model.lm import LM

GAINS: Final = (0.25, 0.5, 2.0, 4.0)
Group = tuple[int, tuple[int, ...]]  # a layer and some of its heads


@dataclass(frozen=True, kw_only=True, eq=False)
class Sharpened:
    """Answers in nats under every dose; `attention`: share of a group's attention on the sentence before (mean over heads and
    queries)."""

    logprob: Float[np.ndarray, "group sentence gain prompt"]
    margin: Float[np.ndarray, "group sentence gain prompt"]
    attention: Float[np.ndarray, "group sentence prompt"]
    plain: Mapping[str, Float[np.ndarray, " prompt"]]  # logprob, margin
    verification: Verification


def reweighted(
    z: Float[Tensor, "*place d"], z_on: Float[Tensor, "*place d"], share: Float[Tensor, "*place"], gain: float
) -> Float[Tensor, "*place d"]:
    """z' of the module's equation; share is A_K in [0, 1], z_on is z_K. Exactly z at gain 1."""
    return (z + (gain - 1) * z_on) / (1 + (gain - 1) * share)[..., None]


@torch.no_grad()
def sharpened(
    lm: LM,
    asked: Forced,
    sentences: Mapping[str, Bool[Tensor, "prompt pos"]],
    groups: Sequence[Group],
    *,
    gains: Sequence[float] = GAINS,
    budget: str | int = "1GiB",
) -> Sharpened:
    """Effect of every dose, one group of heads (of one layer) at a time, on every sentence in turn.

    sentences: name -> columns of `asked.batch`, before its last prompt token. Raises InputError for gains that are not positive
    (a query with nothing left to attend to has no answer) and for a sentence without tokens.
    """
    if not all(gain > 0 for gain in gains):
        raise InputError("gains of attention", found=str(list(gains)), allowed="> 0")
    for name, columns in sentences.items():
        if not bool(columns.any(dim=1).all()):
            missing = (~columns.any(dim=1)).nonzero().flatten().tolist()
            raise InputError(f"sentence {name!r} is empty", found=f"prompts {missing}", allowed="a token in each")
    read = _read(lm, asked, sentences, sorted({layer for layer, _ in groups}))
    cells = [
        _cell(asked, read[layer], layer, heads, name, gain)
        for layer, heads in groups
        for name in sentences
        for gain in gains
    ]
    found = judged(lm, asked, cells, budget=budget)
    shape = (len(groups), len(sentences), len(gains), -1)
    there = torch.from_numpy(asked.question.read >= 0)
    attention = [
        _share(read[layer].share[name][:, :, list(heads)], there) for layer, heads in groups for name in sentences
    ]
    return Sharpened(
        logprob=found.logprob.reshape(shape),
        margin=found.margin.reshape(shape),
        attention=np.stack(attention).reshape(len(groups), len(sentences), -1),
        plain={"logprob": found.plain_logprob, "margin": found.plain_margin},
        verification=found.verification,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """One layer at the answering queries: z, and per sentence the attention on it and what was read from it."""

    z: Float[Tensor, "prompt query head d"]
    share: Mapping[str, Float[Tensor, "prompt query head"]]
    z_on: Mapping[str, Float[Tensor, "prompt query head d"]]


def _read(lm: LM, asked: Forced, sentences: Mapping[str, Tensor], layers: Sequence[int]) -> dict[int, _Layer]:
    """Layers of the unpatched run, in batches of equal length (no padding) of at most 16 prompts."""
    parts: list[tuple[list[int], dict[int, _Layer]]] = []
    lengths = asked.batch.lengths.tolist()
    for n in sorted(set(lengths)):
        rows = [i for i, length in enumerate(lengths) if length == n]
        parts += [(some, _part(lm, asked, sentences, layers, some)) for some in _cut(rows, 16)]
    order = torch.tensor([i for rows, _ in parts for i in rows]).argsort()
    return {
        layer: _Layer(
            z=torch.cat([part[layer].z for _, part in parts])[order],
            share={s: torch.cat([part[layer].share[s] for _, part in parts])[order] for s in sentences},
            z_on={s: torch.cat([part[layer].z_on[s] for _, part in parts])[order] for s in sentences},
        )
        for layer in layers
    }


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def _part(
    lm: LM, asked: Forced, sentences: Mapping[str, Tensor], layers: Sequence[int], rows: list[int]
) -> dict[int, _Layer]:
    batch = select(asked.batch, rows)
    width = batch.ids.shape[1]
    queries = torch.from_numpy(np.maximum(asked.question.read[rows], 0)).to(batch.ids.device)
    on = {name: columns[rows, :width].to(batch.ids.device) for name, columns in sentences.items()}
    found: dict[int, _Layer] = {}

    def layer_done(layer: int, seen: Mapping[str, Tensor]) -> None:
        shape = lm.shapes[layer]
        assert shape is not None
        each = torch.arange(len(rows), device=queries.device)[:, None]
        pattern, z = seen["pattern"][each, queries], seen["z"][each, queries]
        value = seen["v"][:, :, list(shape.kv_head_of)]
        share: dict[str, Tensor] = {}
        z_on: dict[str, Tensor] = {}
        for name, columns in on.items():
            kept = pattern[..., :width] * rearrange(columns, "prompt key -> prompt 1 1 key")
            share[name] = kept.sum(-1).float()
            z_on[name] = einsum(kept, value, "prompt query head key, prompt key head d -> prompt query head d")
        found[layer] = _Layer(z=z, share=share, z_on=z_on)

    columns = torch.arange(width, device=queries.device).expand(len(rows), -1)
    record(lm, batch, wanted(lm, ("pattern", "v", "z"), layers), columns, layer_done)
    return found


def _cell(asked: Forced, read: _Layer, layer: int, heads: Sequence[int], name: str, gain: float) -> Cell:
    """One dose: a patch per head and answering column."""
    new = reweighted(read.z.float(), read.z_on[name].float(), read.share[name], gain)
    return tuple(
        Patch(site="z", layer=layer, head=head, position=place, value=new[:, at, head])
        for at, place in enumerate(asked.places)
        for head in heads
    )


def _share(
    share: Float[Tensor, "prompt query head"], there: Bool[Tensor, "prompt query"]
) -> Float[np.ndarray, " prompt"]:
    kept = share.mean(-1).cpu() * there
    return (kept.sum(-1) / there.sum(-1)).double().numpy()
