"""What is kept of a model's run for the relation index: gates, and a few vectors per text.

The model runs once per batch of texts. Attention rows are looked at and forgotten; kept are, per layer, the dominance of
head words and tails, the values at both, and the head outputs at attending positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.relation_events import Events
from mnemoscope.measures.relation_gate import Gate, gate
from mnemoscope.model.batch import batch_of_ids
from mnemoscope.model.head import final_norm
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import module_seam

SINK = 0.3  # a token that receives more than this share of attention on other texts is a sink


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """One layer of one text.

    forward, backward   gates at the head word, and at the tail (the reverse direction)
    size                norm of the attention module's input at every position; None where it was not seen
    """

    forward: Gate
    backward: Gate
    size: Float[Tensor, " pos"] | None
    values: Float[Tensor, "pos kv_head d_value"]
    outputs: Float[Tensor, "row head d_value"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """One run: layers[layer][text], and the final norm's scale at every position (None without a final norm)."""

    layers: Mapping[int, tuple[Kept, ...]]
    scale: Float[Tensor, "text pos"] | None


def recorded(lm: LM, ids: Sequence[Int[Tensor, " _"]], events: Sequence[Events]) -> Recorded:
    """Run the texts as one batch and keep what the index needs. `values` are at every position of the text."""
    batch = batch_of_ids(lm, [tuple(one.tolist()) for one in ids])
    layers: dict[int, tuple[Kept, ...]] = {}
    final: list[Tensor] = []
    sizes: dict[int, Float[Tensor, "text pos"]] = {}
    norm = final_norm(lm)  # discovered by running the model: before recording

    def each(layer: int, found: Mapping[str, Tensor]) -> None:
        if "pattern" in found:
            layers[layer] = _layer(found, ids, events, sizes.get(layer))
        if "resid_post" in found:
            final.append(found["resid_post"])

    def entering(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        stream = next((x for x in given if x.ndim == 3 and tuple(x.shape) == (*batch.ids.shape, lm.d_model)), None)
        if stream is not None:
            sizes[int(name)] = stream.float().norm(dim=-1)

    wants = {**wanted(lm, ("pattern", "v", "z"), None), "resid_post": (lm.n_layers - 1,)}
    columns = torch.arange(batch.ids.shape[1], device=lm.device).expand(len(batch), -1)
    modules = {str(i): module for i, module in enumerate(lm.attentions) if module is not None}
    with module_seam(modules, before=entering):
        record(lm, batch, wants, columns, each)
    return Recorded(layers=layers, scale=None if norm is None else norm.scale(final[0])[..., 0])


def _layer(
    found: Mapping[str, Tensor],
    ids: Sequence[Int[Tensor, " _"]],
    events: Sequence[Events],
    size: Float[Tensor, "text pos"] | None,
) -> tuple[Kept, ...]:
    pattern = found["pattern"]  # batch query head key
    asleep = sinks(pattern, ids)
    kept: list[Kept] = []
    for b, (one, event, sink) in enumerate(zip(ids, events, asleep, strict=True)):
        n = len(one)
        queries, row = event.queries()
        rows = pattern[b, queries, :, :n].permute(1, 0, 2).float().contiguous()
        seen = torch.arange(n, device=rows.device)[None] <= queries[:, None]
        forward, backward = gate(rows, seen, sink, row, event.source, event.target)
        kept.append(
            Kept(
                forward=forward,
                backward=backward,
                size=None if size is None else size[b, :n],
                values=found["v"][b, :n].float(),
                outputs=found["z"][b, queries].float(),
            )
        )
    return tuple(kept)


def sinks(pattern: Float[Tensor, "batch query head key"], ids: Sequence[Int[Tensor, " _"]]) -> list[Bool[Tensor, " _"]]:
    """Position 0, and tokens that receive more than 30% mean attention on the other texts of the batch.

    What a token receives is the mean over heads and over the queries that can see it, averaged over its places in a text.
    """
    every, code = torch.cat(list(ids)).unique(return_inverse=True)
    codes = code.split([len(one) for one in ids])
    received = torch.zeros(len(ids), len(every), device=pattern.device)
    for b, own in enumerate(codes):
        n = len(own)
        share = pattern[b, :n, :, :n].float().mean(1).sum(0) / torch.arange(n, 0, -1, device=pattern.device)
        times = torch.zeros_like(received[b]).index_add(0, own, torch.ones_like(share))
        received[b] = torch.zeros_like(received[b]).index_add(0, own, share) / times
    there = ~received.isnan()
    total, texts = received.nan_to_num(0.0).sum(0), there.sum(0)
    flags: list[Bool[Tensor, " _"]] = []
    for b, own in enumerate(codes):
        others = (total - received[b].nan_to_num(0.0)) / (texts - there[b].long())  # nan where no other text has it
        flag = (others > SINK)[own]
        flag[0] = True
        flags.append(flag)
    return flags
