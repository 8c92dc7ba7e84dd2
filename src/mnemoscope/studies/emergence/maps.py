"""Are early heads the late heads? Maps of heads at two checkpoints, measured on different halves of the units. No torch."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema.emergence import PERSISTENCE
from mnemoscope.stats.correlation import map_correlation, spearman, within_group
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.studies.emergence.curves import FOLLOWED_SHARE, Block, mean


def persistence(series: str, score: str, found: Block) -> pl.DataFrame:
    """Every pair of checkpoints, both ways round; the diagonal is the reliability of the map."""
    if len(found.units) < 2 or len(found.heads) < 3:
        return pl.DataFrame(schema=PERSISTENCE.schema)
    even, odd = _maps(found, 0), _maps(found, 1)
    layer = np.array([place[0] for place in found.heads])
    k = max(2, round(FOLLOWED_SHARE * len(found.heads)))
    rows = []
    for i, j in _pairs(len(found.steps)):
        ways = ((even[i], odd[j]), (odd[i], even[j]))
        whole = float(np.mean([spearman(a, b) for a, b in ways]))
        rows.append(
            {
                "series": series,
                "score": score,
                "first": int(found.steps[i]),
                "second": int(found.steps[j]),
                "estimate": whole,
                "within_layer": float(np.mean([within_group(a, b, layer) for a, b in ways])),
                "kept": float(np.mean([_kept(a, b, k) for a, b in ways])),
                "kept_by_chance": k / len(found.heads),
                "n": len(found.heads),
                "n_units": len(found.units),
                "reason": "a map is the same for all heads" if np.isnan(whole) else "",
            }
        )
    return pl.DataFrame(rows, schema=PERSISTENCE.schema)


def early_late(found: Block, early: int) -> Estimate:
    """Rank correlation of the map at an early checkpoint (every other unit) with the last one (the units between)."""
    if len(found.units) < 6:
        return undefined("fewer than 6 units", method="map correlation")
    first, last = found.values[early].copy(), found.values[-1].copy()
    first[1::2], last[::2] = np.nan, np.nan
    return map_correlation(first, last, np.arange(len(found.units)))


def _maps(found: Block, half: int) -> Float[np.ndarray, "checkpoint head"]:
    return mean(np.moveaxis(found.values[:, half::2], 1, -1))


def _pairs(n: int) -> Iterator[tuple[int, int]]:
    yield from ((i, j) for i in range(n) for j in range(n))


def _kept(a: np.ndarray, b: np.ndarray, k: int) -> float:
    first, second = (set(np.argsort(-np.nan_to_num(x, nan=-np.inf), kind="stable")[:k].tolist()) for x in (a, b))
    return len(first & second) / k
