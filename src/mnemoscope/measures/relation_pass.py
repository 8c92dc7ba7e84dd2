"""One streaming pass that computes every variant of the relation index for all heads.

The model runs once per batch of texts. While it runs, attention rows are looked at and forgotten; kept are the values at head
words and the head outputs at opportunities, a few vectors per text. What a head pushes is read on the tokens of the
text only: W_O W_U[:, C] costs as much as the output projection, and no product is ever as wide as the vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.relation_events import Context, Events, context, events
from mnemoscope.measures.relation_index import Gate, Shares, gate, shares
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model import weights
from mnemoscope.model.batch import Batch, batch_of_ids
from mnemoscope.model.head import final_norm, unembedding
from mnemoscope.model.lm import LM

VARIANTS = ("lit", "src", "ctx_src", "out")
SINK = 0.3  # a token that receives more than this share of attention on other texts is a sink


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer's heads did at all opportunities of one text. shares: by variant; one that a layer lacks is absent."""

    gate: Gate
    shares: Mapping[str, Shares]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One text: its opportunities and, layer by layer, what the heads did."""

    text: RelationText
    events: Events
    layers: Mapping[int, Layer]


def measure_texts(
    lm: LM, texts: Sequence[RelationText], queries: Sequence[Int[Tensor, "triple query"] | None]
) -> tuple[Measured, ...]:
    """Run the texts as one batch and measure every head. queries: sampled opportunities per text (None: all)."""
    batch = batch_of_ids(lm, [tuple(text.ids.tolist()) for text in texts])
    contexts = [context(text.ids, text.types) for text in texts]
    found = [events(ctx, text.pairs, queries=q) for ctx, text, q in zip(contexts, texts, queries, strict=True)]
    kept = _Kept(lm=lm, texts=texts, events=found, gates={}, values={}, outputs={})
    scales = _run(lm, batch, kept)
    done: list[Measured] = []
    for index, (text, ctx, event) in enumerate(zip(texts, contexts, found, strict=True)):
        maps = _Maps.of(lm, ctx)
        scale = None if scales is None else scales[index][event.query]
        layers = {
            layer: Layer(
                gate=gates[index],
                shares=_shares(lm, layer, maps, event, kept.values[layer][index], kept.outputs[layer][index], scale),
            )
            for layer, gates in kept.gates.items()
        }
        done.append(Measured(text=text, events=event, layers=layers))
    return tuple(done)


@dataclass(kw_only=True, eq=False)
class _Kept:
    """What is kept of each layer while the model runs: gates, values at head words, outputs at opportunities."""

    lm: LM
    texts: Sequence[RelationText]
    events: Sequence[Events]
    gates: dict[int, list[Gate]]
    values: dict[int, list[Float[Tensor, "event kv_head d_value"]]]
    outputs: dict[int, list[Float[Tensor, "event head d_value"]]]

    def layer_done(self, layer: int, found: Mapping[str, Tensor]) -> None:
        pattern = found["pattern"]  # batch query head key
        received = [_received(pattern[b], text.ids) for b, text in enumerate(self.texts)]
        self.gates[layer], self.values[layer], self.outputs[layer] = [], [], []
        for b, (text, event) in enumerate(zip(self.texts, self.events, strict=True)):
            n = len(text.ids)
            rows = pattern[b, event.query, :, :n].permute(1, 0, 2)
            seen = torch.arange(n, device=rows.device)[None] <= event.query[:, None]
            sinks = _sinks(text.ids, [other for c, other in enumerate(received) if c != b])
            self.gates[layer].append(gate(rows, event.source, seen, sinks))
            self.values[layer].append(found["v"][b, event.source].float())
            self.outputs[layer].append(found["z"][b, event.query].float())


def _received(pattern: Float[Tensor, "query head key"], ids: Int[Tensor, " pos"]) -> dict[int, float]:
    """Mean attention that a token receives from the queries that can see it, over heads, by token id."""
    n = len(ids)
    rows = pattern[:n, :, :n].mean(1)
    share = rows.sum(0) / torch.arange(n, 0, -1, device=rows.device)
    total: dict[int, list[float]] = {}
    for token, value in zip(ids.tolist(), share.tolist(), strict=True):
        total.setdefault(token, []).append(value)
    return {token: sum(values) / len(values) for token, values in total.items()}


def _sinks(ids: Int[Tensor, " pos"], others: Sequence[Mapping[int, float]]) -> Bool[Tensor, " pos"]:
    """Position 0, and tokens that receive more than 30% mean attention on the other texts of the batch."""
    means = {
        token: sum(other[token] for other in others if token in other) / sum(token in other for other in others)
        for token in {t for other in others for t in other}
    }
    flags = [i == 0 or means.get(token, 0.0) > SINK for i, token in enumerate(ids.tolist())]
    return torch.tensor(flags, device=ids.device)


def _run(lm: LM, batch: Batch, kept: _Kept) -> Float[Tensor, "batch pos"] | None:
    """Run the model once; the final norm's scale at every position (None without a final norm)."""
    norm = final_norm(lm)
    final: list[Tensor] = []

    def each(layer: int, found: Mapping[str, Tensor]) -> None:
        if "pattern" in found:
            kept.layer_done(layer, found)
        if "resid_post" in found:
            final.append(found["resid_post"])

    wants = {**wanted(lm, ("pattern", "v", "z"), None), "resid_post": (lm.n_layers - 1,)}
    columns = torch.arange(batch.ids.shape[1], device=lm.device).expand(len(batch), -1)
    record(lm, batch, wants, columns, each)
    return None if norm is None else norm.scale(final[0])[..., 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Maps:
    """Embedding and unembedding on the distinct tokens of one text: raw, and with the final norm folded in."""

    ctx: Context
    embedding: Float[Tensor, "context d_model"] | None
    raw: Float[Tensor, "d_model context"]
    folded: Float[Tensor, "d_model context"]

    @classmethod
    def of(cls, lm: LM, ctx: Context) -> "_Maps":
        scaled = weights.W_U(lm)[:, ctx.ids].float()  # with the logit scale, which the published formula leaves out
        norm = final_norm(lm)
        folded = scaled if norm is None else norm.gain.float()[:, None] * scaled
        if norm is not None and norm.centres:
            folded = folded - folded.mean(0, keepdim=True)
        embedding = None if weights.weight_reason(lm, "W_E") else weights.W_E(lm)[ctx.ids].float()
        head = unembedding(lm)
        factor = head.scale * (1.0 if head.head is None else head.head.multiplier)
        return cls(ctx=ctx, embedding=embedding, raw=scaled / factor, folded=folded)


def _shares(
    lm: LM,
    layer: int,
    maps: _Maps,
    event: Events,
    values: Float[Tensor, "event kv_head d_value"],
    outputs: Float[Tensor, "event head d_value"],
    scale: Float[Tensor, " event"] | None,
) -> dict[str, Shares]:
    """All variants of one layer on one text."""
    if weights.weight_reason(lm, "W_O", layer):
        return {}
    shape = lm.shapes[layer]
    assert shape is not None
    kv = torch.tensor(shape.kv_head_of, device=lm.device)
    W_O = weights.W_O(lm, layer).float()
    sizes = W_O.flatten(1).norm(dim=1)
    down = torch.ones(len(event.query), device=lm.device) if scale is None else 1 / scale
    folded = torch.einsum("hdm,mc->hdc", W_O, maps.folded)
    widest = maps.folded.norm(dim=0).max()
    pushed = {
        "ctx_src": (values[:, kv], folded, sizes[:, None] * widest),
        "out": (outputs, folded, sizes[:, None] * widest),
    }
    found = {}
    for name, (vectors, onto, size) in pushed.items():
        logits = torch.einsum("ehd,hdc->hec", vectors, onto) * down[None, :, None]
        found[name] = _of(logits, size * vectors.norm(dim=-1).T * down[None], event)
    if maps.embedding is not None and not weights.weight_reason(lm, "W_V", layer):
        W_V = weights.W_V(lm, layer).float()[kv]
        onto = torch.einsum("hdm,mc->hdc", W_O, maps.raw)
        logits = torch.einsum("hed,hdc->hec", torch.einsum("em,hmd->hed", maps.embedding, W_V), onto)
        circuit = _frobenius(W_V, W_O)[:, None] * maps.raw.norm(dim=0).max() * maps.embedding.norm(dim=1)[None]
        found["lit"] = _of(logits[:, event.current], circuit[:, event.current], event)
        found["src"] = _of(logits[:, event.head], circuit[:, event.head], event)
    return found


def _frobenius(
    W_V: Float[Tensor, "head d_model d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, " head"]:
    """|W_V W_O|_F from two d_head x d_head products: sqrt tr(V'V O O')."""
    return torch.einsum("hmd,hme,hen,hdn->h", W_V, W_V, W_O, W_O).clamp(min=0).sqrt()


def _of(logits: Float[Tensor, "head event context"], bound: Float[Tensor, "head event"], event: Events) -> Shares:
    return shares(logits, bound, event.tail, event.visible, event.candidates, event.same_type)
