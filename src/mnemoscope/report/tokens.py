"""The token view: shown prompts token by token, the attention of any head drawn on them. Its script is assets/tokens.js.

Attention travels as it is kept: uint8, 255 is attention 1. The rows of one prompt are packed into one buffer, gzipped
and written in base64; the page unpacks a prompt when it is looked at. Layout of a buffer, little endian:

    uint32  rows R, keys K, weights W
    uint16  layer[R] head[R] query[R] count[R]  keys[K]
    uint8   sparse[R]  weights[W]

A row has `count` weights. If `sparse`, the next `count` entries of `keys` say where; else they are positions 0, 1, ...
"""

import base64
import gzip
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.report.html import Safe, element, island, shortened, visible
from mnemoscope.report.section import Tokens

BUDGET = 8 * 2**20  # characters of packed attention in one view; the parquet file has the rest
LONGEST = 120  # characters shown of one token


def token_view(view: Tokens, identifier: str) -> Safe:
    """The component: controls, tokens and a status line are made by the script from the packed prompts."""
    prompts, left_out = packed(view.prompts, view.rows)
    events = best_events(view, [prompt["id"] for prompt in prompts])
    note = f" {left_out} more prompts are in tables/attention_rows.parquet." if left_out else ""
    return element(
        "figure",
        element("h4", view.title),
        element("div", class_="controls"),
        element("div", class_="stage", role="group", aria_label="tokens of the prompt", tabindex=0),
        element("p", class_="status", aria_live="polite"),
        element("figcaption", view.caption + note),
        island(
            f"{identifier}-data", {"prompts": prompts, "named": [list(pair) for pair in view.named], "events": events}
        ),
        class_="tokens",
        id=identifier,
    )


def packed(prompts: pl.DataFrame, rows: pl.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """Prompts with their packed attention, as many as the budget allows; and how many did not fit."""
    made: list[dict[str, Any]] = []
    spent = 0
    for prompt in prompts.iter_rows(named=True):
        buffer = pack(rows.filter(pl.col("prompt") == prompt["prompt"]))
        spent += len(buffer)
        if spent > BUDGET:
            break
        tokens = [visible(shortened(token, LONGEST)) for token in prompt["tokens"]]
        made.append(
            {
                "id": prompt["prompt"],
                "title": visible(prompt["title"]),
                "tokens": tokens,
                "query": prompt["query"],
                "rows": buffer,
            }
        )
    return made, prompts.height - len(made)


def best_events(view: Tokens, there: list[str]) -> list[list[Any]]:
    """[layer, head, index of the prompt, query, title] of the events whose prompts are on the page, in order of rank."""
    if view.events is None:
        return []
    kept = view.events.filter(pl.col("prompt").is_in(there)).sort("layer", "head", "rank")
    return [
        [row["layer"], row["head"], there.index(row["prompt"]), row["query"], visible(shortened(row["title"], LONGEST))]
        for row in kept.iter_rows(named=True)
    ]


def pack(rows: pl.DataFrame) -> str:
    """The buffer described above of the rows of one prompt, gzipped, in base64. The same rows give the same text."""
    rows = rows.sort("layer", "head", "query")
    keys = rows["keys"].explode(empty_as_null=False).to_numpy().astype("<u2")
    weights = rows["weights"].explode(empty_as_null=False).to_numpy().astype("u1")
    sparse = (rows["keys"].list.len() > 0).to_numpy().astype("u1")
    numbers = [rows[name].to_numpy().astype("<u2") for name in ("layer", "head", "query")]
    counts = rows["weights"].list.len().to_numpy().astype("<u2")
    header = np.array([rows.height, len(keys), len(weights)], dtype="<u4")
    parts = [header, *numbers, counts, keys, sparse, weights]
    buffer = b"".join(part.tobytes() for part in parts)
    return base64.b64encode(gzip.compress(buffer, compresslevel=6, mtime=0)).decode()
