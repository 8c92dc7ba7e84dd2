"""A document with triples as the tokens of one model: where its mentions stand, and which tokens are of one type.

What cannot be aligned is listed with its reason and left out, never guessed. Anchors as the document says: of a phrase that
is attended to the last token counts, of one that is promoted the first (arXiv 2402.13055 uses single letters, where
they coincide).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.data.document import Document
from mnemoscope.data.leftout import LeftOut
from mnemoscope.measures.relation_events import NO_TYPE
from mnemoscope.model.align import TokenRange, token_ranges
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

TERCILES = 3


@dataclass(frozen=True, kw_only=True)
class RelationText:
    """One document's tokens.

    ids        token ids, special tokens in front included
    types      class of the token at each position within which tails are compared; NO_TYPE where nothing is mentioned
    pairs      (s, o) of every usable triple: attended position, promoted position
    relations  relation of every usable triple
    left_out   triples that could not be used, and why
    lead       special tokens in front
    """

    document: Document
    ids: Int[Tensor, " pos"]
    types: Int[Tensor, " pos"]
    pairs: Int[Tensor, "triple 2"]
    relations: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    lead: int = 0

    @property
    def drawn(self) -> bool:
        """Whether its entities are letters drawn anew for every document: then no tail is the same word elsewhere."""
        return self.document.labels.get("letters") == "drawn"

    @property
    def together(self) -> tuple[str, ...]:
        """Of every triple, with what it is permuted: its document where letters are drawn, else all triples that have its tail."""
        tails = self.ids[self.pairs[:, 1]].tolist()
        return tuple(self.document.unit if self.drawn else f"tail {tail}" for tail in tails)


def relation_text(lm: LM, document: Document, frequency: Mapping[int, int] | None = None) -> RelationText:
    """Tokens, anchors and types of one document.

    frequency: how often each token occurs in the corpus; if given, a type is (mention type, frequency tercile), as for parts of
    speech (a noun's rivals are nouns about as frequent as it is). Without it the mention type alone, as for letters.
    Left out: triples with an end that is not a whole number of tokens, that is mentioned by the same token as the other
    end, whose two ends are the same token id, or that lies beyond the model's context.
    """
    encoding = encode(lm.tokenizer, document.text, lm.bos)
    limit = min(len(encoding.ids), lm.n_ctx or len(encoding.ids))
    ranges = token_ranges(document.text, encoding.offsets or (), [mention.span for mention in document.mentions])
    ids = encoding.ids[:limit]
    found: list[tuple[int, int]] = []
    relations: list[str] = []
    left: list[LeftOut] = []
    for triple in document.triples:
        s = _anchor(ranges[triple.head], document.source_anchor)
        o = _anchor(ranges[triple.tail], document.target_anchor)
        reason = _reason(s, o, ids)
        if reason or not isinstance(s, int) or not isinstance(o, int):
            names = f"{document.surface(triple.head)} / {document.surface(triple.tail)}"
            left.append(LeftOut(id=f"{document.id} {triple.relation}", reason=reason, detail=names))
        else:
            found.append((s, o))
            relations.append(triple.relation)
    return RelationText(
        document=document,
        ids=torch.tensor(ids, device=lm.device),
        types=_types(document, ranges, ids, frequency),
        pairs=torch.tensor(found, device=lm.device, dtype=torch.long).reshape(-1, 2),
        relations=tuple(relations),
        left_out=tuple(left),
        lead=encoding.lead,
    )


def token_counts(lm: LM, documents: Iterable[Document]) -> dict[int, int]:
    """How often each token occurs in a corpus."""
    counts: Counter[int] = Counter()
    for document in documents:
        counts.update(encode(lm.tokenizer, document.text, lm.bos).ids)
    return dict(counts)


def _anchor(found: TokenRange | str, which: str) -> int | str:
    if isinstance(found, str):
        return found
    return found[1] - 1 if which == "last" else found[0]


def _reason(s: int | str, o: int | str, ids: Sequence[int]) -> str:
    if isinstance(s, str) or isinstance(o, str):
        return s if isinstance(s, str) else str(o)
    if max(s, o) >= len(ids):
        return "beyond the model's context"
    return "head and tail are the same token" if ids[s] == ids[o] else ""


def _types(
    document: Document, ranges: Sequence[TokenRange | str], ids: Sequence[int], frequency: Mapping[int, int] | None
) -> Int[Tensor, " pos"]:
    """A number per (mention type[, frequency tercile]) at the token that would be promoted."""
    spots: dict[int, str] = {}
    for mention, place in zip(document.mentions, ranges, strict=True):
        position = _anchor(place, document.target_anchor)
        if isinstance(position, int) and position < len(ids) and mention.type:
            spots[position] = mention.type
    if frequency is not None:
        ordered = sorted({ids[p] for p in spots}, key=lambda token: (frequency.get(token, 0), token))
        tercile = {token: rank * TERCILES // len(ordered) for rank, token in enumerate(ordered)}
        spots = {p: f"{kind} {tercile[ids[p]]}" for p, kind in spots.items()}
    names = {name: number for number, name in enumerate(sorted(set(spots.values())))}
    return torch.tensor([names[spots[p]] if p in spots else NO_TYPE for p in range(len(ids))])
