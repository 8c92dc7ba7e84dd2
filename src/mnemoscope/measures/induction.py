"""Ordinary induction of every head on repeated random tokens: where it looks, and whether it copies.

Sequences of distinct random tokens, repeated (Olsson et al. 2022; arXiv 2402.13055, section 3): nothing but looking back can
predict a later copy. One value per sequence and head; the definitions are those of `attention_patterns` and `copying`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.record import record, wanted
from mnemoscope.errors import DataError
from mnemoscope.measures import attention_patterns, copying
from mnemoscope.model import weights
from mnemoscope.model.batch import tokenize
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

EDGE = 0.04  # share of the vocabulary left out at both ends: byte-pair ranks follow frequency
KINDS = ("prefix_matching", "previous_token")
PER_PASS = 16  # sequences of one forward pass


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """One score of all heads: values (nan: undefined), what a head that knows nothing would have, positions behind each value."""

    values: Float[np.ndarray, "sequence layer head"]
    chance: Float[np.ndarray, " sequence"]
    n: Int[np.ndarray, " sequence"]


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Sequences: special tokens in front, then the same `distinct` random tokens `copies` times."""

    ids: Int[Tensor, "sequence pos"]
    front: int
    distinct: int
    copies: int


def repeated_tokens(lm: LM, count: int, seed: int, *, distinct: int = 25, copies: int = 4) -> Repeated:
    """Sequence k depends on the seed and the vocabulary, not on `count`. Fewer copies where the context is short (2 at least)."""
    special = set(lm.tokenizer.all_special_ids) if lm.tokenizer is not None else {0}
    edge = int(EDGE * lm.d_vocab)
    pool = np.array([i for i in range(edge, lm.d_vocab - edge) if i not in special])
    front: tuple[int, ...] = ()
    if lm.tokenizer is not None:
        encoding = encode(lm.tokenizer, "a", lm.bos)
        front = encoding.ids[: encoding.lead]
    while lm.n_ctx and len(front) + copies * distinct > lm.n_ctx:
        copies -= 1
    if copies < 2 or len(pool) < distinct:
        raise DataError(
            f"{lm.name} cannot host repeated sequences",
            found=f"context {lm.n_ctx}, {len(pool)} usable tokens",
            allowed=f"at least {2 * distinct + len(front)} positions and {distinct} tokens",
        )
    drawn = [np.random.default_rng([seed, k]).choice(pool, distinct, replace=False).tolist() for k in range(count)]
    ids = torch.tensor([[*front, *(one * copies)] for one in drawn], device=lm.device)
    return Repeated(ids=ids, front=len(front), distinct=distinct, copies=copies)


def induction_scores(lm: LM, repeated: Repeated) -> Mapping[str, HeadScores]:
    """prefix_matching (later copies only), previous_token, copying and copying_contextual of every head on every sequence."""
    return head_scores(lm, repeated.ids, KINDS, repeated)


def head_scores(
    lm: LM, ids: Int[Tensor, "sequence pos"], kinds: Sequence[str], repeated: Repeated | None = None
) -> Mapping[str, HeadScores]:
    """Kinds of `attention_patterns` on any sequences of equal length; where they are repeated random tokens also copying.

    previous_token is asked of all positions, the others of those behind the first copy, or behind the first token.
    """
    parts = [_batch(lm, ids[i : i + PER_PASS], kinds, repeated) for i in range(0, len(ids), PER_PASS)]
    return {
        score: HeadScores(
            values=np.concatenate([part[score].values for part in parts]),
            chance=np.concatenate([part[score].chance for part in parts]),
            n=np.concatenate([part[score].n for part in parts]),
        )
        for score in parts[0]
    }


def _batch(
    lm: LM, ids: Int[Tensor, "batch pos"], kinds: Sequence[str], repeated: Repeated | None
) -> dict[str, HeadScores]:
    later = torch.ones_like(ids, dtype=torch.bool)
    later[:, : 1 if repeated is None else repeated.front + repeated.distinct] = False
    where = {kind: torch.ones_like(later) if kind == "previous_token" else later for kind in kinds}
    goals = {kind: attention_patterns.targets(ids, kind) for kind in where}
    looks: dict[str, dict[int, Tensor]] = {kind: {} for kind in where}
    values: dict[int, Tensor] = {}

    def layer_done(layer: int, found: Mapping[str, Tensor]) -> None:
        pattern = rearrange(found["pattern"], "batch query head key -> batch head query key")
        for kind, of_layer in looks.items():
            of_layer[layer] = attention_patterns.attention_to(pattern, goals[kind], where[kind]).cpu()
        values[layer] = found["v"]

    columns = torch.arange(ids.shape[1], device=lm.device).expand(len(ids), -1)
    record(lm, tokenize(lm, ids), wanted(lm, ("pattern", "v"), None), columns, layer_done)
    found = {
        kind: HeadScores(
            values=_stacked(lm, looks[kind], len(ids)),
            chance=attention_patterns.chance(goals[kind], where[kind]).double().cpu().numpy(),
            n=(where[kind] & goals[kind].any(-1)).sum(-1).cpu().numpy(),
        )
        for kind in where
    }
    if repeated is None:
        return found
    # weights are found by running modules: not while recording
    copies = {layer: _copying(lm, repeated, layer, ids, value) for layer, value in values.items()}
    for kind in ("copying", "copying_contextual"):
        found[kind] = HeadScores(
            values=_stacked(lm, {layer: one[kind] for layer, one in copies.items()}, len(ids)),
            chance=np.full(len(ids), 1 / repeated.distinct),
            n=np.full(len(ids), repeated.distinct),
        )
    return found


def _stacked(lm: LM, by_layer: Mapping[int, Tensor], n: int) -> Float[np.ndarray, "sequence layer head"]:
    """[sequence layer head], as wide as the widest layer; nan where a layer has no such head."""
    width = max(shape.n_heads for shape in lm.shapes if shape is not None)
    values = np.full((n, lm.n_layers, width), np.nan)
    for layer, found in by_layer.items():
        values[:, layer, : found.shape[1]] = found.double().numpy()
    return values


def _copying(
    lm: LM, repeated: Repeated, layer: int, ids: Tensor, values: Float[Tensor, "batch pos kv_head d_value"]
) -> dict[str, Float[Tensor, "batch head"]]:
    """Copying of each sequence's own tokens, from raw embeddings and from the values at their first occurrence; nan without W."""
    shape = lm.shapes[layer]
    assert shape is not None
    kv = list(shape.kv_head_of)
    here = slice(repeated.front, repeated.front + repeated.distinct)
    found = {kind: torch.full((len(ids), shape.n_heads), torch.nan) for kind in ("copying", "copying_contextual")}
    lacking = {name: weights.weight_reason(lm, name, layer) for name in ("W_V", "W_O", "W_U", "W_E")}
    if lacking["W_O"] or lacking["W_U"]:
        return found
    W_O, W_U = weights.W_O(lm, layer).float(), weights.W_U(lm)
    W_V = None if lacking["W_V"] or lacking["W_E"] else weights.W_V(lm, layer).float()[kv]
    for b, tokens in enumerate(ids[:, here]):
        seen = rearrange(values[b, here].float(), "pos kv_head d -> kv_head pos d")[kv]
        logits, largest = copying.contextual_logits(seen, W_O, W_U[:, tokens].float())
        found["copying_contextual"][b] = copying.own_share(logits, largest).nanmean(-1).cpu()
        if W_V is not None:
            logits, largest = copying.literal_logits(weights.W_E(lm, tokens).float(), W_V, W_O, W_U[:, tokens].float())
            found["copying"][b] = copying.own_share(logits, largest).nanmean(-1).cpu()
    return found
