import torch

from mnemoscope.measures import attention_patterns as ap


def literal(pattern, ids, kind, queries):
    """The sums of the definition, one by one."""
    total, n = 0.0, 0
    for i in range(len(ids)):
        keys = {
            "prefix_matching": [j + 1 for j in range(i) if ids[j] == ids[i]],
            "previous_token": [i - 1] if i else [],
            "duplicate_token": [j for j in range(i) if ids[j] == ids[i]],
        }[kind]
        if keys and queries[i]:
            total += sum(float(pattern[i, k]) for k in keys)
            n += 1
    return total / n


def test_scores_equal_the_sums_written_out():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 6, (2, 17), generator=generator)
    pattern = torch.rand(2, 3, 17, 17, generator=generator).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    queries = torch.rand(2, 17, generator=generator) > 0.3
    for kind in ap.KINDS:
        score = ap.attention_to(pattern, ap.targets(ids, kind), queries)
        for b in range(2):
            for h in range(3):
                assert abs(float(score[b, h]) - literal(pattern[b, h], ids[b].tolist(), kind, queries[b])) < 1e-6


def test_an_even_head_is_at_chance_and_a_perfect_head_at_one():
    ids = torch.tensor([[0, 1, 2, 3, 4, 1, 2, 3, 4]])
    queries = torch.ones_like(ids, dtype=torch.bool)
    even = torch.ones(9, 9).tril() / torch.arange(1, 10)[:, None]
    for kind in ap.KINDS:
        wanted = ap.targets(ids, kind)
        torch.testing.assert_close(ap.attention_to(even[None, None], wanted, queries)[:, 0], ap.chance(wanted, queries))
    perfect = torch.zeros(9, 9)
    perfect[torch.arange(5, 9), torch.arange(2, 6)] = 1.0
    assert float(ap.attention_to(perfect[None, None], ap.targets(ids, "prefix_matching"), queries)) == 1.0


def test_no_repeat_is_undefined():
    ids = torch.tensor([[0, 1, 2, 3]])
    queries = torch.ones_like(ids, dtype=torch.bool)
    wanted = ap.targets(ids, "prefix_matching")
    assert torch.isnan(ap.attention_to(torch.eye(4)[None, None], wanted, queries)).all()
    assert torch.isnan(ap.chance(wanted, queries)).all()
