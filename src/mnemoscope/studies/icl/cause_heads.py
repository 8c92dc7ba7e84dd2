"""Heads whose attention to the relevant sentence rises with examples, ablated (B7.6, B5).

Heads are chosen on every other item by the rise of their log attention ratio at the last prompt token, and judged on the rest.
The control is as many heads of the same layers. Interventions are made at the tokens that predict a token of the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.chunks import select
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.answer_margin import SAID, Forced, Judged, forced, judged
from mnemoscope.measures.prompt_groups import groups
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.icl_cause import ABLATIONS, HEAD_GAINS, RUNS
from mnemoscope.stats.layer_matched import Head, layer_matched
from mnemoscope.studies.icl.cause_items import Item, Rows, place_of
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design
from mnemoscope.studies.icl.inside import inside

RANDOM_SETS = 100
SHARE = 16  # one head in so many is chosen, at least 2, at most a quarter of a layer's
ROWS = 16  # prompts of one pass


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rise of every head's log ratio (choosing half, judging half), and the heads chosen: largest rise first, rises only."""

    rise: Mapping[Head, tuple[float, float]]
    heads: tuple[Head, ...]


def judging(items: Sequence[Item]) -> Bool[np.ndarray, " item"]:
    """The items that do not choose heads: every other unit."""
    units = {unit: i for i, unit in enumerate(dict.fromkeys(item.key["unit"] for item in items))}
    return np.array([units[item.key["unit"]] % 2 == 1 for item in items])


def chosen_heads(lm: LM, design: Design, items: Sequence[Item]) -> Chosen:
    """At most n_heads // 4 of a layer, one in SHARE of all (at least 2)."""
    before, after = (_ratios(lm, [item.under[c] for item in items]) for c in (design.before, design.after))
    there = judging(items)
    rise: dict[Head, tuple[float, float]] = {}
    for layer in after:
        each = after[layer] - before[layer]
        for head in range(each.shape[1]):
            rise[layer, head] = (_mean(each[~there, head]), _mean(each[there, head]))
    ranked = sorted((head for head, (gain, _) in rise.items() if gain > 0), key=lambda head: (-rise[head][0], head))
    most, kept = max(2, len(rise) // SHARE), list[Head]()
    for layer, head in ranked:
        quarter = sum(at == layer for at, _ in rise) // 4
        if len(kept) < most and sum(at == layer for at, _ in kept) < quarter:
            kept.append((layer, head))
    return Chosen(rise=rise, heads=tuple(kept))


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _ratios(lm: LM, prompts: Sequence[Prompt]) -> dict[int, Float[np.ndarray, "prompt head"]]:
    """Log attention ratio of the last prompt token, relevant sentence over the mean of the others, per layer."""
    found: dict[int, Float[np.ndarray, "prompt head"]] = {}
    for rows in _equal(lm, prompts):
        seen = inside(lm, tokenize(lm, [prompts[i] for i in rows]), ())
        for layer, sentences in seen.sentences.items():
            n_heads = len(sentences[0]) - 1
            ratio = found.setdefault(layer, np.full((len(prompts), n_heads), np.nan))
            for i, own, place in zip(rows, sentences, seen.groups.place, strict=True):
                relevant, others = own[1:, place], np.delete(own[1:], place, axis=1).mean(1)
                with np.errstate(divide="ignore", invalid="ignore"):
                    value = np.log(relevant) - np.log(others)
                ratio[i] = np.where(np.isfinite(value), value, np.nan)
    return found


def _equal(lm: LM, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Prompts of equal length together, at most ROWS at once."""
    lengths = tokenize(lm, prompts).lengths.tolist()
    by = [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]
    return [rows[i : i + ROWS] for rows in by for i in range(0, len(rows), ROWS)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """One run of all items with answers behind it, and where its sentences stand."""

    forced: Forced
    relevant: Bool[Tensor, "item pos"]
    distractor: Bool[Tensor, "item pos"]


def asked_run(lm: LM, prompts: Sequence[Prompt]) -> Asked:
    """The relevant sentence, and one distractor: of those, the next in the text for even items, the one after for odd ones.

    Informative positions go round evenly over items, so both sentences stand everywhere equally often.
    """
    held = answers(lm, prompts)
    batch = tokenize(lm, [one.prompt for one in held])
    there = groups(lm, batch)
    asked = forced(lm, [row[:n] for row, n in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)], held)
    on = {name: torch.zeros_like(asked.batch.mask) for name in ("relevant", "distractor")}
    for i, (place, own) in enumerate(zip(there.place, there.sentences, strict=True)):
        turn = 1 + i % (len(own) - 1)
        on["relevant"][i, list(own[place])] = True
        on["distractor"][i, list(own[(place + turn) % len(own)])] = True
    return Asked(forced=asked, **on)


def ablations(job: Job, config: Config, lm: LM, design: Design, items: Sequence[Item]) -> dict[str, pl.DataFrame]:
    """icl_head_gains and icl_ablations: the chosen heads in both runs by every op, random sets in both runs by their mean."""
    picked = chosen_heads(lm, design, items)
    if not picked.heads:
        nothing = dict.fromkeys(picked.rise, (float("nan"), float("nan")))
        return {"icl_head_gains": _gains(job, picked, nothing), "icl_ablations": ABLATIONS.empty()}
    rng = np.random.default_rng(seed_of(config.seed, job.id))
    sets = layer_matched(picked.heads, list(picked.rise), rng=rng, most=RANDOM_SETS)
    rows: Rows = []
    proofs: list[Judged] = []
    alone: dict[Head, tuple[float, float]] = {}
    for run, condition in zip(RUNS, (design.before, design.after), strict=True):
        asked = asked_run(lm, [item.under[condition] for item in items]).forced
        means = _means(lm, asked, sorted({layer for layer, _ in picked.rise}))
        cells = [_replaced(one, "mean", means) for one in (picked.heads, *sets.sets)]
        cells += [_replaced(picked.heads, op, means) for op in ("resample", "zero")]
        cells += [_replaced([head], "mean", means) for head in picked.rise if run == "after"]
        found = judged(lm, asked, cells, sources=[_next(asked.batch)], budget=config.budget)
        named = [(i, one, "mean") for i, one in enumerate((picked.heads, *sets.sets))]
        named += [(0, picked.heads, "resample"), (0, picked.heads, "zero")]
        for cell, (number, heads, op) in enumerate(named):
            more = {"run": run, "set": number, "heads": spelled(heads), "op": op, "complete": sets.complete}
            rows += _changes(job, items, more, found, cell)
        proofs.append(found)
        there = judging(items)
        for head, cell in zip(picked.rise, range(len(named), len(cells)), strict=False):
            change = (
                (found.logprob[cell] - found.plain_logprob)[there],
                (found.margin[cell] - found.plain_margin)[there],
            )
            alone[head] = (_mean(change[0]), _mean(change[1]))
    tables = {
        "icl_head_gains": _gains(job, picked, alone),
        "icl_ablations": pl.DataFrame(rows, schema=ABLATIONS.schema),
    }
    return {**tables, "verification": proven(job.id, *(one.verification for one in proofs))}


def spelled(heads: Sequence[Head]) -> str:
    """L3H5 L4H0"""
    return " ".join(f"L{layer}H{head}" for layer, head in sorted(heads))


def _gains(job: Job, picked: Chosen, alone: Mapping[Head, tuple[float, float]]) -> pl.DataFrame:
    rows = [
        {
            **place_of(job),
            "layer": layer,
            "head": head,
            "choosing": gain,
            "judging": other,
            "chosen": (layer, head) in picked.heads,
            "logprob": alone[layer, head][0],
            "margin": alone[layer, head][1],
        }
        for (layer, head), (gain, other) in picked.rise.items()
    ]
    return pl.DataFrame(rows, schema=HEAD_GAINS.schema)


def _changes(job: Job, items: Sequence[Item], more: Mapping[str, object], found: Judged, cell: int) -> Rows:
    logprob, margin = found.logprob[cell] - found.plain_logprob, found.margin[cell] - found.plain_margin
    return [
        {
            **place_of(job),
            **item.key,
            **more,
            "judging": bool(other),
            "logprob": float(logprob[i]),
            "margin": float(margin[i]),
        }
        for i, (item, other) in enumerate(zip(items, judging(items), strict=True))
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


def _next(batch: Batch) -> Batch:
    """Every prompt's neighbour."""
    return select(batch, [*range(1, len(batch)), 0])


def _means(lm: LM, asked: Forced, layers: Sequence[int]) -> dict[Head, Float[Tensor, " d"]]:
    """Mean of z over the answering columns of all items."""
    total: dict[int, Tensor] = {}
    lengths = asked.batch.lengths.tolist()
    for length in sorted(set(lengths)):
        rows = [i for i, n in enumerate(lengths) if n == length]
        read = torch.from_numpy(asked.question.read[rows])
        there = (read >= 0).to(lm.device)

        def layer_done(layer: int, found: Mapping[str, Tensor], kept: Tensor = there) -> None:
            own = (found["z"].double() * kept[..., None, None]).sum((0, 1))
            total[layer] = own if layer not in total else total[layer] + own

        columns = read.clamp(min=0).to(lm.device)
        record(lm, select(asked.batch, rows), wanted(lm, ("z",), layers), columns, layer_done)
    size = int(asked.size.sum())
    return {(layer, head): (own / size)[head].to(lm.dtype) for layer, own in total.items() for head in range(len(own))}
