"""Dominance of the head word, and what a head's distances alone give."""

import math

import pytest
import torch

from mnemoscope.measures.relation_distance import pass_null
from mnemoscope.measures.relation_events import context, events
from mnemoscope.measures.relation_gate import gate


def test_gate_is_dominance_of_the_head_word():
    row = torch.tensor([[[0.1, 0.6, 0.2, 0.1], [0.7, 0.2, 0.1, 0.0]]])
    visible = torch.tensor([[True] * 4, [True, True, True, False]])
    sinks = torch.tensor([True, False, False, False])
    (found,) = gate(row, visible, sinks, torch.tensor([0, 1]), torch.tensor([1, 1]))
    torch.testing.assert_close(found.dominance, torch.tensor([[3.0, 3.5]]))
    torch.testing.assert_close(found.ratio, torch.tensor([[3.0, 2 / 7]]))
    torch.testing.assert_close(found.ratio_no_sink, torch.tensor([[3.0, 2.0]]))
    assert found.passes(2.2).tolist() == [[True, False]]
    assert found.passes(0.0).tolist() == [[True, False]]  # argmax only


def attending(attended, pairs, sinks=(0,), n=None, weight=0.9):
    """Gate and events of heads whose largest weight at position j is at attended[head][j]."""
    n = n or len(attended[0])
    found = events(context(torch.arange(n), torch.zeros(n, dtype=torch.long)), torch.tensor(pairs))
    positions, row = found.queries()
    rest = (1 - weight) / n
    pattern = torch.full((len(attended), n, n), rest)
    for h, places in enumerate(attended):
        for j, k in enumerate(places):
            pattern[h, j, k] = weight
    visible = torch.arange(n)[None] <= positions[:, None]
    asleep = torch.zeros(n, dtype=torch.bool)
    asleep[list(sinks)] = True
    (made,) = gate(pattern[:, positions], visible, asleep, row, found.source)
    return made, found


def excess(made, found, tau=2.2):
    return made.passes(tau).float() - pass_null(made, found, tau)


@pytest.mark.parametrize("back", [1, 2, 3, 7])
def test_a_head_that_attends_by_distance_has_no_excess_at_any_opportunity(back):
    n = 24
    made, found = attending([[max(0, j - back) for j in range(n)]], [[3, 1], [5, 8], [9, 10]])
    assert made.passes(2.2).any()
    assert excess(made, found).abs().max() < 1e-6


def test_a_head_that_rests_on_a_sink_has_no_excess_even_where_the_sink_is_the_head_word():
    made, found = attending([[0] * 20], [[0, 4], [3, 6]])
    passes = made.passes(2.2)[0]
    assert passes[found.source == 0].all()
    assert not passes[found.source == 3].any()
    assert (excess(made, found) == 0).all()


def test_random_preferences_for_distances_and_sinks_have_excess_zero_on_average():
    """Whatever is attended to depends on the distance alone: drawn at every position from one profile, or the sink."""
    g = torch.Generator().manual_seed(0)
    n, pairs = 40, [[4, 2], [7, 11], [13, 9], [20, 15]]
    profile = torch.tensor([0.0, 4.0, 2.0, 1.0, 1.0, 0.5] + [0.2] * (n - 6))
    values = []
    for _ in range(400):
        places = [0]
        for j in range(1, n):
            weights = profile[: j + 1].flip(0).clone()
            weights[0] = 3.0  # the sink
            places.append(int(torch.multinomial(weights, 1, generator=g)))
        values.append(float(excess(*attending([places], pairs)).mean()))
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / 20
    assert abs(float(mean)) < 3 * float(error)
    assert float(error) < 0.002


def test_a_head_that_answers_cues_keeps_its_whole_pass_rate():
    """At every fifth position it attends to the head word that was asked for, else it rests: even a rare answer is above chance."""
    n, pairs = 40, [[4, 2], [7, 11], [13, 9]]
    places = [0] * n
    for at, (source, _) in zip((20, 25, 30), pairs, strict=True):
        places[at] = source
    made, found = attending([places], pairs)
    assert excess(made, found).mean() == made.passes(2.2).float().mean() > 0
    assert 1 / (found.query + 1.0).mean() > made.passes(2.2).float().mean()  # below one position in j + 1


def test_the_null_is_the_rate_at_that_distance_written_out():
    g = torch.Generator().manual_seed(3)
    n, pairs, sinks = 18, [[2, 5], [9, 4]], (0, 6)
    places = [[int(torch.randint(0, j + 1, (1,), generator=g)) for j in range(n)] for _ in range(3)]
    made, found = attending(places, pairs, sinks, weight=0.5)
    null, positions = pass_null(made, found, 1.0), sorted(set(found.query.tolist()))
    free = [k for k in range(n) if k not in sinks and k not in (2, 9)]
    compared = 0
    for e, (j, s) in enumerate(zip(found.query.tolist(), found.source.tolist(), strict=True)):
        rows = [i for i in positions if i - (j - s) in free]
        for h in range(3):
            if rows:
                compared += 1
                expected = sum(places[h][i] == i - (j - s) for i in rows) / len(rows)
                assert abs(float(null[h, e]) - expected) < 1e-6
    assert compared > 20


def test_without_the_distance_the_nearest_stand_in_and_without_any_it_is_undefined():
    made, found = attending([[max(0, j - 8) for j in range(12)]], [[1, 3]])
    last = found.query == 11  # ten tokens back there is only the head word and the sink: nine stand in
    assert pass_null(made, found, 2.2)[0, last].item() == 0.0
    made, found = attending([[0] * 4], [[1, 2]], sinks=(0, 2, 3))
    assert math.isnan(pass_null(made, found, 2.2)[0, -1])
