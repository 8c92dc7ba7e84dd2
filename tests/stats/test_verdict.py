"""Verdicts against the sentences of B2.3, and the minimum detectable effect against its own power."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from mnemoscope.errors import OptionError
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, all_of, band, verdict


def made(low: float, high: float, *, n_units: int = 20) -> Estimate:
    low, high = float(low), float(high)
    return Estimate(estimate=(low + high) / 2, low=low, high=high, p=math.nan, n=100, n_units=n_units, method="t")


@pytest.mark.parametrize(
    ("low", "high", "side", "word"),
    [
        (0.06, 0.2, "greater", "supported"),
        (-0.2, 0.04, "greater", "contradicted"),
        (0.04, 0.06, "greater", "undetermined"),
        (-0.2, -0.06, "less", "supported"),
        (-0.04, 0.2, "less", "contradicted"),
        (-0.2, 0.0, "less", "undetermined"),
        (-0.2, -0.06, "beyond", "supported"),
        (-0.04, 0.04, "beyond", "contradicted"),
        (-0.04, 0.04, "within", "supported"),
        (0.06, 0.2, "within", "contradicted"),
        (0.0, 0.2, "within", "undetermined"),
    ],
)
def test_where_the_interval_lies(low, high, side, word):
    assert verdict(made(low, high), Rule(text="", sesoi=0.05, side=side)).verdict == word


def test_greater_and_less_mirror_each_other():
    rng = np.random.default_rng(0)
    for _ in range(50):
        low, high = sorted(rng.normal(0, 0.1, 2))
        up = verdict(made(low, high), Rule(text="", sesoi=0.05))
        down = verdict(made(-high, -low), Rule(text="", sesoi=0.05, side="less"))
        assert (up.verdict, up.mde) == (down.verdict, pytest.approx(down.mde))


def test_preconditions_and_holes_are_not_testable():
    assert verdict(made(1, 2), 0.1, precondition="no facts known").reason == "no facts known"
    hole = verdict(undefined("one run", method="t"), 0.1)
    assert (hole.verdict, hole.reason) == ("not testable", "one run")
    assert math.isnan(hole.mde)
    few = verdict(made(1, 2, n_units=2), 0.1)
    assert few.verdict == "not testable"
    assert "2 independent units" in few.reason


def test_the_minimum_detectable_effect_is_detected_four_times_in_five():
    se, d = 0.3, 0.1
    z = norm.ppf(0.975)
    mde = verdict(made(-z * se, z * se), d).mde
    draws = np.random.default_rng(1).normal(mde, se, 20_000)
    assert np.mean(draws - z * se > d) == pytest.approx(0.8, abs=0.01)


def test_unknown_side():
    with pytest.raises(OptionError, match="did you mean 'greater'"):
        Rule(text="", sesoi=0.1, side="greate")


def test_bands_of_a_weight():
    words = [band(made(*ends)).verdict for ends in ((-1, -0.3), (-0.2, 0.2), (0.3, 1), (-0.3, 0.1))]
    assert words == ["erase", "keep", "amplify", "undetermined"]


def test_parts_of_a_claim():
    yes, no, maybe, cannot = (
        Verdict(verdict=w, reason="", mde=0.1) for w in ("supported", "contradicted", "undetermined", "not testable")
    )
    assert all_of([yes, yes]).verdict == "supported"
    assert all_of([yes, maybe, no]).verdict == "contradicted"
    assert all_of([yes, maybe]).verdict == "undetermined"
    assert all_of([yes, cannot]).verdict == "not testable"
    assert all_of([]).verdict == "not testable"


def test_defaults_are_those_of_the_methods():
    assert dict(SESOI) == {
        "ri_excess": 0.05,
        "effect_logit": 0.1,
        "alignment": 0.05,
        "probe": 0.05,
        "log_ratio": 0.1,
        "probability": 0.02,
    }
