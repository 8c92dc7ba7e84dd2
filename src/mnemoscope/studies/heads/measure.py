"""What a job of the heads study measures: one value per sequence and head. All inference is in `summarise`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.engine.record import record, wanted
from mnemoscope.engine.sweep import sweep
from mnemoscope.measures import attention_patterns, copying
from mnemoscope.model import weights
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled
from mnemoscope.results.attention import NAMED, attention_row, attention_table, whole_allowed
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.heads import HEAD_SEQUENCES
from mnemoscope.results.schema.shared import SHOWN_PROMPTS
from mnemoscope.studies.heads import cause, groups, relations, shown_events
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import lead, repeated_from, sequences

Rows = list[dict[str, Any]]
SCORE_OF = {"mean": "ablation_loss", "zero": "ablation_loss_zero", "resample": "ablation_loss_resample"}
TITLES = {"random": "Random tokens, repeated", "text": "Running text"}


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one job of the plan."""
    args = job.args
    lm = models("reinitialised") if args.get("copy") == "reinitialised" else models()
    if args["kind"] == "scores":
        return {"head_sequences": _table(_scores(lm, config, args))}
    if args["kind"] == "ablate":
        return _ablations(lm, config, args, job.id)
    if args["kind"] == "cause":
        return cause.measure(lm, config, job)
    if args["kind"] == "events":
        return shown_events.measure(lm, config, job)
    if args["kind"] == "groups":
        return groups.measure(lm, config, job)
    if args["kind"] == "relations":
        return relations.measure(lm, config, job)
    return _shown(lm, config, args["corpus"])


def _scores(lm: LM, config: Config, args: Any) -> Rows:
    """Attention scores of every head, layer by layer as the model runs; copying where sequences are random tokens."""
    ids = sequences(lm, config, args["corpus"], args["first"], args["last"])
    random = args["corpus"] == "random"
    queries = torch.ones_like(ids, dtype=torch.bool)
    queries[:, : repeated_from(lm, config) if random else 1] = False
    goals = {kind: attention_patterns.targets(ids, kind) for kind in attention_patterns.KINDS}
    every = {kind: torch.ones_like(queries) if kind == "previous_token" else queries for kind in goals}
    chance = {kind: attention_patterns.chance(goal, every[kind]) for kind, goal in goals.items()}
    counts = {kind: (every[kind] & goal.any(-1)).sum(-1) for kind, goal in goals.items()}
    place = {"copy": args["copy"], "corpus": args["corpus"]}
    rows: Rows = []
    seen: dict[int, Tensor] = {}

    def layer_done(layer: int, found: Any) -> None:
        pattern = found["pattern"].permute(0, 2, 1, 3)  # batch head query key
        for kind, goal in goals.items():
            values = attention_patterns.attention_to(pattern, goal, every[kind])
            rows.extend(_rows(place, layer, kind, values, chance[kind], counts[kind], args["first"]))
        seen[layer] = found["v"]

    batch = tokenize(lm, ids)
    columns = torch.arange(ids.shape[1], device=lm.device).expand(len(batch), -1)
    record(lm, batch, wanted(lm, ("pattern", "v"), None), columns, layer_done)
    for layer, value in seen.items() if random else ():  # weights are found by running modules: not while recording
        for kind, values in _copying(lm, layer, ids, value, config).items():
            even, size = torch.full((len(ids),), 1 / config.distinct), torch.full((len(ids),), config.distinct)
            rows.extend(_rows(place, layer, kind, values, even, size, args["first"]))
    return rows


def _copying(
    lm: LM,
    layer: int,
    ids: Int[Tensor, "batch pos"],
    values: Float[Tensor, "batch pos kv_head d_value"],
    config: Config,
) -> dict[str, Float[Tensor, "batch head"]]:
    """Copying of each sequence's own tokens, literally and from the values at their first occurrence; nan without W."""
    shape = lm.shapes[layer]
    assert shape is not None
    kv = list(shape.kv_head_of)
    front = len(lead(lm))
    here = slice(front, front + config.distinct)
    found = {kind: torch.full((len(ids), shape.n_heads), torch.nan) for kind in ("copying", "copying_contextual")}
    lacking = {name: weights.weight_reason(lm, name, layer) for name in ("W_V", "W_O", "W_U", "W_E")}
    if lacking["W_O"] or lacking["W_U"]:
        return found
    W_O, W_U = weights.W_O(lm, layer).float(), weights.W_U(lm).float()
    for b, tokens in enumerate(ids[:, here]):
        seen = values[b, here].float().permute(1, 0, 2)[kv]  # head example d_value
        logits, largest = copying.contextual_logits(seen, W_O, W_U[:, tokens])
        found["copying_contextual"][b] = copying.own_share(logits, largest).nanmean(-1).cpu()
        if not (lacking["W_V"] or lacking["W_E"]):
            W_V = weights.W_V(lm, layer).float()[kv]
            logits, largest = copying.literal_logits(weights.W_E(lm)[tokens].float(), W_V, W_O, W_U[:, tokens])
            found["copying"][b] = copying.own_share(logits, largest).nanmean(-1).cpu()
    return found


def _ablations(lm: LM, config: Config, args: Any, job: str) -> dict[str, pl.DataFrame]:
    """Rise of the loss on repeated tokens when a head's z is replaced at all positions.

    mean: by its mean over the job's sequences at the same position; zero: by 0; resample: by its value in the next sequence.
    """
    ids = sequences(lm, config, "random", args["first"], args["last"])
    source = torch.roll(ids, 1, dims=0) if args["op"] == "resample" else None
    found = sweep(
        lm,
        ids,
        source,
        site="z",
        op="replace" if args["op"] == "resample" else args["op"],
        layers=args["layers"],
        positions="all",
        readout=tuple(range(repeated_from(lm, config) - 1, ids.shape[1] - 1)),
        metric="loss",
        budget=config.budget,
    )
    place = {"copy": args["copy"], "corpus": "random"}
    size = torch.full((len(ids),), ids.shape[1] - repeated_from(lm, config))
    rows: Rows = []
    for index, layer in enumerate(args["layers"]):
        effects = torch.from_numpy(np.ascontiguousarray(found.effects[index].T))
        rows += _rows(place, layer, SCORE_OF[args["op"]], effects, torch.zeros(len(ids)), size, args["first"])
    return {"head_sequences": _table(rows), "verification": proven(job, found.verification)}


def _rows(
    place: dict[str, str],
    layer: int,
    score: str,
    values: Float[Tensor, "batch head"],
    chance: Float[Tensor, " batch"],
    n: Int[Tensor, " batch"],
    first: int,
) -> Rows:
    return [
        {
            **place,
            "layer": layer,
            "head": head,
            "score": score,
            "sequence": f"{place['corpus']}-{first + b:04d}",
            "value": float(value),
            "chance": float(chance[b]),
            "n": int(n[b]) if value == value else 0,
        }
        for b, row in enumerate(values.tolist())
        for head, value in enumerate(row)
    ]


def _table(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=HEAD_SEQUENCES.schema)


def _shown(lm: LM, config: Config, corpus: str) -> dict[str, pl.DataFrame]:
    """One sequence with the last token's attention in all heads, and whole patterns of the best prefix-matching heads."""
    ids = sequences(lm, config, corpus, 0, 3)[:1]
    patterns = _patterns(lm, ids)
    query = ids.shape[1] - 1
    whole = _best_matching(ids, patterns) if whole_allowed(NAMED - 1, 0, query + 1) else set[tuple[int, int]]()
    rows: Rows = [
        attention_row(corpus, layer, head, i, pattern[head, i].float().cpu().numpy())
        for layer, pattern in patterns.items()
        for head in range(len(pattern))
        for i in (range(query + 1) if (layer, head) in whole else (query,))
    ]
    shown = {
        "prompt": corpus,
        "title": TITLES[corpus],
        "tokens": list(all_spelled(lm, ids[0].tolist())),
        "query": query,
    }
    return {
        "attention_rows": attention_table(rows),
        "shown_prompts": pl.DataFrame([shown], schema=SHOWN_PROMPTS.schema),
    }


def _patterns(lm: LM, ids: Int[Tensor, "batch pos"]) -> dict[int, Float[Tensor, "head query key"]]:
    """Layer -> attention patterns of the first sequence."""
    patterns: dict[int, Float[Tensor, "head query key"]] = {}

    def layer_done(layer: int, found: Any) -> None:
        patterns[layer] = found["pattern"][0].permute(1, 0, 2)

    columns = torch.arange(ids.shape[1], device=lm.device)[None]
    record(lm, tokenize(lm, ids), wanted(lm, ("pattern",), None), columns, layer_done)
    return patterns


def _best_matching(
    ids: Int[Tensor, "batch pos"], patterns: dict[int, Float[Tensor, "head query key"]]
) -> set[tuple[int, int]]:
    """The heads whose prefix matching on this very sequence is highest (first heads where nothing repeats)."""
    goal = attention_patterns.targets(ids, "prefix_matching")
    here: Bool[Tensor, "batch pos"] = torch.ones_like(ids, dtype=torch.bool)
    ranked = sorted(
        (-float(torch.nan_to_num(score)), layer, head)
        for layer, pattern in patterns.items()
        for head, score in enumerate(attention_patterns.attention_to(pattern[None], goal, here)[0])
    )
    return {(layer, head) for _, layer, head in ranked[:NAMED]}
