"""Does the relation index find planted semantic heads and no decoy, and at which noise (methods.md B8)?

    python -m benchmarks.semantic [--quick] [--seeds 20]

curve: AUROC against the decoys, pooled over seeds, at every noise. Reach: >= .99 without noise, >= .95 at the default .5. Adds to
benchmarks/RESULTS.md; whether its p value is one: `benchmarks.relation_calibration`.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from mnemoscope.engine.sweep import sweep
from mnemoscope.measures.relation_cells import Documents
from mnemoscope.measures.relation_documents import relation_statistics
from mnemoscope.measures.relation_texts import relation_text
from mnemoscope.model.lm import LM, view
from mnemoscope.reference import Planted, planted
from mnemoscope.reference.scoring import Cell, auroc

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="2 seeds, 12 documents")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--documents", type=int, default=12)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = 2 if asked.quick else asked.seeds
    text = f"\n## Semantic induction heads, planted ({seeds} seeds, {asked.documents} documents)\n"
    text += "\n" + table(list(curve(seeds, asked.documents))) + "\n"
    with RESULTS.open("a") as file:
        file.write(text)


def table(rows: list[dict[str, object]]) -> str:
    """Markdown."""
    names = list(rows[0]) if rows else []
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)])


if __name__ == "__main__":
    main()
