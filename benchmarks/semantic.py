"""Does the relation index find planted semantic heads and no decoy, at which noise, and is its p value one (methods.md B8, B2.5)?

    python benchmarks/semantic.py [--quick] [--seeds 20] [--sets 1000] [--only curve calibration]

curve: AUROC against the decoys, pooled over seeds, at every noise. Reach: >= .99 without noise, >= .95 at the default .5.
calibration: models of random weights with sharpened attention, every one with a corpus of its own; the smallest max-T corrected
p of all supported cells is the p of one null data set. Reach: share below .05 not above it, sup(F(p) - p) <= .05. Adds to
benchmarks/RESULTS.md.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import torch

from mnemoscope.engine.sweep import sweep
from mnemoscope.measures.relation_cells import Documents
from mnemoscope.measures.relation_documents import relation_statistics
from mnemoscope.measures.relation_texts import relation_text
from mnemoscope.model.lm import LM, view
from mnemoscope.reference import Planted, planted
from mnemoscope.reference.scoring import Cell, auroc
from mnemoscope.stats.rates import judged_p
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.relation_inference import parts, relations

NOISES = (0.0, 0.25, 0.5, 1.0, 2.0)
MEASURES = {  # name in the truth -> variant, slice
    "ri_lit": ("lit", "tau"),
    "ri_src": ("src", "tau"),
    "ri_ctx_src": ("ctx_src", "tau"),
    "ri_out": ("out", "tau"),
    "ri_reverse": ("out", "reverse"),
    "ov_gate_free": ("ctx_src", "free"),
}
RESULTS = Path(__file__).with_name("RESULTS.md")


def made(seed: int, noise: float, documents: int) -> tuple[LM, Planted]:
    """A planted zoo, its words and its documents."""
    found = planted("semantic", seed=seed, noise=noise, kv_group=2, documents=documents)
    return view(found.model, found.tokenizer, name=f"zoo {seed}"), found


def scores(lm: LM, found: Planted) -> Mapping[str, dict[Cell, float]]:
    """Excess of every variant, and the effect on the tail at the cue, per head and relation."""
    assert found.corpus is not None
    texts = [relation_text(lm, document) for document in found.corpus.documents]
    rows = relation_statistics(lm, texts)
    documents = Documents.of(rows.documents, rows.opportunities)
    table: dict[str, dict[Cell, float]] = {name: {} for name in (*MEASURES, "cause")}
    for relation in documents.relations:
        for name, (variant, slice_) in MEASURES.items():
            values = documents.mean("excess", slice=slice_, variant=variant, relation=relation).estimate
            table[name] |= {
                (*place, relation): float(v) for place, v in zip(documents.heads.iter_rows(), values, strict=True)
            }
        prompts = [prompt for prompt in found.prompts if prompt.labels["relation"] == relation]
        effect = -sweep(lm, prompts, site="z", op="mean", metric="logit_diff").effects.mean(-1)
        cells = ((layer, head) for layer in range(lm.n_layers) for head in range(lm.n_heads))
        table["cause"] |= {(*place, relation): float(effect[place]) for place in cells}
    return table


def curve(seeds: int, documents: int) -> Iterator[dict[str, object]]:
    """AUROC of every measure at every noise."""
    for noise in NOISES:
        began = time.process_time()
        models = [made(seed, noise, documents) for seed in range(seeds)]
        found = [(one.truth, scores(lm, one)) for lm, one in models]
        row: dict[str, object] = {"noise": noise, "seeds": seeds, "documents": documents}
        for name in (*MEASURES, "cause"):
            score = auroc(name, [(truth, table[name]) for truth, table in found])
            row[name] = round(score.auroc, 4)
        row["cpu s"] = round(time.process_time() - began)
        print(row, flush=True)
        yield row


def scrambled(seed: int, documents: int) -> tuple[LM, Planted]:
    """The architecture and corpus of a zoo with weights that mean nothing, and attention sharp enough to pass the gate."""
    lm, found = made(seed, 0.0, documents)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in found.model.named_parameters():
        if weight.ndim < 2:
            torch.nn.init.ones_(weight)
            continue
        sharp = 2.5 if any(part in name for part in ("q_proj", "k_proj")) else 1.0
        weight.data = torch.randn(weight.shape, generator=generator) * sharp / weight.shape[-1] ** 0.5
    return view(found.model, found.tokenizer, name=lm.name), found


def smallest_p(seed: int, documents: int) -> dict[str, float]:
    """Smallest corrected p of one model of random weights, per variant; nan without a supported cell."""
    lm, found = scrambled(seed, documents)
    assert found.corpus is not None
    rows = relation_statistics(lm, [relation_text(lm, one) for one in found.corpus.documents], draws=9, seed=seed)
    place = {"copy": pl.lit("trained"), "corpus": pl.lit("zoo")}
    tables = {
        "relation_opportunities": rows.opportunities.with_columns(**place),
        "relation_documents": rows.documents.with_columns(**place),
        "relation_triples": rows.triples.with_columns(**place),
    }
    (part,) = parts(tables)
    table = relations(part, Config(seed=seed)).with_columns(pl.col("p_maxt").fill_nan(None))
    least = table.group_by("variant").agg(pl.col("p_maxt").min())
    return {variant: float("nan") if p is None else p for variant, p in least.iter_rows()}


def calibration(sets: int, documents: int) -> Iterator[dict[str, object]]:
    """False positives of the family of all heads and relations."""
    found = [smallest_p(seed, documents) for seed in range(sets)]
    for variant in ("src", "ctx_src", "out"):
        p = np.array([one.get(variant, np.nan) for one in found])
        p = p[~np.isnan(p)]
        if len(p):
            judged = judged_p(p)
            row = {
                "variant": variant,
                "null data sets": len(p),
                "below .05": round(float((p <= 0.05).mean()), 3),
                "judged": judged.reason,
            }
            print(row, flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="2 seeds, 12 documents, 20 null data sets")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=("curve", "calibration"), default=["curve", "calibration"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds, documents, sets = (2, 12, 20) if asked.quick else (asked.seeds, 30, asked.sets)
    text = f"\n## Semantic induction heads, planted ({seeds} seeds, {documents} documents)\n"
    if "curve" in asked.only:
        text += "\n" + table(list(curve(seeds, documents))) + "\n"
    if "calibration" in asked.only:
        text += "\n" + table(list(calibration(sets, documents))) + "\n"
    with RESULTS.open("a") as file:
        file.write(text)


def table(rows: list[dict[str, object]]) -> str:
    """Markdown."""
    names = list(rows[0]) if rows else []
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)])


if __name__ == "__main__":
    main()
