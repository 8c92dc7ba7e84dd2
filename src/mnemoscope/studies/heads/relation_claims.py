"""Claims C1.1 to C1.4, C1.7 and C1.8 of arXiv 2402.13055 (methods.md P1.7), by rules written down here before any data are seen.

C1.1 and C1.2 are decided on RI-ctx-src and RI-out: RI-lit and RI-src see only weights, and where letters are drawn they
cannot follow a binding. A claim about a map is not testable where the map itself is not reproducible (split-half reliability
below .5), since noise correlates with nothing; and heads that promote nothing are neither specific nor shared. C1.5 and C1.6
are about training and belong to the study `emergence`. No torch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.clusters import bounded_mean, clustered_mean
from mnemoscope.stats.correlation import map_correlation, split_half
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, verdict
from mnemoscope.studies.heads.relation_inference import Part
from mnemoscope.studies.heads.relation_links import TOP, chosen, halves, pooled

SYNTAX = frozenset({"subj", "obj", "mod"})
PROMOTES: Final = Rule(
    text=f"the {TOP} heads with the largest RI per opportunity above its null, over all relations, on every other document; "
    "their RI given the gate minus the matched null (share) on the other documents lies above .05",
    sesoi=SESOI["ri_excess"],
    min_units=5,
)
SPECIFIC: Final = Rule(
    text=f"for each relation the {TOP} heads with the largest RI-out per opportunity above its null on every other document; "
    "on the other documents, their excess on triples of their own relation minus that of the heads chosen for other relations "
    "(0 where those never attend to the head word) lies above .05",
    sesoi=SESOI["ri_excess"],
    min_units=5,
)
ROBUST: Final = Rule(
    text="rank correlation over heads of the maps of RI-out per opportunity above its null at tau 2.0 and 2.5 lies above .8",
    sesoi=0.8,
    min_units=5,
)
MATTER: Final = Rule(
    text="probability of the right label among the legal ones without the semantic heads (largest k), minus its mean without "
    "layer-matched random heads, lies below -.02; and p over the sets is at most .05",
    sesoi=SESOI["probability"],
    side="less",
    min_units=4,
)
MATTER_MORE: Final = Rule(
    text="the same without semantic heads that are no ordinary induction heads (largest k), minus that without as many ordinary "
    "induction heads, lies below -.02",
    sesoi=SESOI["probability"],
    side="less",
    min_units=4,
)
DISTINCT: Final = Rule(
    text="rank correlation over heads of RI-out per opportunity above its null with prefix matching x copying (in context) lies "
    "within -.5 and .5; intervals leave out documents",
    sesoi=0.5,
    side="within",
    min_units=5,
)
P_SETS: Final = 0.05
RELIABLE: Final = 0.5  # split-half reliability that a map must have to be compared with another
Row = dict[str, Any]


def claims(parts: Sequence[Part], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """All claims about relations, corpus by corpus; corpora that cannot be tested say why."""
    rows: list[Row] = []
    for part in (one for one in parts if one.copy == "trained"):
        rows += [*_promoted(part, tables), _specific(part), _robust(part), _distinct(part, tables)]
    for corpus, why in _untestable(tables):
        nothing = undefined(why, method="not measured")
        rows.append(_row(f"C1.1 a few heads promote the tail ({corpus})", nothing, PROMOTES, "relation_left_out", why))
    if "relation_group_effects" in tables:
        rows += _needed(tables)
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def _promoted(part: Part, tables: Mapping[str, pl.DataFrame]) -> list[Row]:
    syntax = set(part.relations) <= SYNTAX
    name = "C1.2 syntactic relations too" if syntax else "C1.1 a few heads promote the tail"
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
        found.append(_row(label, one, PROMOTES, "relation_chosen"))
    return found


def _specific(part: Part) -> Row:
    name = f"C1.3 heads are specific to their relation ({part.corpus})"
    if len(part.relations) < 2:
        why = f"{len(part.relations)} relation: nothing to exchange"
        return _row(name, undefined(why, method="swap"), SPECIFIC, "relation_swap", why)
    gap, own = specificity(part)
    promote = (
        ""
        if own.low > 0
        else f"heads chosen for a relation do not promote its tails: {own.estimate:.3f} [{own.low:.3f}, {own.high:.3f}]"
    )
    return _row(name, gap, SPECIFIC, "relation_swap", promote)


def specificity(part: Part) -> tuple[Estimate, Estimate]:
    """Per judging document and relation: excess of the relation's own heads minus the mean of those chosen for other relations.

    And the excess of the relation's own heads itself.
    """
    units = sorted(part.opportunities.filter(pl.col("other") > 0)["document"].unique().to_list())
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


def _units(part: Part) -> list[str]:
    return sorted(part.opportunities.filter(pl.col("other") > 0)["document"].unique().to_list())


def _robust(part: Part) -> Row:
    units = _units(part)
    maps = [pooled(part, "excess_per_opportunity", gate, "out", units) for gate in ("tau_2.0", "tau_2.5")]
    one = map_correlation(maps[0], maps[1], np.arange(len(units)))
    obstacle = _noise(pooled(part, "excess_per_opportunity", "tau", "out", units))
    return _row(f"C1.4 the map hardly depends on tau ({part.corpus})", one, ROBUST, "relation_stability", obstacle)


def _noise(values: np.ndarray) -> str:
    """Why a map cannot be compared with others: it is not reproducible; "" if it is."""
    one = split_half(values, np.arange(len(values)), rng=np.random.default_rng(0), n_splits=50)
    if not one.estimate >= RELIABLE:
        return f"the map itself is not reproducible: split-half reliability {one.estimate:.2f} {one.reason}".strip()
    return ""


def _distinct(part: Part, tables: Mapping[str, pl.DataFrame]) -> Row:
    name = f"C1.8 semantic heads differ from plain induction heads ({part.corpus})"
    plain = ordinary(part, tables["heads"])
    if plain is None:
        why = "no prefix matching and copying was measured"
        return _row(name, undefined(why, method="map correlation"), DISTINCT, "heads", why)
    units = _units(part)
    own = pooled(part, "excess_per_opportunity", "tau", "out", units)
    one = map_correlation(own, np.tile(plain, (len(units), 1)), np.arange(len(units)))
    return _row(name, one, DISTINCT, "relations", _no_induction(tables["heads"]) or _noise(own))


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


def _needed(tables: Mapping[str, pl.DataFrame]) -> list[Row]:
    effects, raw = tables["relation_group_effects"], tables["relation_groups"]
    k = int(raw["k"].max())  # pyright: ignore[reportArgumentType]
    obstacle = unable(raw.filter((pl.col("k") == k) & (pl.col("level") == "right") & (pl.col("group") == "none")))
    found: list[Row] = []
    for label, rule, group, against in (
        ("C1.7 semantic heads matter for in-context learning", MATTER, "semantic", "random heads"),
        ("C1.7 they matter more than ordinary induction heads", MATTER_MORE, "semantic_not_ordinary", "ordinary heads"),
    ):
        rows = effects.filter(
            (pl.col("k") == k)
            & (pl.col("level") == "right")
            & (pl.col("op") == "mean")
            & (pl.col("group") == group)
            & (pl.col("against") == against)
        )
        nothing = undefined("no head has a positive relation index, or no random set exists", method="ablation")
        one = estimate_of(rows.row(0, named=True)) if rows.height else nothing
        row = _row(f"{label} (k = {k})", one, rule, "relation_group_effects", obstacle)
        found.append(_over_sets(row, rows) if rule is MATTER else row)
    return found


def unable(base: pl.DataFrame) -> str:
    """Why the tasks cannot show a loss: the whole model does not do them; "" if it does."""
    if not base.height or not base["value"].is_not_nan().any():
        return "the tasks do not fit the model's context, or their labels share tokens"
    above = clustered_mean((base["value"] - base["chance"]).to_numpy(), base["unit"].to_numpy())
    if not above.low > 0:
        return f"the whole model does not do the tasks: {above.estimate:.3f} [{above.low:.3f}, {above.high:.3f}] above chance"
    return ""


def _over_sets(row: Row, rows: pl.DataFrame) -> Row:
    """Supported only if the group also stands out among its random counterparts; the p of the claim is that one."""
    if not rows.height:
        return row
    p, smallest = float(rows["p_sets"][0]), float(rows["smallest_p"][0])
    said = f"{row['reason']}; p over {rows['n_sets'][0]} sets {p:.3g}, smallest possible {smallest:.3g}"
    word = "undetermined" if row["verdict"] == "supported" and not p <= P_SETS else row["verdict"]
    more = "; underpowered" if smallest > P_SETS else ""
    return row | {"verdict": word, "p": p, "reason": said + more}


def estimate_of(row: Mapping[str, Any]) -> Estimate:
    """A row of a table as a record."""
    return Estimate(
        estimate=row["estimate"],
        low=row["low"],
        high=row["high"],
        p=float(row.get("p", math.nan)),
        n=row["n"],
        n_units=row["n_units"],
        method="as in its table",
        reason=row["reason"],
    )


def _row(name: str, one: Estimate, rule: Rule, evidence: str, obstacle: str = "") -> Row:
    judged: Verdict = verdict(one, rule, precondition=obstacle)
    return {
        "claim": name,
        "verdict": judged.verdict,
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "p": one.p,
        "sesoi": rule.sesoi,
        "n": one.n,
        "n_units": one.n_units,
        "rule": rule.text,
        "reason": judged.reason or one.reason,
        "evidence": evidence,
    }
