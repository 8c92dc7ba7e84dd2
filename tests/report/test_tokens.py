"""Packing attention: an independent reader, written from the description, gets back what was put in."""

import base64
import gzip
import struct

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from mnemoscope.report import tokens
from mnemoscope.report.tokens import pack, packed

ROWS = pl.Schema(
    {
        "prompt": pl.String,
        "layer": pl.Int64,
        "head": pl.Int64,
        "query": pl.Int64,
        "keys": pl.List(pl.UInt16),
        "weights": pl.List(pl.UInt8),
    }
)
weights = st.lists(st.integers(0, 255), max_size=6)
row = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 300), st.booleans(), weights)


def unpacked(text: str) -> list[tuple[int, int, int, tuple[int, ...], tuple[int, ...]]]:
    buffer = gzip.decompress(base64.b64decode(text))
    n, k, w = struct.unpack_from("<3I", buffer)
    short = struct.unpack_from(f"<{4 * n + k}H", buffer, 12)
    small = struct.unpack_from(f"<{n + w}B", buffer, 12 + 2 * (4 * n + k))
    assert len(buffer) == 12 + 2 * (4 * n + k) + n + w
    keys, values, rows = list(short[4 * n :]), list(small[n:]), []
    for i in range(n):
        count = short[3 * n + i]
        mine = tuple(values[:count])
        del values[:count]
        where = ()
        if small[i]:
            where = tuple(keys[:count])
            del keys[:count]
        rows.append((short[i], short[n + i], short[2 * n + i], where, mine))
    assert not keys
    assert not values
    return rows


@given(st.lists(row, unique_by=lambda r: r[:3], max_size=8))
def test_what_is_packed_comes_back(made: list[tuple[int, int, int, bool, list[int]]]) -> None:
    table = [
        ("p", layer, head, query, [7 * i for i in range(len(w))] if sparse else [], w)
        for layer, head, query, sparse, w in made
    ]
    frame = pl.DataFrame(table, schema=ROWS, orient="row")
    expected = sorted((layer, head, query, tuple(keys), tuple(w)) for _, layer, head, query, keys, w in table)
    assert unpacked(pack(frame)) == expected
    assert pack(frame) == pack(frame.reverse())


def test_prompts_beyond_the_budget_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BUDGET", 4_000)
    noise = np.random.default_rng(0).integers(0, 256, 2_000).tolist()  # does not compress: 2,700 characters a prompt
    rows = pl.DataFrame([(f"p{i}", 0, 0, 0, [], noise) for i in range(3)], schema=ROWS, orient="row")
    prompts = pl.DataFrame({"prompt": ["p0", "p1", "p2"], "title": ["a"] * 3, "tokens": [["x"]] * 3, "query": [0] * 3})
    made, left_out = packed(prompts, rows)
    assert (len(made), left_out) == (1, 2)
