"""Group ablation (B5, C1.7): the semantic heads against ordinary induction heads and against layer-matched random sets.

A job chooses its groups itself, from material of its own seed: semantic heads by RI-out per opportunity above its null on every
other document, ordinary ones by prefix matching x copying on random sequences. At most a quarter of a layer's heads are in a
group. Random sets are matched to the semantic group; with `thorough` also to the ordinary one.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.errors import PromptError
from mnemoscope.measures.group_ablation import LEVELS, Head, Levels, Material, levels_without, mean_z
from mnemoscope.measures.icl_levels import chance, fitting, label_sets, narratives
from mnemoscope.measures.induction import induction_scores, repeated_tokens
from mnemoscope.measures.relation_cells import Documents
from mnemoscope.measures.relation_documents import relation_statistics
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.schema.relation_cause import RELATION_GROUPS
from mnemoscope.stats.layer_matched import layer_matched
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import relation_corpus
from mnemoscope.studies.heads.relation_links import halves

QUARTER = 4  # a group holds at most 1 / QUARTER of a layer's heads
MEAN_TEXTS = 6
Scores = dict[Head, float]


def measure(lm: LM, config: Config, job: Job) -> dict[str, pl.DataFrame]:
    """Levels of in-context learning without each group of k heads, and without its random counterparts first .. last - 1."""
    k, first, last = job.args["k"], job.args["first"], job.args["last"]
    semantic = semantic_scores(lm, config, job.args["corpus"])
    groups = chosen_groups(semantic, ordinary_scores(lm, config), k, lm.n_heads)
    stuff = material(lm, config)
    means = mean_z(lm, narratives(MEAN_TEXTS, seed_of(config.seed, "means of z") % 2**31))
    try:
        whole = levels_without(lm, (), stuff, means)
    except PromptError:  # labels that this tokenizer cannot tell apart: the losses are left
        stuff = Material(texts=stuff.texts, prompts=())
        whole = levels_without(lm, (), stuff, means)
    rows = _rows(k, "none", 0, "mean", (), True, whole, stuff) if first == 0 else []
    for name, heads in groups.items() if first == 0 else ():
        for op in () if not heads else ("mean", "zero") if name == "semantic" else ("mean",):
            rows += _rows(k, name, 0, op, heads, True, levels_without(lm, heads, stuff, means, op=op), stuff)
    for name in ("semantic", "ordinary") if config.thorough else ("semantic",):
        if not groups[name]:
            continue
        rng = np.random.default_rng(seed_of(config.seed, f"random sets/{name}/{k}"))
        others = layer_matched(groups[name], list(semantic), rng=rng, most=config.random_sets)
        for number, heads in enumerate(others.sets[first:last], start=first):
            found = levels_without(lm, heads, stuff, means)
            rows += _rows(k, f"random_{name}", number, "mean", heads, others.complete, found, stuff)
    return {"relation_groups": pl.DataFrame(rows, schema=RELATION_GROUPS.schema)}


def semantic_scores(lm: LM, config: Config, name: str) -> Scores:
    """RI-out per opportunity above its null, mean over relations and over every other document that has a usable triple."""
    corpus = relation_corpus(lm, config, name)
    texts = {text.document.unit: text for text in reversed(corpus.texts(lm)) if len(text.pairs)}
    usable = [texts[unit] for unit in corpus.units if unit in texts]
    chosen = [text for text, chooses in zip(usable, halves(len(usable))[0], strict=True) if chooses]
    found = relation_statistics(lm, chosen, positions=config.positions, seed=config.seed)
    every = [
        (layer, head) for layer, shape in enumerate(lm.shapes) if shape is not None for head in range(shape.n_heads)
    ]
    heads = pl.DataFrame(every, schema={"layer": pl.Int64, "head": pl.Int64}, orient="row")
    documents = Documents.of(found.documents, found.opportunities, heads)
    total, count = np.zeros(len(every)), 0
    for relation in documents.relations:
        values, _ = documents.matrix("excess_per_opportunity", slice="tau", variant="out", relation=relation)
        total, count = total + values.sum(0), count + len(values)
    return dict(zip(every, (total / max(count, 1)).tolist(), strict=True))


def ordinary_scores(lm: LM, config: Config) -> Scores:
    """Prefix matching x copying in context on repeated random tokens; prefix matching alone where copying is undefined."""
    repeated = repeated_tokens(lm, 8, seed_of(config.seed, "repeated for groups") % 2**31, distinct=config.distinct)
    found = induction_scores(lm, repeated)
    looks = found["prefix_matching"].values.mean(0)
    copies = np.nanmean(np.nan_to_num(found["copying_contextual"].values, nan=0.0), axis=0)
    both = looks * (copies if copies.any() else 1.0)
    return {
        (layer, head): float(both[layer, head])
        for layer, shape in enumerate(lm.shapes)
        if shape is not None
        for head in range(shape.n_heads)
    }


def chosen_groups(semantic: Scores, ordinary: Scores, k: int, n_heads: int) -> dict[str, tuple[Head, ...]]:
    """semantic, ordinary, and semantic heads that are not among the ordinary ones; heads of score <= 0 are not chosen."""
    plain = top(ordinary, k, n_heads)
    without = {head: score for head, score in semantic.items() if head not in plain}
    return {
        "semantic": top(semantic, k, n_heads),
        "ordinary": plain,
        "semantic_not_ordinary": top(without, k, n_heads),
    }


def top(scores: Scores, k: int, n_heads: int) -> tuple[Head, ...]:
    """The k heads of the largest positive scores, at most a quarter of a layer's heads (and one at least) from each layer."""
    most = max(1, n_heads // QUARTER)
    picked: list[Head] = []
    for head in sorted(scores, key=lambda one: (-scores[one], one)):
        if len(picked) < k and scores[head] > 0 and Counter(layer for layer, _ in picked)[head[0]] < most:
            picked.append(head)
    return tuple(picked)


def material(lm: LM, config: Config) -> Material:
    """Texts and label prompts on which groups are judged, the same for all."""
    texts = narratives(config.group_texts, seed_of(config.seed, "texts of groups") % 2**31)
    sets = [
        prompt
        for task in config.group_tasks
        for prompt in label_sets(
            task, config.group_sets, seed_of(config.seed, task) % 2**31, shots=(config.group_shots,)
        )
    ]
    return Material(texts=texts, prompts=fitting(lm, sets)[0])


def _rows(
    k: int, name: str, number: int, op: str, heads: Sequence[Head], complete: bool, found: Levels, stuff: Material
) -> list[dict[str, Any]]:
    place = {
        "k": k,
        "group": name,
        "set": number,
        "op": op,
        "heads": " ".join(f"L{layer}H{head}" for layer, head in sorted(heads)),
        "complete": complete,
    }
    by_chance = [chance(prompt)["restricted"] for prompt in stuff.prompts]
    return [
        {
            **place,
            "level": level,
            "unit": unit,
            "item": i,
            "value": float(value),
            "chance": by_chance[i] if level in ("pattern", "right") else float("nan"),
        }
        for level in LEVELS
        if level in found.values
        for i, (unit, value) in enumerate(zip(found.units(level, stuff), found.values[level], strict=True))
    ]
