"""Is the corrected p of the relation index a p value (methods.md B2.5)? On models whose weights mean nothing.

    python -m benchmarks.relation_calibration [--sets 1000] [--kinds zoo things trees letters] [--permutations 199]

Every data set is a model of random weights with attention sharp enough to pass the gate, asked a corpus; corpora change every
20 sets. Its p is the smallest max-T corrected p of all supported cells of a variant. zoo: the planted corpus, whose pairs recur
in all documents; things, trees, letters: the built-in corpora with the reference model's tokenizer and shape. Reach: exact 95%
interval of the share below .05 includes .05 or lies below it, sup(F(p) - p) <= .05. Lines are printed every 20 sets.
"""

import argparse
import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl
import torch

import mnemoscope as ms
from mnemoscope.measures.relation_corpora import built_in
from mnemoscope.measures.relation_documents import relation_statistics
from mnemoscope.measures.relation_texts import RelationText, relation_text
from mnemoscope.model.lm import LM, view
from mnemoscope.reference import planted
from mnemoscope.stats.rates import judged_p
from mnemoscope.studies.heads.relation_grids import family, grid

KINDS = ("zoo", "things", "trees", "letters")
VARIANTS = ("src", "ctx_src", "out")
PER_CORPUS = 20  # models asked the same documents


def corpora(kind: str, documents: int) -> Iterator[tuple[LM, tuple[RelationText, ...]]]:
    """A model to be filled with random weights, and what it is asked: a new corpus every time."""
    for seed in itertools.count():
        if kind == "zoo":
            found = planted("semantic", seed=seed, kv_group=2, documents=documents)
            lm = view(found.model, found.tokenizer, name=f"zoo {seed}")
            assert found.corpus is not None
            yield lm, tuple(relation_text(lm, one) for one in found.corpus.documents)
        else:
            lm = ms.load("reference")
            yield lm, built_in(lm, kind, documents=documents, redraws=2, seed=seed).texts(lm)


def scrambled(lm: LM, seed: int) -> LM:
    """The model with weights that mean nothing; queries and keys large, so that attention is sharp."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in lm.model.named_parameters():
        if weight.ndim < 2:
            torch.nn.init.ones_(weight)
            continue
        sharp = 2.5 if any(part in name for part in ("q_proj", "k_proj")) else 1.0
        weight.data = torch.randn(weight.shape, generator=generator) * sharp / weight.shape[-1] ** 0.5
    return view(lm.model, lm.tokenizer, name=f"random {seed}")


def smallest_p(
    lm: LM, texts: tuple[RelationText, ...], seed: int, permutations: int, positions: int
) -> dict[str, float]:
    """Smallest corrected p of every variant; nan without a supported cell."""
    rows = relation_statistics(lm, texts, draws=9, seed=seed, positions=positions).triples
    heads = rows.select("layer", "head").unique().sort("layer", "head").with_row_index("cell")
    rows = rows.join(heads, on=["layer", "head"], maintain_order="left")
    found: dict[str, float] = {}
    for variant in VARIANTS:
        own = rows.filter(pl.col("variant") == variant).partition_by("relation", maintain_order=True)
        grids = [grid(one, heads.height) for one in own]
        supported = np.concatenate([one.supported for one in grids]) if grids else np.zeros(0, bool)
        found[variant] = float("nan")
        if supported.any():
            p = family(grids, supported, np.random.default_rng(seed), n_perm=permutations).p
            found[variant] = float(np.nanmin(p)) if not np.isnan(p).all() else float("nan")
    return found


def judged(kind: str, found: list[dict[str, float]]) -> None:
    """Print what the p values found so far amount to."""
    for variant in VARIANTS:
        p = np.array([one[variant] for one in found])
        p = p[~np.isnan(p)]
        if len(p):
            print(
                f"{kind:8s} {variant:8s} n {len(p):4d}  below .05 {(p <= 0.05).mean():.3f}  {judged_p(p).reason}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--positions", type=int, default=16, help="attending positions per triple")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for kind in asked.kinds:
        found: list[dict[str, float]] = []
        for lm, texts in corpora(kind, asked.documents):
            for _ in range(min(PER_CORPUS, asked.sets - len(found))):
                seed = len(found)
                found.append(smallest_p(scrambled(lm, seed), texts, seed, asked.permutations, asked.positions))
            judged(kind, found)
            if len(found) >= asked.sets:
                break


if __name__ == "__main__":
    main()
