"""Means, variances and ranks over the vocabulary without its logits, against the logits."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from mnemoscope.engine.vocabulary import emittable, exact_rank, mean_row, moments, token_rows, zscore
from mnemoscope.errors import PromptError
from mnemoscope.model.head import normed, unembedding
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import tiny


@cache
def lm_of(name: str) -> LM:
    return view(tiny(name), name=name)


def streams(lm: LM, n: int = 4) -> torch.Tensor:
    return torch.randn(n, lm.d_model, generator=torch.Generator().manual_seed(0))


def raw_logits(lm: LM, x: torch.Tensor) -> torch.Tensor:
    """Before any soft-cap, in float64."""
    head = unembedding(lm)
    bias = head.head.module.bias
    logits = x.double() @ head.head.module.weight.double().T * head.head.multiplier
    return ((logits if bias is None else logits + bias.double()) * head.scale).detach()


@pytest.mark.parametrize("name", ["gpt2", "phi", "gemma2", "cohere"])  # plain, with bias, soft-capped, scaled
def test_zscores_are_those_of_the_complete_row(name: str) -> None:
    lm = lm_of(name)
    x = normed(lm, streams(lm)).detach()
    logits = raw_logits(lm, x)
    tokens = torch.tensor([[3, 17]] * 4)
    expected = (logits - logits.mean(-1, keepdim=True)) / logits.std(-1, keepdim=True, correction=0)
    torch.testing.assert_close(zscore(lm, x, tokens).double(), expected.gather(-1, tokens), atol=1e-5, rtol=1e-5)


def test_the_bias_counts_in_mean_and_spread() -> None:
    lm = lm_of("phi")
    assert unembedding(lm).head.module.bias.std() > 0.01
    x = streams(lm)
    logits = raw_logits(lm, x)
    found = moments(lm)
    torch.testing.assert_close(found.centre(x).double(), logits.mean(-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.spread(x).double(), logits.std(-1, correction=0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean_row(lm).rows.double() @ x[0].double() + mean_row(lm).bias, logits[0].mean())


def test_rows_that_the_tokenizer_cannot_emit_are_left_out(stories) -> None:
    from mnemoscope.model.load import load

    loaded = load(str(stories))
    model = tiny("llama", vocab_size=700)  # 512 words and 188 padded rows, which are far away
    with torch.no_grad():
        model.lm_head.weight[512:] += 10
    lm = view(model, loaded.tokenizer)
    assert int(emittable(lm).sum()) == moments(lm).n == 512
    x = streams(lm)
    logits = raw_logits(lm, x)[:, :512]
    torch.testing.assert_close(moments(lm).centre(x).double(), logits.mean(-1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moments(lm).spread(x).double(), logits.std(-1, correction=0), atol=1e-5, rtol=1e-4)


def test_a_vector_without_logits_has_no_zscore() -> None:
    lm = lm_of("gpt2")
    assert torch.isnan(zscore(lm, torch.zeros(1, lm.d_model), torch.tensor([[3]]))).all()


def test_ranks_are_exact_and_ties_count_half() -> None:
    logits = torch.randint(0, 40, (3, 101), generator=torch.Generator().manual_seed(1)).float()
    tokens = torch.arange(101).expand(3, -1)
    expected = rankdata(-logits.numpy(), axis=-1) - 1
    np.testing.assert_array_equal(exact_rank(logits, tokens).numpy(), expected)


def test_foreign_tokens_are_refused() -> None:
    with pytest.raises(PromptError, match="outside the vocabulary"):
        token_rows(lm_of("gpt2"), torch.tensor([-1]))
