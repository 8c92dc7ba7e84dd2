"""What the heads of one layer push on the tokens of a batch of texts: products of their weights with those tokens' maps.

W_O W_U[:, C] is computed for the distinct tokens C of the batch only, as one product for all heads of a layer, through the
final norm (RI-ctx-src, RI-out) and raw (RI-lit, RI-src). Tokens are rows throughout, so that those of one text are copied as
whole rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.measures.relation_events import Context
from mnemoscope.model import weights
from mnemoscope.model.head import final_norm, unembedding
from mnemoscope.model.lm import LM


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrices:
    """Value and output weights of one layer, heads beside each other; None where the maps are no matrices.

    norm    |W_V W_O|_F of every head
    """

    W_V: Float[Tensor, "d_model kv_head_d_value"] | None = None
    W_O: Float[Tensor, "head d_value d_model"] | None = None
    norm: Float[Tensor, " head"] | None = None

    @classmethod
    def of(cls, lm: LM, layer: int) -> "Matrices":
        """Found, and proven, once per LM: to find them takes as long as some forward passes."""
        return lm.once(f"value and output weights of layer {layer}", lambda: cls._found(lm, layer))

    @classmethod
    def _found(cls, lm: LM, layer: int) -> "Matrices":
        try:
            W_O = weights.W_O(lm, layer).float()
        except UnsupportedError:
            return cls()
        try:
            W_V = weights.W_V(lm, layer).float()
        except UnsupportedError:
            return cls(W_O=W_O)
        shape = lm.shapes[layer]
        assert shape is not None
        norm = _frobenius(W_V[list(shape.kv_head_of)], W_O)
        return cls(W_V=rearrange(W_V, "kv_head d_model d -> d_model (kv_head d)"), W_O=W_O, norm=norm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Embedding and unembedding of the distinct tokens of all texts: raw, and with the final norm folded in.

    columns: of each text, where its tokens stand among them.
    """

    columns: tuple[Int[Tensor, " _"], ...]
    embedding: Float[Tensor, "token d_model"] | None
    raw: Float[Tensor, "token d_model"]
    folded: Float[Tensor, "token d_model"]

    @classmethod
    def of(cls, lm: LM, contexts: Sequence[Context]) -> "Maps":
        """Look the tokens up."""
        ids, code = torch.cat([ctx.ids for ctx in contexts]).unique(return_inverse=True)
        scaled = (
            weights.W_U(lm).T.index_select(0, ids).float()
        )  # with the logit scale, which the published formula leaves out
        norm = final_norm(lm)
        folded = scaled if norm is None else norm.gain.float() * scaled
        if norm is not None and norm.centres:
            folded = folded - folded.mean(1, keepdim=True)
        embedding = None if weights.weight_reason(lm, "W_E") else weights.W_E(lm, ids).float()
        head = unembedding(lm)
        factor = head.scale * (1.0 if head.head is None else head.head.multiplier)
        columns = tuple(code.split([len(ctx.ids) for ctx in contexts]))
        return cls(columns=columns, embedding=embedding, raw=scaled / factor, folded=folded)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pushes:
    """How one layer's heads turn values into pushes on the tokens of the batch; None where the weights are no matrices.

    folded, size     of values as read in context, through the final norm; and the largest push of a unit value
    circuit          the largest push of a unit input of the attention module: |OV|_F max |W_U|
    values, raw      of raw embeddings (RI-lit, RI-src): the value of each token, and pushes without any norm
    bound            the largest push that each token's embedding could have
    """

    kv: Int[Tensor, " head"]
    folded: Float[Tensor, "token head d_value"] | None = None
    size: Float[Tensor, " head"] | None = None
    circuit: Float[Tensor, " head"] | None = None
    values: Float[Tensor, "token head d_value"] | None = None
    raw: Float[Tensor, "token head d_value"] | None = None
    bound: Float[Tensor, "head token"] | None = None

    @classmethod
    def of(cls, lm: LM, layer: int, maps: Maps, own: Matrices) -> "Pushes":
        """Multiply one layer's weights with the maps."""
        shape = lm.shapes[layer]
        assert shape is not None
        kv = torch.tensor(shape.kv_head_of, device=lm.device)
        if own.W_O is None:
            return cls(kv=kv)
        folded, size = _pushed(maps.folded, own.W_O), own.W_O.flatten(1).norm(dim=1)
        widest = maps.folded.norm(dim=1).max()
        if own.W_V is None or own.norm is None:
            return cls(kv=kv, folded=folded, size=size * widest)
        circuit = own.norm * widest
        if maps.embedding is None:
            return cls(kv=kv, folded=folded, size=size * widest, circuit=circuit)
        values = rearrange(maps.embedding @ own.W_V, "token (kv_head d) -> token kv_head d", kv_head=shape.n_kv_heads)
        return cls(
            kv=kv,
            folded=folded,
            size=size * widest,
            circuit=circuit,
            values=values if shape.n_kv_heads == shape.n_heads else values[:, kv],
            raw=_pushed(maps.raw, own.W_O),
            bound=(own.norm * maps.raw.norm(dim=1).max())[:, None] * maps.embedding.norm(dim=1)[None],
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


def _pushed(
    tokens: Float[Tensor, "token d_model"], W_O: Float[Tensor, "head d_value d_model"]
) -> Float[Tensor, "token head d_value"]:
    return (tokens @ W_O.flatten(0, 1).T).unflatten(1, W_O.shape[:2])


def _frobenius(
    W_V: Float[Tensor, "head d_model d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, " head"]:
    """|W_V W_O|_F from two d_head x d_head products: sqrt tr(V'V O O')."""
    inner, outer = torch.einsum("hmd,hme->hde", W_V, W_V), torch.einsum("hdm,hem->hde", W_O, W_O)
    return torch.einsum("hde,hde->h", inner, outer).clamp(min=0).sqrt()
