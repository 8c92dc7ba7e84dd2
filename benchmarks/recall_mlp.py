"""Erased heads, the answering MLP and the suppressor on planted fact circuits with noise, by the measures alone.

    python -m benchmarks.recall_mlp [--seeds 20] [--quick] [--noise 0.5]

Planted: AUROC against the decoys, pooled over seeds (methods.md B8), the write term of the suppressor against what was planted,
and flips by the planted movers with the control of B6.6 on both kinds of circuit. The whole study on them is `recall_planted`, on
random weights `recall_random`.
"""

import argparse

import numpy as np
import torch

from mnemoscope.measures.answer_rows import answer_rows, final_scale
from mnemoscope.measures.function_application import exchange, named, of_heads
from mnemoscope.measures.last_layer import last_layer, token_drop
from mnemoscope.measures.mlp_activation import along, askable, asked, readings
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import view
from mnemoscope.reference import planted
from mnemoscope.reference.scoring import MLP, auroc

SIZES = {"topics": 8, "relations": 2, "templates": 3}


def token(made, word):
    return made.tokenizer.convert_tokens_to_ids(word.strip())


def scored(made):
    """measure -> cell -> value, from one planted model, and the write term as a share of the planted one."""
    lm = view(made.model, made.tokenizer, name="planted")
    heads = [(h.layer, h.head) for h in made.truth.heads]
    layers = askable(lm)
    change, size, push = {}, {}, {}
    for relation in made.relations:
        prompts = [p for p in made.prompts if p.labels["relation"] == relation.name]
        batch = tokenize(lm, prompts)
        found = readings(lm, batch, layers, heads)
        answered = asked(lm, found, {"pooled": torch.zeros(len(prompts), dtype=torch.long)})
        words = [f.answer for f in relation.facts]
        rows = answer_rows(lm, torch.tensor([token(made, w) for w in words]))
        own = torch.tensor([words.index(p.answer.strip()) for p in prompts])
        along_own = rows[own] - (rows.sum(0) - rows[own]) / (len(words) - 1)
        scale = final_scale(lm, last_layer(lm, batch).after)
        for layer in layers:
            one = answered[layer]
            c, s = along(one.change["pooled"], one.d["pooled"])
            for i, head in enumerate(found[layer].heads):
                if one.varies["pooled"][i]:
                    change[layer, head] = change.get((layer, head), 0.0) + float(c[i].sum())
                    size[layer, head] = size.get((layer, head), 0.0) + float(s[i].sum())
                if head[0] == layer:
                    value = float(((found[layer].parts[i] * along_own).sum(-1) / scale).mean())
                    push[(*head, "")] = push.get((*head, ""), 0.0) + value
            value = float(((found[layer].output * along_own).sum(-1) / scale).mean())
            push[layer, MLP, ""] = push.get((layer, MLP, ""), 0.0) + value
    answering = max(layers, key=lambda layer: push[layer, MLP, ""])
    erased = {(*h, ""): -change[l, h] / size[l, h] for l, h in change if l == answering}
    batch = tokenize(lm, made.prompts)
    drops = token_drop(lm, last_layer(lm, batch), torch.tensor([token(made, p.answer) for p in made.prompts]))
    names = last_layer(lm, batch).components
    parts = drops.drop.parts.mean(1).tolist()
    suppress = {(c.layer, MLP if c.kind == "mlp" else c.head, ""): v for c, v in zip(names, parts, strict=True)}
    share = float(drops.drop.write.mean()) / made.truth.facts["suppression"]["centred_logits"]
    return {"erase": erased, "apply": push, "suppress": suppress}, share


def flips(kind, seed, noise):
    """Shares of prompts that answer r(X') within the relation; and r(X'), r'(X') under the control.

    Over prompts that the model answers by itself, as it does the prompts that they are exchanged with: with noise it does
    not know all of its facts.
    """
    made = planted(kind, seed=seed, noise=noise, **SIZES)
    lm = view(made.model, made.tokenizer, name=kind)
    first, second = made.relations[:2]
    own, its = (
        [p for p in made.prompts if (p.labels["relation"], p.labels["template"]) == (r.name, r.templates[0])]
        for r in (first, second)
    )
    movers = [(h.layer, h.head) for h in made.truth.of_kind("mover" if kind == "recall" else "attribute_mover")]
    turned, across = [*own[1:], own[0]], [*its[1:], its[0]]
    names = [
        {token(made, p.answer): "own", token(made, q.answer): "partner", token(made, r.answer): "attribute"}
        for p, q, r in zip(own, turned, across, strict=True)
    ]
    cells = {"movers": of_heads(movers)}
    runs = exchange(lm, own, turned, cells)
    right = np.array([w == "own" for w in named(runs.base, names)])
    its_right = np.array([w == "own" for w in named(exchange(lm, its, its, cells).base, _alone(made, its))])
    within = np.array(named(runs.patched["movers"], names))
    control = np.array(named(exchange(lm, own, across, cells).patched["movers"], names))
    both = right & np.roll(right, -1)
    three = both & np.roll(its_right, -1)
    return (
        (within[both] == "partner").tolist(),
        (control[three] == "partner").tolist(),
        (control[three] == "attribute").tolist(),
    )


def _alone(made, prompts):
    return [{token(made, p.answer): "own"} for p in prompts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 seeds instead of 20")
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(3 if options.quick else options.seeds)
    models, shares = [], []
    for seed in seeds:
        made = planted("recall", seed=seed, noise=options.noise, **SIZES)
        values, share = scored(made)
        models.append((made.truth, values))
        shares.append(share)
    for measure in ("erase", "apply", "suppress"):
        found = auroc(measure, [(truth, values[measure]) for truth, values in models], relations=False)
        print(
            f"{measure:9} AUROC {found.auroc:.4f} ({found.n_positive} planted, {found.n_negative} decoys, "
            f"{found.unscored} unscored, {found.n_models} models, noise {options.noise:g})"
        )
    print(f"write term / planted: {np.mean(shares):.3f}, {min(shares):.3f} to {max(shares):.3f}")
    for kind in ("recall", "attribute"):
        for noise in dict.fromkeys((0.0, options.noise)):
            found = zip(*(flips(kind, seed, noise) for seed in seeds), strict=True)
            within, topic, attribute = ([value for part in parts for value in part] for parts in found)
            print(
                f"{kind:9} noise {noise:g}: flips {np.mean(within):.3f} of {len(within)}; control: topic {np.mean(topic):.3f}, "
                f"attribute {np.mean(attribute):.3f} of {len(topic)}"
            )


if __name__ == "__main__":
    main()
