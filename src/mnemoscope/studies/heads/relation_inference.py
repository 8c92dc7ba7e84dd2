"""What the heads study infers about relations from documents and triples (methods.md B1.3, B2.1). No torch.

Point estimates, intervals clustered by document and tail, and max-T corrected p of every cell; other gates and strata.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.measures.relation_cells import Documents, cells_of
from mnemoscope.results.job import seed_of
from mnemoscope.results.schema import relations as schema
from mnemoscope.stats.clusters import bounded_mean, clustered_means
from mnemoscope.stats.estimate import Estimates
from mnemoscope.stats.maxt import MaxT, redraw_max_t
from mnemoscope.studies.heads.config import Config

FEWEST_DOCUMENTS = 10  # B1.3
FEWEST_TAILS = 10
AT_NULL = "weight-only: at null by construction where letters are drawn"
RECURRING = (
    "no corrected p: tails recur in several documents, and tails redrawn document by document then find too much (.16 to .36 of "
    "corpora on random weights at .05); the interval is clustered by document and tail"
)
CHECKED: Mapping[str, tuple[str, ...]] = {  # variant -> slices of relation_checks
    "out": tuple(name for name in schema.SLICES if name != "tau"),
    "ctx_src": tuple(name for name in schema.SLICES if name not in ("tau", "reverse")),
    "src": ("argmax", "free", "at_source", "far"),
    "lit": ("argmax", "free", "at_source", "far"),
}
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of one copy and corpus, and its heads."""

    copy: str
    corpus: str
    opportunities: pl.DataFrame
    documents: Documents
    triples: Mapping[
        tuple[str, str], pl.DataFrame
    ]  # (relation, variant) -> rows, with the number of their head as `cell`

    @property
    def heads(self) -> pl.DataFrame:
        """Layer and head of the cells."""
        return self.documents.heads

    @property
    def relations(self) -> tuple[str, ...]:
        """Relations with an opportunity, in alphabetical order."""
        return self.documents.relations


def parts(tables: Mapping[str, pl.DataFrame]) -> Iterator[Part]:
    """Copy by copy and corpus by corpus."""
    if "relation_opportunities" not in tables:
        return  # no corpus with triples
    chances = tables["relation_opportunities"]
    for copy, corpus in (
        chances.select("copy", "corpus")
        .unique(maintain_order=True)
        .sort("copy", "corpus", descending=[True, False])
        .iter_rows()
    ):
        here = (pl.col("copy") == copy) & (pl.col("corpus") == corpus)
        documents = Documents.of(tables["relation_documents"].filter(here), chances.filter(here))
        numbered = documents.heads.with_row_index("cell")
        triples = tables["relation_triples"].filter(here).join(numbered, on=["layer", "head"], maintain_order="left")
        split = triples.partition_by("relation", "variant", as_dict=True, maintain_order=True)
        yield Part(
            copy=copy,
            corpus=corpus,
            opportunities=chances.filter(here),
            documents=documents,
            triples={(str(relation), str(variant)): rows for (relation, variant), rows in split.items()},
        )


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
    family = _family(part, grids, table["supported"].to_numpy(), config.seed, variant)
    reason = [own or str(why) for own, why in zip(table["reason"], family.reason, strict=True)]
    anew = _drawn_anew(part)
    method = f"; {family.method}" if anew else ""
    return table.with_columns(
        p_maxt=pl.Series(family.p if anew else np.full(table.height, np.nan)),
        note=pl.col("note") if anew else pl.lit(RECURRING),
        method=pl.lit(f"mean over documents; CGM two-way on CV3, t{method}"),
        reason=pl.Series(reason, dtype=pl.String),
    ).select(list(schema.RELATIONS.schema))


def _drawn_anew(part: Part) -> bool:
    """Whether a triple has another tail in another text of its document (letters drawn several times).

    Only then are documents exchangeable given their tails: else what a head does with a pair is the same in all of them.
    """
    each = (rows.select("document", "triple", "tail").unique() for rows in part.triples.values())
    return any(rows.select("document", "triple").is_duplicated().any() for rows in each)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Triples x heads of one relation: excess (nan where a head has none), and who the triples are."""

    excess: Float[np.ndarray, "triple cell"]
    events: Float[np.ndarray, "triple cell"]
    redrawn: Float[np.ndarray, "draw triple cell"]
    documents: np.ndarray
    tails: np.ndarray

    @property
    def weights(self) -> Float[np.ndarray, "triple cell"]:
        """1 / (triples of the document that the head has): triples are averaged within document."""
        there = ~np.isnan(self.excess)
        _, code = np.unique(self.documents, return_inverse=True)
        count = np.zeros((code.max(initial=-1) + 1, there.shape[1]))
        np.add.at(count, code, there)
        return np.where(there, 1 / np.maximum(count[code], 1), 0.0)


def grid(rows: pl.DataFrame | None, n_heads: int) -> Grid:
    """Rows of one relation and variant as arrays; None: there are none."""
    if rows is None:
        nobody = np.empty((0, n_heads))
        return Grid(
            excess=nobody, events=nobody, redrawn=nobody[None][:0], documents=np.empty(0, str), tails=np.empty(0)
        )
    places = rows.select("document", "text", "triple", "tail").unique().sort("document", "text", "triple")
    at = rows.join(places.with_row_index("row"), on=["text", "triple"], maintain_order="left")
    row, cell = at["row"].to_numpy(), at["cell"].to_numpy()
    draws = len(rows["redrawn"][0])
    excess = np.full((len(places), n_heads), np.nan)
    events, redrawn = np.zeros_like(excess), np.full((draws, *excess.shape), np.nan)
    excess[row, cell] = (rows["index"] - rows["null"]).to_numpy()
    events[row, cell] = rows["n"].to_numpy()
    if draws:
        redrawn[:, row, cell] = rows["redrawn"].explode().to_numpy().reshape(-1, draws).T
    documents, tails = places["document"].to_numpy(), places["tail"].to_numpy()
    return Grid(excess=excess, events=events, redrawn=redrawn, documents=documents, tails=tails)


def _relation(part: Part, made: Grid, name: str, variant: str) -> pl.DataFrame:
    there = ~np.isnan(made.excess)
    found = clustered_means(made.excess, made.documents, made.tails, weights=made.weights)
    low, high, why_not = _bounds(made, found)
    n_documents = _distinct(made.documents, there)
    n_tails = _distinct(made.tails, there)
    supported = (n_documents >= FEWEST_DOCUMENTS) & (n_tails >= FEWEST_TAILS)
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


def _distinct(labels: np.ndarray, there: np.ndarray) -> np.ndarray:
    _, code = np.unique(labels, return_inverse=True)
    found = np.zeros((code.max(initial=-1) + 1, there.shape[1]), dtype=bool)
    np.logical_or.at(found, code, there)
    return found.sum(0).astype(np.int64)


def _family(part: Part, grids: Mapping[str, Grid], supported: np.ndarray, seed: int, variant: str) -> MaxT:
    """Max-T over the supported cells of all relations: tails redrawn per document, jointly for all heads and relations."""
    units = sorted(part.opportunities["document"].unique().to_list())
    blocks = [_versions(one, units) for one in grids.values()]
    draws = max(2, *(len(block) for block in blocks))
    values = np.full((draws, len(units), len(blocks) * len(part.heads)), np.nan)
    for i, block in enumerate(blocks):
        if len(block) == draws:  # else nothing passes, or nothing was redrawn
            values[:, :, i * len(part.heads) : (i + 1) * len(part.heads)] = block
    values[:, :, ~supported] = np.nan
    rng = np.random.default_rng(seed_of(seed, f"{part.copy}/{part.corpus}/{variant}"))
    return redraw_max_t(values, rng=rng, min_units=FEWEST_DOCUMENTS)


def _versions(made: Grid, units: Sequence[str]) -> Float[np.ndarray, "draw document cell"]:
    """Per document the mean over triples: of the true tail first, then of every redraw."""
    at = {unit: i for i, unit in enumerate(units)}
    code = np.array([at[unit] for unit in made.documents], dtype=int)
    each = np.concatenate([made.excess[None], made.redrawn])
    total = np.zeros((len(each), len(units), each.shape[-1]))
    count = np.zeros_like(total[0])
    np.add.at(count, code, ~np.isnan(made.excess))
    for k, version in enumerate(each):
        np.add.at(total[k], code, np.nan_to_num(version))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
