"""The relation index against a slow, literal implementation of arXiv 2402.13055, Eq. 1 to 3, in plain Python and float64."""

import math
from dataclasses import replace

import torch

from mnemoscope.measures import relation_events as rev
from mnemoscope.measures import relation_index as ri
from mnemoscope.measures.relation_asked import asked


def literal_share(vector, W_OV, W_U, visible_ids, tail_id):
    """Eq. 2 with the softmax over the whole vocabulary, as published."""
    p = torch.softmax(vector.double() @ W_OV.double() @ W_U.double(), dim=-1)
    context = sorted(set(visible_ids))
    mean = sum(float(p[u]) for u in context) / len(context)
    q = {u: max(0.0, float(p[u]) - mean) for u in context}
    return q[tail_id] / sum(q.values())


def setup(seed=0, n=14, vocab=30, d_model=12, d_head=4, heads=3):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocab, (n,), generator=g)
    types = torch.randint(-1, 2, (n,), generator=g)
    pairs = torch.tensor([[2, 6], [7, 4]])
    weights = [
        torch.randn(*shape, generator=g) for shape in ((vocab, d_model), (heads, d_model, d_model), (d_model, vocab))
    ]
    return ids, types, pairs, *weights


def asked_of(found, draws=0):
    """The questions of all opportunities, each with a row of its own."""
    priority = torch.rand(2, found.visible.shape[1], draws, generator=torch.Generator().manual_seed(1))
    return replace(asked(found, priority), row=torch.arange(len(found.query)))


def test_literal_index_equals_the_published_equation():
    ids, types, pairs, W_E, W_OV, W_U = setup()
    ctx = rev.context(ids, types)
    found = rev.events(ctx, pairs)
    z = torch.einsum("cm,hmn,nu->hcu", W_E[ctx.ids], W_OV, W_U[:, ctx.ids])[:, found.current]
    out = ri.shares(z, torch.zeros(3, len(found.query)), found.visible, asked_of(found))
    for e in range(len(found.query)):
        j, o = int(found.query[e]), int(found.target[e])
        for h in range(3):
            slow = literal_share(W_E[ids[j]], W_OV[h], W_U, ids[: j + 1].tolist(), int(ids[o]))
            assert abs(float(out.index[h, e]) - slow) < 1e-5


def test_null_and_percentile_equal_their_sums():
    ids, types, pairs, W_E, W_OV, W_U = setup(seed=3, n=24, vocab=16)
    types = types.abs()
    ctx = rev.context(ids, types)
    found = rev.events(ctx, pairs)
    z = torch.einsum("cm,hmn,nu->hcu", W_E[ctx.ids], W_OV, W_U[:, ctx.ids])[:, found.current]
    out = ri.shares(z, torch.zeros(3, len(found.query)), found.visible, asked_of(found))
    kind, tokens = ctx.type.tolist(), ctx.ids.tolist()
    compared = 0
    for e in range(len(found.query)):
        j, s, o = (int(x[e]) for x in (found.query, found.source, found.target))
        seen = ids[: j + 1].tolist()
        taken = {int(ids[s]), int(ids[o]), int(ids[j])}
        alike = [u for u in set(seen) - taken if kind[tokens.index(u)] == kind[tokens.index(int(ids[o]))] != -1]
        sort = [kind[tokens.index(t)] for t in ids.tolist()]

        def size(k, s=s, o=o, sort=sort):
            """Bin of the distance between s and k, counted in tokens of the tail's type."""
            between = range(s + 1, k + 1) if k > s else range(k, s)
            return math.ceil(math.log2(max(2, sum(sort[p] == sort[o] for p in between))))

        fair = [
            u for u in alike if any(t == u and (k - s) * (o - s) > 0 and size(k) == size(o) for k, t in enumerate(seen))
        ]
        for h in range(3):
            values = [literal_share(W_E[ids[j]], W_OV[h], W_U, seen, u) for u in fair]
            if values:
                compared += 1
                assert abs(float(out.null[h, e]) - sum(values) / len(values)) < 1e-5
            else:
                assert math.isnan(out.null[h, e])
            if alike:
                logit = {u: float(W_E[ids[j]] @ W_OV[h] @ W_U[:, u]) for u in [*alike, int(ids[o])]}
                below = sum(logit[u] < logit[int(ids[o])] for u in alike) / len(alike)
                assert abs(float(out.percentile[h, e]) - below) < 1e-6
    assert compared > 20


def simple(tail, same):
    """Questions about tails whose rivals, all of them matched, are given as a mask."""
    n = len(tail)
    rivals = torch.where(same, torch.arange(same.shape[1]), -1)
    none = torch.empty(n, 0, dtype=torch.long)
    every, nothing = torch.arange(n), torch.full((n,), -1)
    return ri.Asked(row=every, tail=tail, rivals=rivals, matched=same, redrawn=none, other=nothing)


def test_flat_and_small_contexts_are_undefined():
    visible = torch.tensor([[True, True, True], [True, True, False]])
    asking = simple(torch.tensor([0, 0]), torch.zeros(2, 3, dtype=torch.bool))
    flat = torch.full((1, 2, 3), 5.0) + 1e-7
    assert torch.isnan(ri.shares(flat, torch.ones(1, 2), visible, asking).index).all()
    steep = torch.tensor([[[9.0, 1.0, 0.0], [9.0, 1.0, 0.0]]])
    index = ri.shares(steep, torch.ones(1, 2), visible, asking).index
    assert not torch.isnan(index[0, 0])
    assert torch.isnan(index[0, 1])


def test_shares_are_invariant_to_a_shift_and_survive_extreme_logits():
    g = torch.Generator().manual_seed(5)
    z = torch.randn(2, 4, 6, generator=g)
    visible, tail = torch.ones(4, 6, dtype=torch.bool), torch.tensor([0, 1, 2, 3])
    asking = simple(tail, ~torch.nn.functional.one_hot(tail, 6).bool())
    a, b = ri.shares(z, torch.zeros(2, 4), visible, asking), ri.shares(z + 100, torch.zeros(2, 4), visible, asking)
    torch.testing.assert_close(a.index, b.index, rtol=1e-3, atol=1e-5)
    extreme = ri.shares(z * 1e4, torch.zeros(2, 4), visible, asking)
    assert torch.isfinite(extreme.index).all()
    # the tail's share and those of all others sum to one
    torch.testing.assert_close(a.index + 5 * a.null, torch.ones(2, 4), rtol=1e-5, atol=1e-5)


def test_drawn_tails_are_members_and_their_excess_is_that_of_the_member():
    """Every drawn tail's value is index - null as if it were the tail; over all members these values sum to zero."""
    g = torch.Generator().manual_seed(2)
    z, visible, tail = torch.randn(1, 1, 5, generator=g), torch.ones(1, 5, dtype=torch.bool), torch.tensor([1])
    matched = torch.tensor([[True, False, True, True, False]])
    every = replace(simple(tail, matched), redrawn=torch.tensor([[1, 0, 2, 3]]))
    found = ri.shares(z, torch.zeros(1, 1), visible, every)
    torch.testing.assert_close(found.redrawn[0, 0, 0], (found.index - found.null)[0, 0])
    assert abs(float(found.redrawn.sum())) < 1e-6


def test_drawing_is_even_and_stays_with_a_triple():
    ids = torch.arange(9)
    ctx = rev.context(ids, torch.zeros(9, dtype=torch.long))
    found = rev.events(ctx, torch.tensor([[0, 5]]))
    drawn = asked(found, torch.rand(1, 9, 3000, generator=torch.Generator().manual_seed(0))).redrawn
    at = {int(j): e for e, j in enumerate(found.query)}
    share = torch.bincount(drawn[at[5]], minlength=9) / 3000
    assert share.nonzero()[:, 0].tolist() == [5]  # 6 to 8 are of the same distance bin, and not yet visible
    last = torch.bincount(drawn[at[8]], minlength=9) / 3000
    assert (last[5:8] - 1 / 3).abs().max() < 0.03
    assert (drawn[at[7]] == drawn[at[8]]).float().mean() > 0.6  # 7 cannot be drawn while it is the current token


def test_events_cover_every_opportunity_and_name_their_stratum():
    ids = torch.tensor([7, 3, 9, 3, 4])
    ctx = rev.context(ids, torch.tensor([0, 1, 0, 1, 0]))
    found = rev.events(ctx, torch.tensor([[1, 2]]))
    assert found.query.tolist() == [2, 3, 4]
    assert found.stratum() == ("target", "echo", "other")
    assert found.visible.sum(-1).tolist() == [3, 3, 4]
    sampled = rev.events(ctx, torch.tensor([[1, 2]]), queries=torch.tensor([[4, -1]]))
    assert sampled.query.tolist() == [4]
