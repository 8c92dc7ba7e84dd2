"""Records refuse numbers that are undefined without a reason."""

import math

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate, Estimates, reasons, undefined


def test_a_hole_needs_a_reason():
    fields = {"estimate": 1.0, "low": math.nan, "high": 2.0, "p": math.nan, "n": 3, "n_units": 2, "method": "t"}
    with pytest.raises(InputError, match=r"needs a reason \| found: nan in low of t"):
        Estimate(**fields)
    assert Estimate(**fields, reason="one cluster").reason == "one cluster"


def test_an_interval_stands_upright():
    with pytest.raises(InputError, match="upside down"):
        Estimate(estimate=1.0, low=2.0, high=0.0, p=1.0, n=3, n_units=2, method="t")


def test_undefined_is_nan_and_says_why():
    record = undefined("no data", method="mean", n=4)
    assert math.isnan(record.estimate)
    assert (record.reason, record.n, record.n_units) == ("no data", 4, 0)


def test_cells_are_estimates():
    cells = Estimates(
        estimate=np.array([1.0, math.nan]),
        low=np.array([0.0, math.nan]),
        high=np.array([2.0, math.nan]),
        p=np.array([0.5, math.nan]),
        n=np.array([3, 0]),
        n_units=np.array([2, 0]),
        method="mean",
        reason=reasons(2, (np.array([False, True]), "empty"), (np.array([False, True]), "later cause")),
    )
    assert len(cells) == 2
    assert cells.at(0).high == 2.0
    assert cells.at(1).reason == "empty"
