"""Rows of the table `attention_rows`: attention of one query, in eight bits, never more of it than a page can carry.

Of all heads one query per shown prompt is kept. Whole patterns (every query) are kept of at most 16 named heads on at most
4 prompts of at most 256 tokens; a row over more keys than that keeps its 64 largest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema.shared import ATTENTION_ROWS

NAMED = 16  # heads whose whole pattern may be kept
WHOLE_PROMPTS = 4  # prompts on which it may
ALL_KEYS = 256  # keys up to which a row is kept whole
LARGEST = 64  # keys that are kept of a longer row
SCALE = 255  # the byte of attention 1
Row = dict[str, Any]


def attention_row(prompt: str, layer: int, head: int, query: int, weights: Float[np.ndarray, " key"]) -> Row:
    """The row of one query: bytes of its attention to keys 0, 1, ..., query; of more than 256 keys the 64 largest.

    weights   attention to every key, or to more keys than the query can see: what lies behind the query is left out.
              In [0, 1]; the sum may be below 1 beside a sink.
    Ties among the largest keep the earlier key. The kept keys stand in order.
    """
    seen = np.asarray(weights, dtype=np.float64)[: query + 1]
    size = np.clip(np.round(seen * SCALE), 0, SCALE).astype(np.uint8)
    keys = np.array([], dtype=np.int64)
    if len(seen) > ALL_KEYS:
        keys = np.sort(np.argsort(-seen, kind="stable")[:LARGEST])
        size = size[keys]
    place = {"prompt": prompt, "layer": layer, "head": head, "query": query}
    return {**place, "keys": keys.tolist(), "weights": size.tolist()}


def whole_allowed(named: int, prompt: int, tokens: int) -> bool:
    """Whether every query of the `named`-th head on the `prompt`-th prompt of so many tokens may be kept (from 0)."""
    return named < NAMED and prompt < WHOLE_PROMPTS and tokens <= ALL_KEYS


def attention_table(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as the declared table."""
    return pl.DataFrame(rows, schema=ATTENTION_ROWS.schema)
