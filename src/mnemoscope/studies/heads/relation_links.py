"""Does the relation index say which heads matter? Maps of heads against each other and against their effect. No torch.

Rank correlations with the effect in the two pairings of B5 (RI per opportunity with the effect on evenly sampled opportunities,
conditional RI with the effect on the head's own passing events), their noise ceilings, heads chosen on one half of the
documents and judged on the other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema import relation_cause
from mnemoscope.results.schema.relations import VARIANTS
from mnemoscope.stats.clusters import bounded_mean, clustered_mean, clustered_means
from mnemoscope.stats.correlation import ceiling, map_correlation, split_half
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.maxt import sign_flip_max_t
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.relation_grids import FEWEST_DOCUMENTS, Part

TOP = 4  # heads chosen by RI
FEWEST = 5  # documents that choose heads, or judge them, for a verdict
SPLITS = 30  # random halves behind a reliability
Matrix = Float[np.ndarray, "document cell"]


def pooled(part: Part, quantity: str, slice_: str, variant: str, units: Sequence[str]) -> Matrix:
    """A quantity per document and head: mean over the relations of the document in which it is defined."""
    total, count = np.zeros((2, len(units), len(part.heads)))
    at = {unit: i for i, unit in enumerate(units)}
    for name in part.relations:
        values, own = part.documents.matrix(quantity, slice=slice_, variant=variant, relation=name)
        rows = np.array([at[unit] for unit in own if unit in at], dtype=int)
        kept = values[[unit in at for unit in own]]
        total[rows] += np.nan_to_num(kept)
        count[rows] += ~np.isnan(kept)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def effects(part: Part, rows: pl.DataFrame, units: Sequence[str], pairing: str) -> tuple[Matrix, np.ndarray]:
    """Effect per document and head (nan where a head has no event), and events per head."""
    kept = rows.filter(pl.col("sample") == "evenly") if pairing == "evenly" else rows.filter(pl.col("passes"))
    means = kept.group_by("document", "layer", "head", maintain_order=True).agg(pl.col("effect").mean(), pl.len())
    placed = means.join(part.heads.with_row_index("cell"), on=["layer", "head"], how="inner")
    at = {unit: i for i, unit in enumerate(units)}
    row = np.array([at[unit] for unit in placed["document"].to_list()], dtype=int)
    table, n = np.full((len(units), len(part.heads)), np.nan), np.zeros(len(part.heads), dtype=np.int64)
    table[row, placed["cell"].to_numpy()] = placed["effect"].to_numpy()
    np.add.at(n, placed["cell"].to_numpy(), placed["len"].to_numpy())
    return table, n


def effect_table(part: Part, rows: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The table `relation_effects` of one copy and corpus."""
    units = sorted(rows["document"].unique().to_list())
    frames: list[pl.DataFrame] = []
    for pairing in ("evenly", "passing"):
        values, n = effects(part, rows, units, pairing)
        found = clustered_means(values, np.arange(len(units)))
        rng = np.random.default_rng(seed_of(config.seed, f"effects/{part.copy}/{part.corpus}/{pairing}"))
        family = sign_flip_max_t(values, rng=rng, side="two-sided", min_units=min(FEWEST_DOCUMENTS, max(2, len(units))))
        why = [str(a) or str(b) for a, b in zip(found.reason, family.reason, strict=True)]
        frames.append(
            part.heads.with_columns(
                copy=pl.lit(part.copy),
                corpus=pl.lit(part.corpus),
                pairing=pl.lit(pairing),
                estimate=pl.Series(found.estimate),
                low=pl.Series(found.low),
                high=pl.Series(found.high),
                p_maxt=pl.Series(family.p),
                n=pl.Series(n),
                n_units=pl.Series(found.n_units.astype(np.int64)),
                reason=pl.Series(why, dtype=pl.String),
            ).select(list(relation_cause.RELATION_EFFECTS.schema))
        )
    return pl.concat(frames)


MAPS: dict[str, dict[str, tuple[str, str, str]]] = {  # pairing -> score -> quantity, slice, variant
    "evenly": {
        **{f"ri_{v}_per_opportunity": ("excess_per_opportunity", "tau", v) for v in VARIANTS},
        "ri_out_free": ("excess", "free", "out"),
        "ri_ctx_src_free": ("excess", "free", "ctx_src"),
        "pass_rate": ("pass_rate", "tau", "out"),
    },
    "passing": {
        **{f"ri_{v}": ("excess", "tau", v) for v in VARIANTS},
        **{f"ri_{v}_percentile": ("percentile", "tau", v) for v in VARIANTS},
    },
}


def links(part: Part, rows: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The table `relation_links` of one copy and corpus."""
    units = sorted(rows["document"].unique().to_list())
    layers = part.heads["layer"].to_numpy()
    found: list[dict[str, Any]] = []
    for pairing, maps in MAPS.items():
        cause, _ = effects(part, rows, units, pairing)
        own = _reliability(cause, np.random.default_rng(seed_of(config.seed, f"links/{part.corpus}/{pairing}")))
        for score, (quantity, slice_, variant) in maps.items():
            values = pooled(part, quantity, slice_, variant, units)
            rng = np.random.default_rng(seed_of(config.seed, f"links/{part.corpus}/{score}"))
            top = ceiling(_reliability(values, rng), own)  # nan (undefined) or below 0: nan
            both = int((~np.isnan(values).all(0) & ~np.isnan(cause).all(0)).sum())
            for within in ("all", "layer"):
                one = map_correlation(values, cause, np.arange(len(units)), cells=None if within == "all" else layers)
                found.append(
                    {
                        "copy": part.copy,
                        "corpus": part.corpus,
                        "score": score,
                        "pairing": pairing,
                        "within": within,
                        **numbers(one),
                        "ceiling": top,
                        "n": both,
                    }
                )
    return pl.DataFrame(found, schema=relation_cause.RELATION_LINKS.schema)


def _reliability(values: Matrix, rng: np.random.Generator) -> float:
    return split_half(values, np.arange(len(values)), rng=rng, n_splits=SPLITS).estimate


def numbers(one: Estimate) -> dict[str, Any]:
    """An estimate as columns."""
    return {"estimate": one.estimate, "low": one.low, "high": one.high, "n_units": one.n_units, "reason": one.reason}


def chosen(values: Matrix, half: np.ndarray, k: int = TOP) -> list[int]:
    """The k heads with the largest mean over one half of the documents; ties go to the first."""
    with np.errstate(invalid="ignore"):
        count = (~np.isnan(values[half])).sum(0)
        mean = np.where(count > 0, np.nansum(values[half], 0) / np.maximum(count, 1), -np.inf)
    order = np.argsort(-mean, kind="stable")[:k]
    return [int(cell) for cell in order if np.isfinite(mean[cell])]


def halves(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every other document chooses, the others judge."""
    chooses = np.arange(n) % 2 == 0
    return chooses, ~chooses


def names(part: Part, cells: Sequence[int]) -> str:
    """L0H3, L2H1 ..."""
    places = part.heads.rows()
    return ", ".join(f"L{places[cell][0]}H{places[cell][1]}" for cell in cells)


def chosen_table(part: Part, rows: pl.DataFrame | None) -> pl.DataFrame:
    """The table `relation_chosen`: excess and effect, on one half of the documents, of heads chosen on the other."""
    units = part.units
    first, second = halves(len(units))
    found: list[dict[str, Any]] = []
    for variant in ("ctx_src", "out"):
        per_opportunity = pooled(part, "excess_per_opportunity", "tau", variant, units)
        cells = chosen(per_opportunity, first)
        excess = pooled(part, "excess", "tau", variant, units)
        found.append(_judged(part, variant, "excess", cells, excess[second]))
        if rows is not None and rows.height:
            cause, _ = effects(part, rows.filter(pl.col("document").is_in(units)), units, "passing")
            found.append(_judged(part, variant, "effect", cells, cause[second]))
            rest = [cell for cell in range(len(part.heads)) if cell not in cells]
            found.append(_judged(part, variant, "effect of the others", rest, cause[second]) | {"heads": "all others"})
    return pl.DataFrame(found, schema=relation_cause.RELATION_CHOSEN.schema)


def _judged(part: Part, variant: str, quantity: str, cells: Sequence[int], values: Matrix) -> dict[str, Any]:
    one = mean_of_heads(values[:, list(cells)], bounded=quantity == "excess")
    return {
        "copy": part.copy,
        "corpus": part.corpus,
        "variant": variant,
        "quantity": quantity,
        "heads": names(part, cells),
        **numbers(one),
        "p": one.p,
        "n": one.n,
    }


def mean_of_heads(values: Matrix, *, bounded: bool) -> Estimate:
    """Mean over heads within document, then over documents that have one; bounded: an excess, within -1 and 1."""
    count = (~np.isnan(values)).sum(1)
    each = np.nansum(values, axis=1)[count > 0] / count[count > 0]
    if bounded:
        return bounded_mean(np.clip(each, -1, 1), np.arange(len(each)), limits=(-1.0, 1.0))
    return clustered_mean(each, np.arange(len(each)))
