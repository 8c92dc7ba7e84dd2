"""What the heads study infers about relations from documents and triples (methods.md B1.3, B2.1). No torch.

Point estimates, intervals clustered by document and tail, and max-T corrected p of every cell; other gates and strata.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.measures.relation_cells import cells_of
from mnemoscope.results.job import seed_of
from mnemoscope.results.schema import relations as schema
from mnemoscope.stats.clusters import bounded_mean, clustered_means
from mnemoscope.stats.estimate import Estimates
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.relation_grids import FEWEST_DOCUMENTS, FEWEST_TAILS, Grid, Part, family, grid

AT_NULL = "weight-only: at null by construction where letters are drawn"
CHECKED: Mapping[str, tuple[str, ...]] = {  # variant -> slices of relation_checks
    "out": tuple(name for name in schema.SLICES if name != "tau"),
    "ctx_src": tuple(name for name in schema.SLICES if name not in ("tau", "reverse")),
    "src": ("argmax", "free", "at_source", "far"),
    "lit": ("argmax", "free", "at_source", "far"),
}


def relations(part: Part, config: Config) -> pl.DataFrame:
    """The table `relations` of one copy and corpus."""
    frames = [_variant(part, variant, config) for variant in schema.VARIANTS]
    return pl.concat([frame for frame in frames if frame.height]) if any(f.height for f in frames) else _empty()


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=schema.RELATIONS.schema)


def _variant(part: Part, variant: str, config: Config) -> pl.DataFrame:
    if not part.relations or not part.heads.height:
        return _empty()
    grids = {name: grid(part.triples.get((name, variant)), len(part.heads)) for name in part.relations}
    table = pl.concat([_relation(part, one, name, variant) for name, one in grids.items()])
    rng = np.random.default_rng(seed_of(config.seed, f"{part.copy}/{part.corpus}/{variant}"))
    found = family(list(grids.values()), table["supported"].to_numpy(), rng)
    reason = [own or str(why) for own, why in zip(table["reason"], found.reason, strict=True)]
    return table.with_columns(
        p_maxt=pl.Series(found.p),
        method=pl.lit(f"mean over documents; CGM two-way on CV3, t; {found.method}"),
        reason=pl.Series(reason, dtype=pl.String),
    ).select(list(schema.RELATIONS.schema))


def _relation(part: Part, made: Grid, name: str, variant: str) -> pl.DataFrame:
    there = ~np.isnan(made.excess)
    found = clustered_means(made.excess, made.documents, made.tails, weights=made.weights)
    low, high, why_not = _bounds(made, found)
    n_documents, n_tails, supported = made.n_documents, made.n_tails, made.supported
    reason = [
        str(why)
        or (
            ""
            if ok
            else f"support: {d} documents, {t} tails; {FEWEST_DOCUMENTS} and {FEWEST_TAILS} are needed to be ranked"
        )
        for why, ok, d, t in zip(why_not, supported, n_documents, n_tails, strict=True)
    ]
    chances = part.opportunities.filter(pl.col("relation") == name)["other"].sum()
    letters = part.corpus == "letters" and variant in ("lit", "src")
    table = part.heads.with_columns(
        copy=pl.lit(part.copy),
        corpus=pl.lit(part.corpus),
        relation=pl.lit(name),
        variant=pl.lit(variant),
        estimate=pl.Series(found.estimate),
        low=pl.Series(low),
        high=pl.Series(high),
        p_maxt=pl.lit(float("nan")),
        opportunities=pl.lit(int(chances), dtype=pl.Int64),
        n=pl.Series(made.events.sum(0).astype(np.int64)),
        n_triples=pl.Series(there.sum(0).astype(np.int64)),
        n_units=pl.Series(n_documents),
        n_tails=pl.Series(n_tails),
        supported=pl.Series(supported),
        note=pl.lit(AT_NULL if letters else ""),
        reason=pl.Series(reason, dtype=pl.String),
    )
    means = {
        column: pl.Series(part.documents.mean(quantity, slice=slice_, variant=variant, relation=name).estimate)
        for column, (slice_, quantity) in _MEANS.items()
    }
    literal = pl.Series(_literal(part, name, variant))
    return table.with_columns(**means, literal=literal, method=pl.lit("")).select(list(schema.RELATIONS.schema))


def _bounds(made: Grid, found: Estimates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval and reason of every cell; where all documents agree, the exact binomial bound over documents."""
    low, high, why = found.low.copy(), found.high.copy(), found.reason.astype(object)
    for cell in np.flatnonzero(np.isnan(low) & (found.n_units >= 2)):
        there = ~np.isnan(made.excess[:, cell])
        inside = np.clip(made.excess[there, cell], -1, 1)
        one = bounded_mean(inside, made.documents[there], limits=(-1.0, 1.0))
        low[cell], high[cell], why[cell] = one.low, one.high, one.reason
    return low, high, why


_MEANS: Mapping[str, tuple[str, str]] = {
    "index": ("tau", "index"),
    "null": ("tau", "null"),
    "percentile": ("tau", "percentile"),
    "per_opportunity": ("tau", "per_opportunity"),
    "excess_per_opportunity": ("tau", "excess_per_opportunity"),
    "free_index": ("free", "index"),
    "free_excess": ("free", "excess"),
    "free_percentile": ("free", "percentile"),
    "pass_rate": ("tau", "pass_rate"),
    "pass_rate_argmax": ("argmax", "pass_rate"),
    "pass_rate_tau_star": ("tau_star", "pass_rate"),
    "pass_rate_no_sink": ("no_sink", "pass_rate"),
}


def _literal(part: Part, name: str, variant: str) -> Float[np.ndarray, " cell"]:
    """Mean over events alone."""
    n = len(part.heads)
    rows = part.documents.piece("tau", variant, name)
    if rows is None:
        return np.full(n, np.nan)
    sums = [np.bincount(rows["cell"].to_numpy(), rows[of].to_numpy(), minlength=n) for of in ("total", "events")]
    return np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1), np.nan)


def checks(part: Part) -> pl.DataFrame:
    """The table `relation_checks` of one copy and corpus; of the control copy only the gate-free slice."""
    frames: list[pl.DataFrame] = []
    for variant, slices in CHECKED.items():
        for name in slices if part.copy == "trained" else ("free",):
            long = cells_of(part.documents, ["excess", "index", "pass_rate"], slice=name, variant=variant)
            frames.append(_check(long, variant, name))
    kept = [frame for frame in frames if frame.height]
    if not kept:
        return pl.DataFrame(schema=schema.RELATION_CHECKS.schema)
    return (
        pl.concat(kept)
        .with_columns(copy=pl.lit(part.copy), corpus=pl.lit(part.corpus))
        .select(list(schema.RELATION_CHECKS.schema))
    )


def _check(long: pl.DataFrame, variant: str, name: str) -> pl.DataFrame:
    key = ["relation", "layer", "head"]
    first = long.filter(pl.col("quantity") == "excess").drop("quantity", "p")
    for quantity in ("index", "pass_rate"):
        more = long.filter(pl.col("quantity") == quantity).select(*key, pl.col("estimate").alias(quantity))
        first = first.join(more, on=key, how="left")
    return first.with_columns(variant=pl.lit(variant), slice=pl.lit(name))


def scores(table: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows of the table `heads` out of `relations`: what may be ranked, as value and chance."""
    return (
        [_score(table, f"ri_{v}", v, "index", pl.col("null")) for v in schema.VARIANTS]
        + [_score(table, f"ri_{v}_percentile", v, "percentile", pl.lit(0.5)) for v in schema.VARIANTS]
        + [
            _score(
                table,
                f"ri_{v}_per_opportunity",
                v,
                "per_opportunity",
                pl.col("per_opportunity") - pl.col("excess_per_opportunity"),
            )
            for v in ("ctx_src", "out")
        ]
    )


def _score(table: pl.DataFrame, score: str, variant: str, value: str, chance: pl.Expr) -> pl.DataFrame:
    ok = pl.col("supported")
    nan = pl.lit(float("nan"))
    main = value == "index"
    return table.filter(pl.col("variant") == variant).select(
        "copy",
        "corpus",
        "layer",
        "head",
        "relation",
        score=pl.lit(score),
        estimate=pl.when(ok).then(pl.col(value)).otherwise(nan),
        low=pl.when(ok & main).then(pl.col("low") + chance).otherwise(nan),
        high=pl.when(ok & main).then(pl.col("high") + chance).otherwise(nan),
        chance=chance,
        p_maxt=pl.when(ok & main).then(pl.col("p_maxt")).otherwise(nan),
        n="n",
        n_units="n_units",
        method="method",
        reason="reason",
    )
