"""How much noise do the measures of ordinary induction bear? AUROC against the decoys over the noise curve of methods B8.

    python -m benchmarks.planted_noise [--seeds 20] [--quick]

Noise is |noise|_F / |planted block|_F in {0, .25, .5, 1, 2}, .5 the default of every planted model. Kind "induction", families
alternating. Measures, each from the engine's own recording and sweeps:

    prefix_matching, duplicate_token, previous_token   attention to the target keys, second copy on
    copying           share of a word's own logit in what the OV circuit (weights) does to its embedding
    ablation_loss     fall of the log probability of the answer when z is set to zero everywhere (prompts differ in length): cause

`accuracy` says whether the circuit still works at that noise: where it does not, no measure can be blamed. The studies of
semantic heads and of recall have curves of their own (`recall_planted` here, `--noise`).
"""

import argparse
from collections.abc import Mapping
from functools import partial

import polars as pl
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import sweep
from mnemoscope.measures import attention_patterns, copying
from mnemoscope.model import weights
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.reference import planted
from mnemoscope.reference.planting.build import Planted
from mnemoscope.reference.planting.truth import Truth
from mnemoscope.reference.scoring import Cell, auroc

NOISE = (0.0, 0.25, 0.5, 1.0, 2.0)
SIZES = {"vocabulary": 26, "period": 12, "repeats": 3, "documents": 8, "distractors": 4}
MEASURES = (*attention_patterns.KINDS, "copying", "ablation_loss")


def scores(made: Planted) -> tuple[dict[str, dict[Cell, float]], float]:
    """Measure -> head -> score, and the share of prompts that the model answers."""
    lm = view(made.model, made.tokenizer, name="planted")
    found = {kind: _named(_attention(lm, made, kind)) for kind in attention_patterns.KINDS}
    found["copying"] = _named(torch.stack([_copied(lm, made, layer) for layer in range(lm.n_layers)]))
    lost = sweep(lm, list(made.prompts), site="z", op="zero", positions="all", metric="logprob")
    found["ablation_loss"] = _named(-torch.as_tensor(lost.effects).float().mean(-1))
    return found, _accuracy(lm, made)


def _named(values: Float[Tensor, "layer head"]) -> dict[Cell, float]:
    return {(i, j, ""): float(x) for i, row in enumerate(values) for j, x in enumerate(row)}


def _attention(lm: LM, made: Planted, kind: str) -> Float[Tensor, "layer head"]:
    """Attention to the target keys of a kind at the second and later copies."""
    batch = tokenize(lm, list(made.prompts))
    recorded = trace(lm, batch, sites=("pattern",), positions="all")
    wanted = attention_patterns.targets(batch.ids, kind)
    place = torch.arange(batch.ids.shape[1])[None, :]
    period = int(made.truth.facts["period"])
    queries = (place > period) & batch.mask.bool()
    rows = (rearrange(recorded.at("pattern", layer), "b query h key -> b h query key") for layer in range(lm.n_layers))
    return torch.stack([attention_patterns.attention_to(row, wanted, queries).mean(0) for row in rows])


def _copied(lm: LM, made: Planted, layer: int) -> Float[Tensor, " head"]:
    tokens = torch.tensor([lm.tokenizer(f" {word}")["input_ids"][-1] for word in made.truth.facts["words"]])
    value = weights.W_V(lm, layer)[list(lm.kv_head_of)]
    logits, largest = copying.literal_logits(
        weights.W_E(lm)[tokens], value, weights.W_O(lm, layer), weights.W_U(lm)[:, tokens]
    )
    return copying.own_share(logits, largest).nan_to_num(0.0).mean(1)


def _accuracy(lm: LM, made: Planted) -> float:
    coded = made.tokenizer([p.text for p in made.prompts], return_tensors="pt", padding=True)
    last = coded["attention_mask"].sum(1) - 1
    with torch.no_grad():
        top = lm.model(**coded).logits[torch.arange(len(last)), last].argmax(-1)
    gold = torch.tensor([made.tokenizer(p.answer)["input_ids"][-1] for p in made.prompts])
    return float((top == gold).float().mean())


def curve(seeds: int, levels: tuple[float, ...] = NOISE) -> pl.DataFrame:
    """One row per noise and measure: AUROC with its counts, and the accuracy of the models."""
    rows: list[Mapping[str, object]] = []
    for noise in levels:
        models: dict[str, list[tuple[Truth, dict[Cell, float]]]] = {name: [] for name in MEASURES}
        right = []
        for seed in range(seeds):
            made = planted("induction", family=("llama", "gpt2")[seed % 2], seed=seed, noise=noise, **SIZES)
            found, accuracy = scores(made)
            right.append(accuracy)
            for name in MEASURES:
                models[name].append((made.truth, found[name]))
        pooled = map(partial(_scored, models=models), MEASURES)
        rows += [{"noise": noise, "accuracy": sum(right) / len(right), **row} for row in pooled]
    return pl.DataFrame(rows)


def _scored(name: str, *, models: Mapping[str, list[tuple[Truth, dict[Cell, float]]]]) -> dict[str, object]:
    score = auroc(name, models[name], relations=False)
    return {
        "measure": name,
        "auroc": score.auroc,
        "positive": score.n_positive,
        "negative": score.n_negative,
        "unscored": score.unscored,
        "models": score.n_models,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="2 seeds, noise 0 and .5")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = curve(2, (0.0, 0.5)) if asked.quick else curve(asked.seeds)
    with pl.Config(tbl_rows=-1, tbl_width_chars=120):
        print(found)


if __name__ == "__main__":
    main()
