"""Opportunities of the relation index in one text: where a head could attend to the head word and promote the tail.

Pure bookkeeping on token positions: which distinct tokens are visible, which of them are fair rivals of the tail.
Definitions: Ren et al. 2024 (arXiv 2402.13055), section 3; the matched null is ours (docs/method.md).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

NO_TYPE = -1  # tokens without a type are never rivals


@dataclass(frozen=True, kw_only=True)
class Context:
    """The distinct tokens of a text, in order of first occurrence.

    ids    token id of each
    of     position -> index into ids
    type   class within which tails are compared (an entity type, a part of speech and frequency class); NO_TYPE without
    """

    ids: Int[Tensor, " context"]
    of: Int[Tensor, " pos"]
    type: Int[Tensor, " context"]


@dataclass(frozen=True, kw_only=True)
class Events:
    """Opportunities, one row each; `triple` says which triple of the text it belongs to."""

    triple: Int[Tensor, " event"]
    query: Int[Tensor, " event"]  # j
    source: Int[Tensor, " event"]  # s: position of the head word
    target: Int[Tensor, " event"]  # o: position of the tail
    current: Int[Tensor, " event"]  # context index of t_j
    tail: Int[Tensor, " event"]  # context index of t_o
    head: Int[Tensor, " event"]  # context index of t_s
    visible: Bool[Tensor, "event context"]
    same_type: Bool[Tensor, "event context"]
    candidates: Bool[Tensor, "event context"]

    def queries(self) -> tuple[Int[Tensor, " row"], Int[Tensor, " event"]]:
        """The attending positions, each once, and which of them every opportunity has."""
        return self.query.unique(return_inverse=True)

    def stratum(self) -> tuple[str, ...]:
        """`source` (j = s), `target` (j = o) or `other`; the headline is `other` with t_j neither t_s nor t_o."""
        names = []
        for j, s, o, now, head, tail in zip(
            *(x.tolist() for x in (self.query, self.source, self.target, self.current, self.head, self.tail)),
            strict=True,
        ):
            echo = now in {head, tail}
            names.append("source" if j == s else "target" if j == o else "echo" if echo else "other")
        return tuple(names)


def context(ids: Int[Tensor, " pos"], types: Int[Tensor, " pos"]) -> Context:
    """Distinct tokens of a text; a token's type is that of its first typed occurrence."""
    order: dict[int, int] = {}
    type_of: dict[int, int] = {}
    for token, kind in zip(ids.tolist(), types.tolist(), strict=True):
        order.setdefault(token, len(order))
        if kind != NO_TYPE:
            type_of.setdefault(token, kind)
    return Context(
        ids=torch.tensor(list(order), device=ids.device),
        of=torch.tensor([order[token] for token in ids.tolist()], device=ids.device),
        type=torch.tensor([type_of.get(token, NO_TYPE) for token in order], device=ids.device),
    )


def events(
    ctx: Context,
    pairs: Int[Tensor, "triple 2"],
    *,
    queries: Int[Tensor, "triple query"] | None = None,
) -> Events:
    """All opportunities j >= max(s, o) of the (s, o) pairs of one text; `queries` restricts them to sampled j (-1: none).

    A fair rival u of the tail has its type, is none of t_s, t_o, t_j, is visible at j, and stands (with any visible
    mention) on the tail's side of s at a similar distance. Distance is counted in mentions, as the r-th token of the
    tail's type on that side; distances 1 and 2, 3 and 4, 5 to 8, 9 to 16, ... are alike. (Tokens would not do: of two
    words at a distance of one token on one side, one is always the tail.)
    """
    n = len(ctx.of)
    position = torch.arange(n, device=ctx.of.device)
    if queries is None:
        late = position[None] >= pairs.amax(-1)[:, None]
    else:
        late = (queries[:, :, None] == position).any(1) & (position[None] >= pairs.amax(-1)[:, None])
    triple, query = late.nonzero(as_tuple=True)
    source, target = pairs[triple, 0], pairs[triple, 1]
    current, head, tail = ctx.of[query], ctx.of[source], ctx.of[target]
    belongs = torch.nn.functional.one_hot(ctx.of, len(ctx.ids)).bool()  # pos context
    seen = position[None] <= query[:, None]
    visible = (seen.float() @ belongs.float()) > 0
    alike = (ctx.type[None] == ctx.type[tail][:, None]) & (ctx.type[tail] != NO_TYPE)[:, None]
    same_type = visible & alike
    for taken in (head, tail, current):
        same_type = same_type.scatter(1, taken[:, None], False)
    near = _near(ctx, pairs)[triple] & seen
    candidates = same_type & ((near.float() @ belongs.float()) > 0)
    return Events(
        triple=triple,
        query=query,
        source=source,
        target=target,
        current=current,
        tail=tail,
        head=head,
        visible=visible,
        same_type=same_type,
        candidates=candidates,
    )


def _near(ctx: Context, pairs: Int[Tensor, "triple 2"]) -> Bool[Tensor, "triple pos"]:
    """Positions on the tail's side of s whose distance in mentions of the tail's type is in the tail's bin."""
    position = torch.arange(len(ctx.of), device=ctx.of.device)
    source, target = pairs[:, :1], pairs[:, 1:]
    kind = ctx.type[ctx.of]
    typed = kind[None] == kind[target]
    upto = typed.long().cumsum(1)
    at_source = upto.gather(1, source)
    behind = upto - at_source  # mentions in (s, p]
    before = at_source - typed.gather(1, source).long() - upto + typed.long()  # in [p, s)
    rank = torch.where(position[None] > source, behind, before)
    bins = rank.clamp(min=2).float().log2().ceil()
    side = (position[None] - source).sign() == (target - source).sign()
    return side & typed & (bins == bins.gather(1, target))
