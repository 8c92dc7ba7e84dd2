"""Triples x heads as arrays, and the max-T corrected p of all cells of a corpus (methods.md B1.3, B2.1). No torch.

Permutations are joint over all heads and relations. Letters are drawn anew for every document: there tails are redrawn among their
matched candidates, document by document. Elsewhere the same word is a tail in many documents, and a head of random weights that
likes it likes it in all of them: there the excess of each tail, over all its documents, changes its sign.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from mnemoscope.measures.relation_cells import Documents
from mnemoscope.stats.maxt import PERMUTATIONS, MaxT, redraw_max_t, sign_flip_max_t

FEWEST_DOCUMENTS = 10  # B1.3
FEWEST_TAILS = 10


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

    @property
    def units(self) -> list[str]:
        """Documents with a headline opportunity, in order of name."""
        return sorted(self.opportunities.filter(pl.col("other") > 0)["document"].unique().to_list())


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


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Triples x heads of one relation: excess (nan where a head has none), and who the triples are."""

    excess: Float[np.ndarray, "triple cell"]
    events: Float[np.ndarray, "triple cell"]
    redrawn: Float[np.ndarray, "draw triple cell"]
    documents: np.ndarray
    tails: np.ndarray
    together: np.ndarray  # what is permuted together

    @property
    def n_documents(self) -> Int[np.ndarray, " cell"]:
        """Documents behind each cell."""
        return _distinct(self.documents, ~np.isnan(self.excess))

    @property
    def n_tails(self) -> Int[np.ndarray, " cell"]:
        """Different tails behind each cell."""
        return _distinct(self.tails, ~np.isnan(self.excess))

    @property
    def supported(self) -> Bool[np.ndarray, " cell"]:
        """Cells that may be ranked and tested (B1.3)."""
        return (self.n_documents >= FEWEST_DOCUMENTS) & (self.n_tails >= FEWEST_TAILS)

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
            excess=nobody,
            events=nobody,
            redrawn=nobody[None][:0],
            documents=np.empty(0, str),
            tails=np.empty(0),
            together=np.empty(0, str),
        )
    places = rows.select("document", "text", "triple", "tail", "together").unique().sort("document", "text", "triple")
    at = rows.join(places.with_row_index("row"), on=["text", "triple"], maintain_order="left")
    row, cell = at["row"].to_numpy(), at["cell"].to_numpy()
    draws = int(rows["redrawn"].list.len().min() or 0)  # pyright: ignore[reportArgumentType]
    excess = np.full((len(places), n_heads), np.nan)
    events, redrawn = np.zeros_like(excess), np.full((draws, *excess.shape), np.nan)
    excess[row, cell] = (rows["index"] - rows["null"]).to_numpy()
    events[row, cell] = rows["n"].to_numpy()
    if draws:
        redrawn[:, row, cell] = rows["redrawn"].list.head(draws).explode().to_numpy().reshape(-1, draws).T
    documents, tails, together = (places[name].to_numpy() for name in ("document", "tail", "together"))
    return Grid(excess=excess, events=events, redrawn=redrawn, documents=documents, tails=tails, together=together)


def family(
    grids: Sequence[Grid], supported: Bool[np.ndarray, " cell"], rng: np.random.Generator, *, n_perm: int = PERMUTATIONS
) -> MaxT:
    """Max-T over the supported cells of all relations, given relation by relation.

    Where tails recur, a cell's units are its tails: under the null a tail is no better than its matched candidates, so its excess
    is as often above 0 as below. Redrawn document by document, 16 to 36% of corpora on random weights had a p below .05; redrawn
    alike in all documents 14% (simulated), because candidates differ from document to document and the tail does not.
    """
    draws = max(2, *(1 + len(one.redrawn) for one in grids))
    kept = np.split(supported, len(grids))
    if all((one.together == one.documents).all() for one in grids):
        units = sorted({str(unit) for one in grids for unit in one.documents})
        values = [_versions(one, units) for one in grids]
        blocks = [_only(block, draws, mask) for block, mask in zip(values, kept, strict=True)]
        return redraw_max_t(np.concatenate(blocks, axis=-1), rng=rng, n_perm=n_perm, min_units=FEWEST_DOCUMENTS)
    groups = sorted({str(group) for one in grids for group in one.together})
    sums = [np.where(mask, _by_group(one, groups), np.nan) for one, mask in zip(grids, kept, strict=True)]
    return sign_flip_max_t(np.concatenate(sums, axis=-1), rng=rng, n_perm=n_perm, min_units=FEWEST_TAILS)


def _by_group(made: Grid, groups: Sequence[str]) -> Float[np.ndarray, "group cell"]:
    """What each group adds to the sum over documents of means over triples; nan where a cell has none of it."""
    at = {group: i for i, group in enumerate(groups)}
    code = np.array([at[str(group)] for group in made.together], dtype=int)
    there = ~np.isnan(made.excess)
    total, count = np.zeros((len(groups), there.shape[1])), np.zeros((len(groups), there.shape[1]))
    np.add.at(total, code, np.where(there, made.excess * made.weights, 0.0))
    np.add.at(count, code, there)
    return np.where(count > 0, total, np.nan)


def _only(
    block: Float[np.ndarray, "_ item cell"], draws: int, supported: Bool[np.ndarray, " cell"]
) -> Float[np.ndarray, "_draw item cell"]:
    """The block with nan outside the supported cells; nan altogether where nothing passes, or nothing was redrawn."""
    return np.where(supported, block if len(block) == draws else np.full((draws, *block.shape[1:]), np.nan), np.nan)


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


def _distinct(labels: np.ndarray, there: np.ndarray) -> np.ndarray:
    _, code = np.unique(labels, return_inverse=True)
    found = np.zeros((code.max(initial=-1) + 1, there.shape[1]), dtype=bool)
    np.logical_or.at(found, code, there)
    return found.sum(0).astype(np.int64)
