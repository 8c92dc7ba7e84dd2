"""Jackknife-t: of a mean it is the t interval; of a correlation it finds the planted one."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mnemoscope.stats.jackknife import jackknife, jackknife_t


def test_of_a_mean_it_is_the_t_interval():
    x = np.random.default_rng(0).normal(size=14)
    mine, theirs = jackknife(lambda rows: float(x[rows].mean()), np.arange(14)), ttest_1samp(x, 0)
    assert mine.p == pytest.approx(theirs.pvalue)
    assert mine.low == pytest.approx(theirs.confidence_interval().low)


def test_a_correlation_is_covered():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        x = rng.normal(size=40)
        y = 0.6 * x + 0.8 * rng.normal(size=40)
        one = jackknife(lambda rows, x=x, y=y: float(np.corrcoef(x[rows], y[rows])[0, 1]), np.arange(40), fisher=True)
        inside += one.low <= 0.6 <= one.high
    assert 52 <= inside <= 60


def test_bias_of_a_variance_is_removed():
    x = np.random.default_rng(2).normal(size=10)
    left = np.array([[np.var(np.delete(x, i))] for i in range(10)])
    mine = jackknife_t(np.array([np.var(x)]), left, n=10, bias_corrected=True)
    assert mine.estimate[0] == pytest.approx(np.var(x, ddof=1))


def test_undefined_says_why():
    assert jackknife(lambda rows: math.nan, np.arange(5)).reason == "the statistic is undefined"
    assert jackknife(lambda rows: float(len(rows)), np.arange(2)).reason == "fewer than 3 units"
    assert jackknife(lambda rows: math.nan if len(rows) < 5 else 1.0, np.arange(5)).reason.startswith("undefined when")
