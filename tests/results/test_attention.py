"""What is kept of attention: bytes of every key up to 256 of them, beyond the 64 largest, in order."""

import numpy as np
import pytest

from mnemoscope.results.attention import (
    ALL_KEYS,
    LARGEST,
    NAMED,
    WHOLE_PROMPTS,
    attention_row,
    attention_table,
    whole_allowed,
)
from mnemoscope.results.schema.shared import ATTENTION_ROWS
from mnemoscope.results.schema.table import validate


def test_a_short_row_is_kept_whole_in_bytes() -> None:
    row = attention_row("p", 1, 2, 3, np.array([0.5, 0.25, 0.0, 0.25, 0.9]))  # the last key lies behind the query
    assert row == {"prompt": "p", "layer": 1, "head": 2, "query": 3, "keys": [], "weights": [128, 64, 0, 64]}


@pytest.mark.parametrize("query", [ALL_KEYS - 1, ALL_KEYS])
def test_the_limit_is_where_it_is_said_to_be(query: int) -> None:
    row = attention_row("p", 0, 0, query, np.full(1000, 1 / 1000))
    whole = query < ALL_KEYS
    assert len(row["weights"]) == (query + 1 if whole else LARGEST)
    assert row["keys"] == ([] if whole else list(range(LARGEST)))  # equal weights: the first ones


def test_a_long_row_keeps_its_largest_keys_in_order() -> None:
    rng = np.random.default_rng(0)
    weights = rng.permutation(1000) / 1000.0
    row = attention_row("p", 0, 0, 999, weights)
    assert row["keys"] == sorted(row["keys"])
    assert set(row["keys"]) == {i for i, weight in enumerate(weights) if weight >= (1000 - LARGEST) / 1000}
    assert row["weights"] == [round(weights[key] * 255) for key in row["keys"]]


def test_rows_are_the_declared_table() -> None:
    rows = [
        attention_row("p", 0, 0, 2, np.array([1.0, 0.0, 0.0])),
        attention_row("p", 0, 1, 299, np.full(300, 1 / 300)),
    ]
    assert validate("attention_rows", ATTENTION_ROWS, attention_table(rows)).height == 2


def test_whole_patterns_have_limits() -> None:
    assert (NAMED, WHOLE_PROMPTS, ALL_KEYS) == (16, 4, 256)
    assert whole_allowed(15, 3, 256)
    assert not whole_allowed(16, 3, 256)
    assert not whole_allowed(15, 4, 256)
    assert not whole_allowed(15, 3, 257)
