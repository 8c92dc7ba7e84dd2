"""Does the recall study find what was planted? AUROC against the decoys over seeds, and how often claims come out right.

    python -m benchmarks.recall_planted [--seeds 20] [--noise 0.5] [--quick]

Kind "recall" of the planted models (methods.md B8), families alternating. Scores are taken from the study's tables:

    move      attention to the topic x direct write of the topic x drop of the answer when exchanged     heads
    apply     direct attribution to the answer minus another topic's answer                              heads and MLPs
    erase     minus the smallest causal weight that any MLP gives to it, between topics or templates     heads
    suppress  write against the answer in the last layer                                                 heads and MLPs

A part without a number has the worst rank. Reach: every AUROC at least .95 at noise .5 over 20 seeds.
"""

import argparse
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import torch

from mnemoscope.data import jsonl
from mnemoscope.model.lm import view
from mnemoscope.reference import planted
from mnemoscope.reference.planting.truth import Truth
from mnemoscope.reference.scoring import Cell, auroc
from mnemoscope.runner import Run, run

SIZES = {"topics": 12, "relations": 2, "templates": 4, "distractors": 4}
MEASURES = ("move", "apply", "erase", "suppress")


def studied(seed: int, noise: float, folder: Path) -> tuple[Truth, Run]:
    """One planted model and the study of it."""
    made = planted("recall", family=("llama", "gpt2")[seed % 2], seed=seed, noise=noise, **SIZES)
    path = folder / f"facts-{seed}.jsonl"
    jsonl.write(path, made.prompts)
    lm = view(made.model, made.tokenizer, name=f"planted-{seed}")
    out = folder / f"run-{seed}"
    return made.truth, run("recall", lm, out=out, quiet=True, threads=1, data=str(path), templates=2)


def scores(tables: Mapping[str, pl.DataFrame]) -> dict[str, dict[Cell, float]]:
    """Measure -> part -> score."""
    if "effects" not in tables:
        return {name: {} for name in MEASURES}
    trained = pl.col("copy") == "trained"
    at = ["layer", "head"]
    swapped = tables["effects"].filter(
        trained & (pl.col("facts") == "all") & (pl.col("shots") == 0) & (pl.col("method") == "interchange")
    )
    looks = tables["component_prompts"].filter(trained & (pl.col("part") == "head")).group_by(at)
    means = looks.agg(pl.col("attention").mean(), pl.col("to_topic").mean()).join(swapped, on=at)
    product = pl.col("attention") * pl.col("to_topic").clip(0) * (-pl.col("estimate")).clip(0)
    direct = tables["components"].filter(
        trained
        & (pl.col("facts") == "all")
        & (pl.col("target") == "answer_foil")
        & pl.col("part").is_in(["head", "mlp"])
    )
    found = {"move": _cells(means.with_columns(score=product)), "apply": _cells(direct.with_columns(score="estimate"))}
    return {**found, "erase": _erased(tables), "suppress": _suppressed(tables)}


def _cells(frame: pl.DataFrame) -> dict[Cell, float]:
    return {(row["layer"], row["head"], ""): float(row["score"]) for row in frame.iter_rows(named=True)}


def _erased(tables: Mapping[str, pl.DataFrame]) -> dict[Cell, float]:
    weights = tables["mlp_weights"].filter(
        (pl.col("copy") == "trained") & pl.col("part").str.contains(r"^L\d+H\d+$") & pl.col("estimate").is_not_nan()
    )
    least = weights.group_by("part").agg(pl.col("estimate").min())
    places = {row["part"]: row["part"][1:].split("H") for row in least.iter_rows(named=True)}
    return {
        (int(places[row["part"]][0]), int(places[row["part"]][1]), ""): -float(row["estimate"])
        for row in least.iter_rows(named=True)
    }


def _suppressed(tables: Mapping[str, pl.DataFrame]) -> dict[Cell, float]:
    rows = tables["last_layer_components"].filter(pl.col("copy") == "trained")
    found: dict[Cell, float] = {}
    for row in rows.iter_rows(named=True):
        if head := re.fullmatch(r"L(\d+)H(\d+)", row["part"]):
            found[int(head[1]), int(head[2]), ""] = float(row["estimate"])
        elif mlp := re.fullmatch(r"L(\d+)\.mlp", row["part"]):
            found[int(mlp[1]), -1, ""] = float(row["estimate"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--quick", action="store_true", help="4 seeds")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, list[tuple[Truth, dict[Cell, float]]]] = {name: [] for name in MEASURES}
    verdicts: dict[tuple[str, str], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(4 if asked.quick else asked.seeds):
            truth, result = studied(seed, asked.noise, Path(folder))
            for name, values in scores(result.tables).items():
                models[name].append((truth, values))
            for claim, verdict in result.tables["claims"].select("claim", "verdict").iter_rows():
                key = (claim.split()[0], verdict)
                verdicts[key] = verdicts.get(key, 0) + 1
    for name in MEASURES:
        found = auroc(name, models[name], relations=False)
        print(
            f"{name}: AUROC {found.auroc:.3f} ({found.n_positive} against {found.n_negative} parts, {found.unscored} unscored, "
            f"{found.n_models} models, noise {asked.noise:g}){' ' + found.reason if found.reason else ''}"
        )
    for (claim, verdict), n in sorted(verdicts.items()):
        print(f"{claim} {verdict}: {n}")


if __name__ == "__main__":
    main()
