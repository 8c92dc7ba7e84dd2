import math

import torch

from mnemoscope.measures import attention_ratio as ar


def test_planted_attention_comes_back_as_its_logarithm():
    pattern = torch.tensor([[[0.1, 0.3, 0.3, 0.1, 0.1, 0.1], [0.1, 0.3, 0.3, 0.1, 0.1, 0.1]]])
    keys = torch.tensor([[False, True, True, False, False, False], [False, False, False, True, True, True]])
    found = ar.group_attention(pattern, keys)
    torch.testing.assert_close(found, torch.tensor([[0.3, 0.1]]))
    torch.testing.assert_close(ar.log_ratio(found[:, 0], found[:, 1]), torch.tensor([math.log(3)]))


def test_empty_and_masked_groups_are_undefined():
    pattern = torch.tensor([[[1.0, 0.0]]])
    found = ar.group_attention(pattern, torch.tensor([[False, False], [False, True], [True, False]]))
    assert torch.isnan(found[0, 0])
    assert torch.isnan(ar.log_ratio(found[0, 1], found[0, 2]))


def test_the_sentence_null_is_zero_for_an_even_head_and_sums_to_zero():
    even = torch.full((4, 3), 0.2)
    torch.testing.assert_close(ar.sentence_null(even, 1), torch.zeros(4))
    some = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    total = sum(ar.sentence_null(some, c) for c in range(4))
    torch.testing.assert_close(total, torch.zeros(5), atol=1e-5, rtol=0)
