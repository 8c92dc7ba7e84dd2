"""One pass over a batch: pooled residual vectors of every layer, and the last token's attention in every head.

A layer's residuals are pooled when its block ends and freed; attention rows are computed for the last prompt token alone. The
cost is that of a plain forward pass and little more (benchmarks/icl_speed.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.engine.record import record
from mnemoscope.engine.site import site_reason
from mnemoscope.measures.attention_ratio import group_attention
from mnemoscope.measures.pooling import pool
from mnemoscope.measures.prompt_groups import Groups, groups
from mnemoscope.model.batch import Batch, forward_inputs
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import BlockCall, block_seam

GROUPS = ("relevant", "distractor", "demonstration", "rest")


@dataclass(frozen=True, kw_only=True, eq=False)
class Inside:
    """What a pass left.

    vectors    (tokens, pooling) -> [layer prompt d_model], layer 0 the embedding
    attention  layer -> [prompt head group]: mean attention per token of GROUPS; head 0 is the mean over heads
    sink       layer -> [prompt head]: share of attention on sinks
    sentences  layer -> per prompt [head sentence]
    """

    vectors: Mapping[tuple[str, str], Float[np.ndarray, "layer prompt d_model"]]
    attention: Mapping[int, Float[np.ndarray, "prompt head group"]]
    sink: Mapping[int, Float[np.ndarray, "prompt head"]]
    sentences: Mapping[int, Sequence[np.ndarray]]
    groups: Groups


def inside(lm: LM, batch: Batch, stored: Sequence[tuple[str, str]]) -> Inside:
    """Run the batch once. `stored`: (tokens, pooling) pairs, tokens "all" or "relevant" (the asked ones of the test item)."""
    there = groups(lm, batch)
    chosen = {"all": there.text, "relevant": there.asked}
    pooled: dict[tuple[str, str], list[Tensor]] = {pair: [] for pair in stored}

    def keep(resid: Float[Tensor, "batch pos d_model"]) -> None:
        for tokens, how in stored:
            pooled[tokens, how].append(pool(resid, chosen[tokens], how).float().cpu())

    def before(call: BlockCall) -> None:
        if call.layer == 0:
            keep(call.resid)

    rows: dict[int, Float[Tensor, "batch head key"]] = {}

    def layer_done(layer: int, found: Mapping[str, Tensor]) -> None:
        pattern = found["pattern"][:, 0]
        rows[layer] = torch.cat([pattern.mean(1, keepdim=True), pattern], dim=1).cpu()

    def after(layer: int, resid: Tensor) -> None:
        keep(resid)

    layers = [layer for layer in range(lm.n_layers) if not site_reason(lm, "pattern", layer)]
    forward_inputs(lm, batch)  # whatever has to be found out about the model runs it: before the seams are open
    with block_seam(lm.blocks, before=before, after=after):
        record(lm, batch, {"pattern": layers}, batch.last[:, None], layer_done)
    return Inside(
        vectors={pair: torch.stack(values).numpy() for pair, values in pooled.items()},
        attention={layer: _per_group(row, there) for layer, row in rows.items()},
        sink={layer: torch.einsum("bhk,bk->bh", row, there.sink.cpu().float()).numpy() for layer, row in rows.items()},
        sentences={layer: _per_sentence(row, there) for layer, row in rows.items()},
        groups=there,
    )


def _per_group(rows: Float[Tensor, "batch head key"], there: Groups) -> Float[np.ndarray, "batch head group"]:
    keys: Bool[Tensor, "batch group key"] = torch.stack(
        [there.relevant, there.distractor, there.demonstration, there.rest], dim=1
    ).cpu()
    return torch.stack([group_attention(row[:, None], own) for row, own in zip(rows, keys, strict=True)]).numpy()


def _per_sentence(rows: Float[Tensor, "batch head key"], there: Groups) -> tuple[np.ndarray, ...]:
    """Mean attention per token of every sentence, [head sentence] for each prompt; nan for a sentence of sinks only."""
    found: list[np.ndarray] = []
    for row, sentences in zip(rows.numpy(), there.sentences, strict=True):
        means = [row[:, list(columns)].mean(-1) if columns else np.full(len(row), np.nan) for columns in sentences]
        found.append(np.stack(means, axis=-1) if means else np.zeros((len(row), 0), np.float32))
    return tuple(found)
