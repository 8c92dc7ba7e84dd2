"""Alignment of single prompts (for links with behaviour, B7.5), and the distances between items that the page draws. No torch."""

from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata

from mnemoscope.results.schema.icl import ITEMS, RDMS
from mnemoscope.stats.clusters import codes
from mnemoscope.stats.rdm import square
from mnemoscope.stats.rsa_items import item_alignment
from mnemoscope.studies.icl.alignment_summary import grouping
from mnemoscope.studies.icl.config import PRIMARY
from mnemoscope.studies.icl.design import Hypothesis
from mnemoscope.studies.icl.frames import Pooled


def items(every: tuple[Pooled, ...]) -> pl.DataFrame:
    """icl_items: the model's own, before and after, on the vectors that carry the claims."""
    frames: list[pl.DataFrame] = [ITEMS.empty()]
    for one in _main(every):
        for hypothesis in one.task.design.hypotheses:
            expected, units = one.task.expected(hypothesis), grouping(one, hypothesis)["units"]
            for condition in (one.task.design.before, one.task.design.after):
                place = {**one.place, "hypothesis": hypothesis.name, "condition": condition}
                for layer, row in enumerate(one.distances[condition]):
                    own = item_alignment(row, expected, units)
                    named = {name: pl.lit(text) for name, text in place.items()}
                    frame = one.task.keys.with_columns(
                        **named, layer=pl.lit(layer, dtype=pl.Int64), alignment=pl.Series(own)
                    )
                    frames.append(frame.select(list(ITEMS.schema)).cast(pl.Schema(ITEMS.schema)))
    return pl.concat(frames)


def _main(every: tuple[Pooled, ...]) -> list[Pooled]:
    return [one for one in every if one.copy == "trained" and (one.tokens, one.pooling) == PRIMARY]


def matrices(every: tuple[Pooled, ...], aligned: pl.DataFrame) -> pl.DataFrame:
    """icl_rdms: distances between units, ranked, before and after, at the layer where partial alignment rose most."""
    rows: list[dict[str, Any]] = []
    for one in _main(every):
        for hypothesis in one.task.design.hypotheses:
            layer = _best(one, hypothesis, aligned)
            for condition in (one.task.design.before, one.task.design.after):
                rows += _cells(one, hypothesis, condition, layer)
    return pl.DataFrame(rows, schema=RDMS.schema)


def _best(one: Pooled, hypothesis: Hypothesis, aligned: pl.DataFrame) -> int:
    design = one.task.design
    rows = aligned.filter(
        (pl.col("copy") == "trained")
        & (pl.col("task") == one.task.name)
        & (pl.col("hypothesis") == hypothesis.name)
        & (pl.col("tokens") == one.tokens)
        & (pl.col("pooling") == one.pooling)
        & (pl.col("distance") == one.distance)
        & (pl.col("kind") == "partial")
        & (pl.col("condition") == design.after)
        & (pl.col("versus") == design.before)
        & (pl.col("layer") >= 0)
        & pl.col("estimate").is_not_nan()
    ).sort("estimate", "layer", descending=[True, False])
    return int(rows["layer"][0]) if rows.height else len(one.distances[design.after]) - 1


def _cells(one: Pooled, hypothesis: Hypothesis, condition: str, layer: int) -> list[dict[str, Any]]:
    """Mean distance between the prompts of two units, ordered so that the hypothesis' groups are blocks."""
    units = one.task.units
    code, n = codes(units)
    first = np.array([int(np.flatnonzero(code == i)[0]) for i in range(n)])
    keys = [one.task.label(name) for name in hypothesis.labels]
    order = np.lexsort([key[first] for key in reversed(keys)])
    names = [_named(one, hypothesis, str(units[first[i]]), int(first[i])) for i in order]
    near, far = (
        _between(x, code, n)[np.ix_(order, order)]
        for x in (one.distances[condition][layer], one.task.expected(hypothesis))
    )
    upper = np.triu_indices(n, 1)
    ranks = [_ranked(matrix, upper) for matrix in (near, far)]
    place = {**one.place, "hypothesis": hypothesis.name, "condition": condition, "layer": layer}
    del place["copy"]
    return [
        {
            **place,
            "row": names[i],
            "column": names[j],
            "place": i * n + j,
            "distance": ranks[0][i, j],
            "expected": ranks[1][i, j],
        }
        for i in range(n)
        for j in range(n)
    ]


def _named(one: Pooled, hypothesis: Hypothesis, unit: str, prompt: int) -> str:
    """The unit's name, what the hypothesis goes by in front."""
    labels = [str(one.task.label(name)[prompt]) for name in hypothesis.labels]
    return " / ".join(dict.fromkeys([*labels, unit]))


def _between(condensed: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    member = np.eye(n)[code]
    count = np.outer(member.sum(0), member.sum(0))
    return member.T @ square(condensed) @ member / count


def _ranked(matrix: np.ndarray, upper: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Ranks of the pairs, from 0 (nearest) to 1 (farthest); undefined distances stay nan."""
    values = matrix[upper]
    rank = np.full(len(values), np.nan) if np.isnan(values).any() else (rankdata(values) - 1) / max(len(values) - 1, 1)
    out = np.full(matrix.shape, np.nan)  # the diagonal is no pair, and stays so
    out[upper] = rank
    return np.fmax(out, out.T)
