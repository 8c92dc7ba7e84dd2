"""One streaming pass that computes every variant of the relation index for all heads.

The model runs once per batch of texts (`relation_record`). What a head pushes is then read on the tokens of the texts
only: W_O W_U[:, C] costs as much as the output projection, and no product is ever as wide as the vocabulary.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.measures.relation_asked import FAKE, asked, by_pair, priorities
from mnemoscope.measures.relation_events import Context, Events, context, events
from mnemoscope.measures.relation_index import Asked, Gate, Shares, shares
from mnemoscope.measures.relation_record import Kept, recorded
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model import weights
from mnemoscope.model.head import final_norm, unembedding
from mnemoscope.model.lm import LM

VARIANTS = ("lit", "src", "ctx_src", "out")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer's heads did at all opportunities of one text. shares: by variant; one that a layer lacks is absent.

    backward, reverse: the gate at the tail, and RI-out of the head word there, for the reverse direction.
    """

    gate: Gate
    shares: Mapping[str, Shares]
    backward: Gate
    reverse: Shares | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One text: its opportunities and, layer by layer, what the heads did."""

    text: RelationText
    events: Events
    layers: Mapping[int, Layer]


def measure_texts(
    lm: LM,
    texts: Sequence[RelationText],
    queries: Sequence[Int[Tensor, "_ _"] | None] | None = None,
    *,
    draws: int = 0,
    seed: int = 0,
    kept: "dict[int, Matrices] | None" = None,
) -> tuple[Measured, ...]:
    """Run the texts as one batch and measure every head.

    queries    sampled attending positions per text (None: all opportunities)
    draws      tails drawn in place of the true one, for the permutation; from `seed` and the document's id
    kept       where value and output weights are kept between batches: to find them takes as long as a forward pass
    """
    views = [
        _View.of(text, q, draws=draws, seed=seed) for text, q in zip(texts, queries or [None] * len(texts), strict=True)
    ]
    run = recorded(lm, [text.ids for text in texts], [view.events for view in views])
    maps = _Maps.of(lm, [view.ctx for view in views])
    layers: list[dict[int, Layer]] = [{} for _ in views]
    found_weights = {} if kept is None else kept
    for layer, seen in run.layers.items():
        if layer not in found_weights:
            found_weights[layer] = Matrices.of(lm, layer)
        pushes = _Pushes.of(lm, layer, maps, found_weights[layer])
        for b, view in enumerate(views):
            scale = None if run.scale is None else run.scale[b, view.events.queries()[0]]
            found, reverse = _shares(view, seen[b], pushes, maps.columns[b], scale)
            layers[b][layer] = Layer(gate=seen[b].forward, shares=found, backward=seen[b].backward, reverse=reverse)
    return tuple(
        Measured(text=text, events=view.events, layers=done)
        for text, view, done in zip(texts, views, layers, strict=True)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrices:
    """Value and output weights of one layer; None where the maps are no matrices."""

    W_V: Float[Tensor, "kv_head d_model d_head"] | None
    W_O: Float[Tensor, "head d_value d_model"] | None

    @classmethod
    def of(cls, lm: LM, layer: int) -> "Matrices":
        """Found, and proven, once."""
        try:
            W_O = weights.W_O(lm, layer)
        except UnsupportedError:
            return cls(W_V=None, W_O=None)
        try:
            return cls(W_V=weights.W_V(lm, layer), W_O=W_O)
        except UnsupportedError:
            return cls(W_V=None, W_O=W_O)


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """One text: its distinct tokens, its opportunities, and what is asked at each, forward and backward."""

    ctx: Context
    events: Events
    asked: Asked
    pairs: tuple[Asked, Int[Tensor, " row"], Int[Tensor, " row"]]
    backward: Asked

    @classmethod
    def of(cls, text: RelationText, queries: Int[Tensor, "triple query"] | None, *, draws: int, seed: int) -> "_View":
        ctx = context(text.ids, text.types)
        found = events(ctx, text.pairs, queries=queries)
        place = text.lead + FAKE
        other = int(ctx.of[place]) if place < len(ctx.of) else -1
        own = seed + zlib.crc32(text.document.id.encode())
        forward = asked(found, priorities(len(text.pairs), ctx, draws, own), other)
        back = events(ctx, text.pairs.flip(1), queries=queries)
        backward = asked(back, priorities(len(text.pairs), ctx, 0, own))
        return cls(ctx=ctx, events=found, asked=forward, pairs=by_pair(forward, found), backward=backward)

    def seen(self) -> Tensor:
        """Distinct tokens visible at each attending position [row context]."""
        queries, row = self.events.queries()
        first = torch.zeros_like(queries).scatter(0, row, torch.arange(len(row), device=row.device))
        return self.events.visible[first]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Maps:
    """Embedding and unembedding on the distinct tokens of all texts: raw, and with the final norm folded in.

    columns: of each text, where its tokens stand among them.
    """

    columns: tuple[Int[Tensor, " _"], ...]
    embedding: Float[Tensor, "token d_model"] | None
    raw: Float[Tensor, "d_model token"]
    folded: Float[Tensor, "d_model token"]

    @classmethod
    def of(cls, lm: LM, contexts: Sequence[Context]) -> "_Maps":
        ids, code = torch.cat([ctx.ids for ctx in contexts]).unique(return_inverse=True)
        scaled = weights.W_U(lm)[:, ids].float()  # with the logit scale, which the published formula leaves out
        norm = final_norm(lm)
        folded = scaled if norm is None else norm.gain.float()[:, None] * scaled
        if norm is not None and norm.centres:
            folded = folded - folded.mean(0, keepdim=True)
        embedding = None if weights.weight_reason(lm, "W_E") else weights.W_E(lm)[ids].float()
        head = unembedding(lm)
        factor = head.scale * (1.0 if head.head is None else head.head.multiplier)
        columns = tuple(code.split([len(ctx.ids) for ctx in contexts]))
        return cls(columns=columns, embedding=embedding, raw=scaled / factor, folded=folded)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pushes:
    """How one layer's heads turn values into pushes on the tokens of the batch; None where the weights are no matrices.

    folded, size     of values as read in context, through the final norm; and the largest push of a unit value
    circuit          the largest push of a unit input of the attention module: |OV|_F max |W_U|
    values, raw      of raw embeddings (RI-lit, RI-src): the value of each token, and pushes without any norm
    bound            the largest push that each token's embedding could have
    """

    kv: Int[Tensor, " head"]
    folded: Float[Tensor, "head d_value token"] | None = None
    size: Float[Tensor, " head"] | None = None
    circuit: Float[Tensor, " head"] | None = None
    values: Float[Tensor, "head token d_value"] | None = None
    raw: Float[Tensor, "head d_value token"] | None = None
    bound: Float[Tensor, "head token"] | None = None

    @classmethod
    def of(cls, lm: LM, layer: int, maps: _Maps, own: "Matrices") -> "_Pushes":
        shape = lm.shapes[layer]
        assert shape is not None
        kv = torch.tensor(shape.kv_head_of, device=lm.device)
        if own.W_O is None:
            return cls(kv=kv)
        W_O = own.W_O.float()
        folded = torch.einsum("hdm,mc->hdc", W_O, maps.folded)
        size = W_O.flatten(1).norm(dim=1) * maps.folded.norm(dim=0).max()
        if own.W_V is None:
            return cls(kv=kv, folded=folded, size=size)
        W_V = own.W_V.float()
        norm = _frobenius(W_V[kv], W_O)
        circuit = norm * maps.folded.norm(dim=0).max()
        if maps.embedding is None:
            return cls(kv=kv, folded=folded, size=size, circuit=circuit)
        widest = norm[:, None] * maps.raw.norm(dim=0).max()
        return cls(
            kv=kv,
            folded=folded,
            size=size,
            circuit=circuit,
            values=torch.einsum("em,kmd->ked", maps.embedding, W_V)[kv],
            raw=torch.einsum("hdm,mc->hdc", W_O, maps.raw),
            bound=widest * maps.embedding.norm(dim=1)[None],
        )

    def largest(
        self, vectors: Float[Tensor, "at head d_value"], inputs: Float[Tensor, " pos"] | None, at: Tensor | None
    ) -> Float[Tensor, "head at"]:
        """The largest push that inputs of that size could have: at the given positions, or anywhere (a head's output mixes them).

        Without the weights or the inputs, the largest push of the vectors themselves; a head that reads nothing is then not seen.
        """
        assert self.size is not None
        if self.circuit is None or inputs is None:
            return self.size[:, None] * vectors.norm(dim=-1).T
        sizes = inputs.max().expand(len(vectors)) if at is None else inputs[at]
        return self.circuit[:, None] * sizes[None]


def _shares(
    view: _View, kept: Kept, pushes: _Pushes, columns: Int[Tensor, " context"], scale: Float[Tensor, " row"] | None
) -> tuple[dict[str, Shares], Shares | None]:
    """All variants of one layer on one text, and RI-out in the reverse direction."""
    if pushes.folded is None or pushes.size is None or not len(view.events.query):
        return {}, None
    queries, _ = view.events.queries()
    down = torch.ones(len(queries), device=columns.device) if scale is None else 1 / scale
    folded, seen = pushes.folded[:, :, columns], view.seen()
    pairs, sources, rows = view.pairs
    found: dict[str, Shares] = {}
    if pushes.values is not None and pushes.raw is not None and pushes.bound is not None:
        embedded = torch.einsum("hed,hdc->hec", pushes.values[:, columns], pushes.raw[:, :, columns])
        now, head, bound = view.ctx.of[queries], view.ctx.of[sources], pushes.bound[:, columns]
        found["lit"] = shares(embedded[:, now], bound[:, now], seen, view.asked)
        found["src"] = shares(embedded[:, head], bound[:, head], seen[rows], pairs)
    distinct, of = sources.unique(return_inverse=True)
    values = kept.values[distinct][:, pushes.kv]
    ctx = torch.einsum("shd,hdc->hsc", values, folded)[:, of] * down[rows][None, :, None]
    size = pushes.largest(values, kept.size, distinct)[:, of]
    found["ctx_src"] = shares(ctx, size * down[rows][None], seen[rows], pairs)
    out = torch.einsum("rhd,hdc->hrc", kept.outputs, folded) * down[None, :, None]
    size = pushes.largest(kept.outputs, kept.size, None) * down[None]
    found["out"] = shares(out, size, seen, view.asked)
    return found, shares(out, size, seen, view.backward)


def _frobenius(
    W_V: Float[Tensor, "head d_model d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, " head"]:
    """|W_V W_O|_F from two d_head x d_head products: sqrt tr(V'V O O')."""
    return torch.einsum("hmd,hme,hen,hdn->h", W_V, W_V, W_O, W_O).clamp(min=0).sqrt()
