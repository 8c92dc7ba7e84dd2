"""The answers without the heads whose attention to the relevant sentence rises with examples (B7.6, B5), on a job's items.

Heads, random sets and means are those of all items (`cause_selection`). Interventions are made at the tokens that predict a token
of the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.measures.answer_margin import SAID, Forced, Judged, judged
from mnemoscope.measures.prompt_groups import groups
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.icl_cause import ABLATIONS, HEAD_CHANGES, HEAD_RISES, RUNS
from mnemoscope.stats.layer_matched import Head
from mnemoscope.studies.icl.cause_items import Item, Rows, part, place_of
from mnemoscope.studies.icl.cause_selection import Chosen, chosen, forced_run, judging, means, random_sets
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """One run of a job's items with answers behind it, and where its sentences stand."""

    forced: Forced
    relevant: Bool[Tensor, "item pos"]
    distractor: Bool[Tensor, "item pos"]


def asked_run(lm: LM, prompts: Sequence[Prompt], first: int) -> Asked:
    """The relevant sentence, and one distractor: of those, the next in the text for even items, the one after for odd ones.

    Informative positions go round evenly over items, so both sentences stand everywhere equally often. first: which of all items
    the first of these is.
    """
    batch, asked = forced_run(lm, prompts)
    there = groups(lm, batch)
    on = {name: torch.zeros_like(asked.batch.mask) for name in ("relevant", "distractor")}
    for i, (place, own) in enumerate(zip(there.place, there.sentences, strict=True)):
        turn = 1 + (first + i) % (len(own) - 1)
        on["relevant"][i, list(own[place])] = True
        on["distractor"][i, list(own[(place + turn) % len(own)])] = True
    return Asked(forced=asked, **on)


def ablations(job: Job, config: Config, lm: LM, design: Design, every: Sequence[Item]) -> dict[str, pl.DataFrame]:
    """icl_ablations: the chosen heads in both runs by every op, random sets in both runs by their mean.

    icl_head_changes: every head alone, behind examples. icl_head_rises: what heads were chosen by, from the first job alone.
    """
    picked = chosen(job, config, lm, design, every)
    tables = {"icl_head_rises": _rises(job, picked)} if job.args["first"] == 0 else {}
    if not picked.heads:
        return {**tables, "icl_head_changes": HEAD_CHANGES.empty(), "icl_ablations": ABLATIONS.empty()}
    layers = sorted({layer for layer, _ in picked.rise})
    sets = random_sets(job, config, picked)
    named = [(i, heads, "mean") for i, heads in enumerate((picked.heads, *sets.sets))]
    named += [(0, picked.heads, "resample"), (0, picked.heads, "zero")]
    rows: Rows = []
    single: Rows = []
    proofs: list[Judged] = []
    for run, condition in zip(RUNS, (design.before, design.after), strict=True):
        alone = [head for head in picked.rise if run == "after"]
        at = means(job, config, lm, condition, every, layers)
        cells = [_replaced(heads, op, at) for _, heads, op in named] + [_replaced([head], "mean", at) for head in alone]
        found = _without(job, config, lm, [item.under[condition] for item in every], cells)
        for cell, (number, heads, op) in enumerate(named):
            more = {"run": run, "set": number, "heads": spelled(heads), "op": op, "complete": sets.complete}
            rows += [{**row, **more} for row in _changes(job, every, found, cell)]
        for cell, (layer, head) in enumerate(alone, start=len(named)):
            kept = [row for row in _changes(job, every, found, cell) if row.pop("judging")]
            single += [{**row, "layer": layer, "head": head} for row in kept]
        proofs.append(found)
    return {
        **tables,
        "icl_head_changes": pl.DataFrame(single, schema=HEAD_CHANGES.schema),
        "icl_ablations": pl.DataFrame(rows, schema=ABLATIONS.schema),
        "verification": proven(job.id, *(one.verification for one in proofs)),
    }


def _without(job: Job, config: Config, lm: LM, prompts: Sequence[Prompt], cells: Sequence[Cell]) -> Judged:
    """The job's items in patched runs; beside each its neighbour among all items, which values are taken from."""
    neighbours = [*prompts[1:], prompts[0]]
    _, asked = forced_run(lm, prompts[part(job)])
    _, others = forced_run(lm, neighbours[part(job)])
    return judged(lm, asked, cells, sources=[others.batch], budget=config.budget)


def spelled(heads: Sequence[Head]) -> str:
    """L3H5 L4H0"""
    return " ".join(f"L{layer}H{head}" for layer, head in sorted(heads))


def _rises(job: Job, picked: Chosen) -> pl.DataFrame:
    rows = [
        {
            **place_of(job),
            "layer": layer,
            "head": head,
            "choosing": gain,
            "judging": other,
            "chosen": (layer, head) in picked.heads,
        }
        for (layer, head), (gain, other) in picked.rise.items()
    ]
    return pl.DataFrame(rows, schema=HEAD_RISES.schema)


def _changes(job: Job, every: Sequence[Item], found: Judged, cell: int) -> Rows:
    logprob, margin = found.logprob[cell] - found.plain_logprob, found.margin[cell] - found.plain_margin
    return [
        {
            **place_of(job),
            **item.key,
            "judging": bool(other),
            "logprob": float(logprob[i]),
            "margin": float(margin[i]),
        }
        for i, (item, other) in enumerate(zip(every[part(job)], judging(every)[part(job)], strict=True))
    ]


def _replaced(heads: Sequence[Head], op: str, means: Mapping[Head, Float[Tensor, " d"]]) -> Cell:
    """z of the heads at every answering column: its mean, another item's, or 0. The other item's: at its last prompt token."""
    if op == "mean":
        return tuple(
            Patch(site="z", layer=layer, head=head, position=SAID, value=means[layer, head]) for layer, head in heads
        )
    if op == "zero":
        return tuple(Patch(site="z", layer=layer, head=head, position=SAID, op="zero") for layer, head in heads)
    return tuple(Patch(site="z", layer=layer, head=head, position="end", source=0) for layer, head in heads)
