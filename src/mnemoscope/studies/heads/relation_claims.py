"""Claims C1.1 to C1.4, C1.7 and C1.8 of arXiv 2402.13055 (methods.md P1.7), by rules written down here before any data are seen.

C1.1 and C1.2 are decided on RI-ctx-src and RI-out: RI-lit and RI-src see only weights, and where letters are drawn they
cannot follow a binding. A claim about a map is not testable where the map itself is not reproducible (split-half reliability
below .5), since noise correlates with nothing; and heads that promote nothing are neither specific nor shared. C1.5 and C1.6
are about training and belong to the study `emergence`. No torch.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.clusters import bounded_mean
from mnemoscope.stats.correlation import map_correlation, split_half
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import SESOI, Rule
from mnemoscope.studies.heads.claim_rows import Row, claim, estimate_of, shown
from mnemoscope.studies.heads.group_claims import MATTER, NEEDED, needed
from mnemoscope.studies.heads.relation_grids import Part
from mnemoscope.studies.heads.relation_links import FEWEST, TOP, chosen, halves, pooled

SYNTAX = frozenset({"subj", "obj", "mod"})
PROMOTES: Final = Rule(
    text=f"the {TOP} heads with the largest RI per opportunity above its null, over all relations, on every other document; "
    "their RI given the gate minus the matched null (share) on the other documents lies above .05",
    sesoi=SESOI["ri_excess"],
    min_units=FEWEST,
)
SPECIFIC: Final = Rule(
    text=f"for each relation the {TOP} heads with the largest RI-out per opportunity above its null on every other document; "
    "on the other documents, their excess on triples of their own relation minus that of the heads chosen for other relations "
    "(0 where those never attend to the head word) lies above .05",
    sesoi=SESOI["ri_excess"],
    min_units=FEWEST,
)
ROBUST: Final = Rule(
    text="rank correlation over heads of the maps of RI-out per opportunity above its null at tau 2.0 and 2.5 lies above .8",
    sesoi=0.8,
    min_units=5,
)
DISTINCT: Final = Rule(
    text="rank correlation over heads of RI-out per opportunity above its null with prefix matching x copying (in context) lies "
    "within -.5 and .5; intervals leave out documents",
    sesoi=0.5,
    side="within",
    min_units=5,
)
PROMOTED, SYNTACTIC = "C1.1 a few heads promote the tail", "C1.2 syntactic relations too"
OWN, STABLE = "C1.3 heads are specific to their relation", "C1.4 the map hardly depends on tau"
DIFFERENT = "C1.8 semantic heads differ from plain induction heads"
ASKED: Final = {
    PROMOTED: PROMOTES,
    SYNTACTIC: PROMOTES,
    OWN: SPECIFIC,
    STABLE: ROBUST,
    NEEDED: MATTER,
    DIFFERENT: DISTINCT,
}
RELIABLE: Final = 0.5  # split-half reliability that a map must have to be compared with another


def claims(parts: Sequence[Part], tables: Mapping[str, pl.DataFrame], missing: str) -> pl.DataFrame:
    """All claims about relations, corpus by corpus; what cannot be tested says why. missing: why there is no corpus at all."""
    rows: list[Row] = []
    if not parts:
        nothing = undefined(missing, method="not measured")
        rows += [claim(name, nothing, rule, "relations", missing) for name, rule in ASKED.items()]
    trained = [one for one in parts if one.copy == "trained"]
    for part in trained:
        rows += [*_promoted(part, tables), _specific(part), _robust(part), _distinct(part, tables)]
    for corpus, why in _untestable(tables):
        nothing = undefined(why, method="not measured")
        rows.append(claim(f"{PROMOTED} ({corpus})", nothing, PROMOTES, "relation_left_out", why))
    if "relation_group_effects" in tables:
        first = trained[0].units if trained else []  # the first corpus chose the groups
        rows += needed(tables, int(halves(len(first))[0].sum()))
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def _promoted(part: Part, tables: Mapping[str, pl.DataFrame]) -> list[Row]:
    syntax = set(part.relations) <= SYNTAX
    name = SYNTACTIC if syntax else PROMOTED
    found: list[Row] = []
    for variant in ("ctx_src", "out"):
        rows = tables["relation_chosen"].filter(
            (pl.col("copy") == "trained")
            & (pl.col("corpus") == part.corpus)
            & (pl.col("variant") == variant)
            & (pl.col("quantity") == "excess")
        )
        one = estimate_of(rows.row(0, named=True)) if rows.height else undefined("no document", method="mean")
        label = f"{name} ({part.corpus}, RI-{variant.replace('_', '-')})"
        found.append(claim(label, one, PROMOTES, "relation_chosen"))
    return found


def _specific(part: Part) -> Row:
    name = f"{OWN} ({part.corpus})"
    if len(part.relations) < 2:
        why = f"{len(part.relations)} relation: nothing to exchange"
        return claim(name, undefined(why, method="swap"), SPECIFIC, "relation_swap", why)
    gap, own = specificity(part)
    promote = "" if own.low > 0 else f"heads chosen for a relation are not shown to promote its tails: {shown(own)}"
    return claim(name, gap, SPECIFIC, "relation_swap", promote)


def specificity(part: Part) -> tuple[Estimate, Estimate]:
    """Per judging document and relation: excess of the relation's own heads minus the mean of those chosen for other relations.

    And the excess of the relation's own heads itself.
    """
    units = part.units
    first = {unit for unit, chooses in zip(units, halves(len(units))[0], strict=True) if chooses}
    picked: dict[str, list[int]] = {}
    excess: dict[str, tuple[np.ndarray, list[str]]] = {}
    for r in part.relations:
        gained, own = part.documents.matrix("excess_per_opportunity", slice="tau", variant="out", relation=r)
        picked[r] = chosen(gained, np.array([unit in first for unit in own]))
        values, own = part.documents.matrix("excess", slice="tau", variant="out", relation=r)
        judges = [i for i, unit in enumerate(own) if unit not in first]
        excess[r] = (values[judges], [own[i] for i in judges])
    gaps: list[float] = []
    promoted: list[float] = []
    labels: list[str] = []
    for r, (values, own) in excess.items():
        with np.errstate(invalid="ignore"):
            mine = _mean(values[:, picked[r]])
            foreign = [_mean(values[:, picked[other]]) for other in part.relations if other != r]
            others = np.nan_to_num(np.stack(foreign, axis=1)).mean(1)
        gaps += (mine - others).tolist()
        promoted += mine.tolist()
        labels += own
    return _bounded(gaps, labels, 2.0), _bounded(promoted, labels, 1.0)


def _bounded(values: Sequence[float], labels: Sequence[str], limit: float) -> Estimate:
    """Mean with an interval even where all documents agree: excesses lie within -1 and 1, their differences within -2 and 2."""
    kept = ~np.isnan(values)
    inside = np.clip(np.array(values, dtype=float)[kept], -limit, limit)
    return bounded_mean(inside, np.array(labels)[kept], limits=(-limit, limit))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over columns of what is there; nan where nothing is."""
    count = (~np.isnan(values)).sum(1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def _robust(part: Part) -> Row:
    units = part.units
    maps = [pooled(part, "excess_per_opportunity", gate, "out", units) for gate in ("tau_2.0", "tau_2.5")]
    one = map_correlation(maps[0], maps[1], np.arange(len(units)))
    obstacle = _noise(pooled(part, "excess_per_opportunity", "tau", "out", units))
    return claim(f"{STABLE} ({part.corpus})", one, ROBUST, "relation_stability", obstacle)


def _noise(values: np.ndarray) -> str:
    """Why a map cannot be compared with others: it is not reproducible; "" if it is."""
    one = split_half(values, np.arange(len(values)), rng=np.random.default_rng(0), n_splits=50)
    if not one.estimate >= RELIABLE:
        return f"the map itself is not shown to be reproducible: split-half reliability {one.reason or f'{one.estimate:.2f}'}"
    return ""


def _distinct(part: Part, tables: Mapping[str, pl.DataFrame]) -> Row:
    name = f"{DIFFERENT} ({part.corpus})"
    plain = ordinary(part, tables["heads"])
    if plain is None:
        why = "no prefix matching and copying was measured"
        return claim(name, undefined(why, method="map correlation"), DISTINCT, "heads", why)
    units = part.units
    own = pooled(part, "excess_per_opportunity", "tau", "out", units)
    one = map_correlation(own, np.tile(plain, (len(units), 1)), np.arange(len(units)))
    return claim(name, one, DISTINCT, "relations", _no_induction(tables["heads"]) or _noise(own))


def _no_induction(heads: pl.DataFrame) -> str:
    rows = heads.filter(
        (pl.col("copy") == "trained") & (pl.col("corpus") == "random") & (pl.col("score") == "prefix_matching")
    )
    there = rows.filter((pl.col("p_maxt") < 0.05) & (pl.col("estimate") > pl.col("chance"))).height
    return "" if there else "no head's prefix matching is above chance: there is no ordinary induction to differ from"


def ordinary(part: Part, heads: pl.DataFrame) -> np.ndarray | None:
    """Prefix matching x copying in context of every head of the part, on random sequences; undefined copying counts 0."""
    rows = heads.filter(
        (pl.col("copy") == part.copy)
        & (pl.col("corpus") == "random")
        & pl.col("score").is_in(["prefix_matching", "copying_contextual"])
    )
    if rows["score"].n_unique() < 2:
        return None
    wide = rows.with_columns(pl.col("estimate").fill_nan(0.0)).pivot(
        on="score", index=["layer", "head"], values="estimate"
    )
    placed = part.heads.join(wide, on=["layer", "head"], how="left")
    return (placed["prefix_matching"] * placed["copying_contextual"]).fill_null(0.0).to_numpy()


def _untestable(tables: Mapping[str, pl.DataFrame]) -> list[tuple[str, str]]:
    left = tables.get("relation_left_out")
    if left is None:
        return []
    return [
        (str(corpus), str(why))
        for corpus, why in left.filter(pl.col("part") == "not testable").select("corpus", "reason").iter_rows()
    ]
