"""The frequency direction and slope against independent solutions."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def lm():
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    return view(tiny("gpt2"), name="gpt2")


def test_the_direction_is_ridge_regression_of_log_counts_on_folded_rows(lm):
    from sklearn.linear_model import Ridge

    from mnemoscope.measures.frequency import RIDGE, frequency_direction

    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, lm.d_vocab)
    there = counts > 0
    norm = lm.model.transformer.ln_f
    W = lm.model.lm_head.weight.detach().double().numpy()
    rows = (W - W.mean(0)) * norm.weight.detach().double().numpy()
    rows = (rows - rows.mean(1, keepdims=True))[there]
    alpha = RIDGE * rows.var(0).mean() * len(rows)
    fit = Ridge(alpha=alpha).fit(rows, np.log(counts[there]))
    u = frequency_direction(lm, counts).double().numpy()
    assert np.abs(u - fit.coef_ / np.linalg.norm(fit.coef_)).max() < 1e-5


def test_the_slope_is_spearmans(lm):
    from scipy.stats import spearmanr

    from mnemoscope.measures.frequency import frequency_slope

    rng = np.random.default_rng(1)
    counts = rng.integers(0, 9, 200)
    push = np.stack([rng.standard_normal(200), np.log(counts + 1.0), np.ones(200)])
    slopes, n = frequency_slope(push, counts)
    there = counts > 0
    assert n == there.sum()
    assert slopes[0] == pytest.approx(spearmanr(push[0, there], counts[there]).statistic)
    assert slopes[1] == pytest.approx(1.0)
    assert np.isnan(slopes[2])


def test_too_few_tokens_are_refused(lm):
    from mnemoscope.errors import InputError
    from mnemoscope.measures.frequency import frequency_direction, frequency_slope

    counts = np.zeros(lm.d_vocab, dtype=np.int64)
    counts[:3] = 1
    with pytest.raises(InputError, match="3"):
        frequency_direction(lm, counts)
    assert np.isnan(frequency_slope(torch.randn(2, lm.d_vocab).double().numpy(), counts)[0]).all()
