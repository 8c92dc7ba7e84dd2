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
from mnemoscope.measures import attention_patterns
from mnemoscope.measures.induction import head_scores
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled
from mnemoscope.results.attention import NAMED, attention_row, attention_table, whole_allowed
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.heads import HEAD_SEQUENCES
from mnemoscope.results.schema.shared import SHOWN_PROMPTS
from mnemoscope.studies.head_rows import head_rows
from mnemoscope.studies.heads import cause, groups, relations, shown_events
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import repeated, repeated_from, sequences

Rows = list[dict[str, Any]]
SCORE_OF = {"mean": "ablation_loss", "zero": "ablation_loss_zero", "resample": "ablation_loss_resample"}
TITLES = {"random": "Random tokens, repeated", "text": "Running text"}


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one job of the plan."""
    args = job.args
    lm = models("reinitialised") if args.get("copy") == "reinitialised" else models()
    if args["kind"] == "scores":
        return {"head_sequences": _scores(lm, config, args)}
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


def _scores(lm: LM, config: Config, args: Any) -> pl.DataFrame:
    """Attention scores of every head on some sequences of a corpus; copying where they are random tokens, repeated."""
    random = args["corpus"] == "random"
    ids = sequences(lm, config, args["corpus"], args["first"], args["last"])
    found = head_scores(lm, ids, attention_patterns.KINDS, repeated(lm, config, 1) if random else None)
    names = [f"{args['corpus']}-{args['first'] + i:04d}" for i in range(len(ids))]
    place = {"copy": args["copy"], "corpus": args["corpus"]}
    rows = (head_rows(lm, HEAD_SEQUENCES, score, one, names, unit="sequence", **place) for score, one in found.items())
    return pl.concat(rows)


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
