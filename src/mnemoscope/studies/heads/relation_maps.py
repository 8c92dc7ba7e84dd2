"""Maps of heads against each other: of relation r on triples of r' (B5), and at other values of tau (C1.4). No torch."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.relations import RELATION_STABILITY, RELATION_SWAP
from mnemoscope.stats.correlation import map_correlation, split_half
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.relation_grids import Part
from mnemoscope.studies.heads.relation_links import SPLITS, TOP, chosen, halves, mean_of_heads, names, numbers

TOP_SHARE = 0.05  # heads that count as the top of a map: this share of all, TOP at least
GATES = ("tau_2.0", "tau", "tau_2.5")


def swap(part: Part) -> pl.DataFrame:
    """The table `relation_swap`: heads of relation r on triples of r', by RI-out and RI-ctx-src."""
    found: list[dict[str, Any]] = []
    for variant in ("ctx_src", "out"):
        values = {
            r: part.documents.matrix("excess_per_opportunity", slice="tau", variant=variant, relation=r)
            for r in part.relations
        }
        excess = {r: part.documents.matrix("excess", slice="tau", variant=variant, relation=r) for r in part.relations}
        units = sorted({unit for _, own in values.values() for unit in own})
        chooses = {unit for unit, first in zip(units, halves(len(units))[0], strict=True) if first}
        for r in part.relations:
            cells = chosen(values[r][0], np.array([unit in chooses for unit in values[r][1]]))
            for other in part.relations:
                judged = np.array([unit not in chooses for unit in excess[other][1]])
                one = mean_of_heads(excess[other][0][judged][:, cells], bounded=True)
                found.append(
                    {
                        "corpus": part.corpus,
                        "chosen_for": r,
                        "measured_on": other,
                        "variant": variant,
                        "heads": names(part, cells),
                        **numbers(one),
                        "n": one.n,
                    }
                )
    return pl.DataFrame(found, schema=RELATION_SWAP.schema)


def stability(part: Part, config: Config) -> pl.DataFrame:
    """The table `relation_stability`: maps of RI per opportunity at two values of tau (C1.4)."""
    found: list[dict[str, Any]] = []
    top = max(TOP, round(TOP_SHARE * len(part.heads)))
    for variant in ("ctx_src", "out"):
        for r in part.relations:
            maps = {
                gate: part.documents.matrix("excess_per_opportunity", slice=gate, variant=variant, relation=r)[0]
                for gate in GATES
            }
            rng = np.random.default_rng(seed_of(config.seed, f"stability/{part.corpus}/{variant}/{r}"))
            n = len(maps["tau"])
            own = split_half(maps["tau"], np.arange(n), rng=rng, n_splits=SPLITS).estimate
            for first, second in combinations(GATES, 2):
                one = map_correlation(maps[first], maps[second], np.arange(n))
                best = [set(chosen(maps[gate], np.ones(n, dtype=bool), top)) for gate in (first, second)]
                found.append(
                    {
                        "corpus": part.corpus,
                        "relation": r,
                        "variant": variant,
                        "first": first,
                        "second": second,
                        **numbers(one),
                        "ceiling": own if own >= 0 else math.nan,
                        "jaccard": len(best[0] & best[1]) / max(1, len(best[0] | best[1])),
                        "top": top,
                        "n": len(part.heads),
                    }
                )
    return pl.DataFrame(found, schema=RELATION_STABILITY.schema)
