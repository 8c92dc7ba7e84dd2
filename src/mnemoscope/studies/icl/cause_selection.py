"""What is found on all items of a task before any of them is intervened on: heads, random sets, means (B7.6, B5).

Heads are chosen on every other item by the rise of their log attention ratio at the last prompt token, and judged on the rest.
The control is as many heads of the same layers. Everything is deterministic and found once per model, so that every job can ask
for it although a job sees a few items only, and no other job's results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.chunks import select
from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.answer_margin import Forced, forced
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, canonical, seed_of
from mnemoscope.stats.layer_matched import Head, Sets, layer_matched
from mnemoscope.studies.icl.asked import slug
from mnemoscope.studies.icl.cause_items import Item
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design
from mnemoscope.studies.icl.inside import inside

T = TypeVar("T")
RANDOM_SETS = 100
SHARE = 16  # one head in so many is chosen, at least 2, at most a quarter of a layer's
ROWS = 16  # prompts of one pass


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rise of every head's log ratio (choosing half, judging half), and the heads chosen: largest rise first, rises only."""

    rise: Mapping[Head, tuple[float, float]]
    heads: tuple[Head, ...]


def chosen(job: Job, config: Config, lm: LM, design: Design, every: Sequence[Item]) -> Chosen:
    """The heads that all jobs of this task and copy share. every: all its items."""
    return _once(lm, "heads", job, config, lambda: chosen_heads(lm, design, every))


def random_sets(job: Job, config: Config, picked: Chosen) -> Sets:
    """As many heads in the same layers: the same sets in every job of this task and copy."""
    name = f"ablation-{job.args['copy']}-{slug(job.args['task'])}"
    rng = np.random.default_rng(seed_of(config.seed, name))
    return layer_matched(picked.heads, list(picked.rise), rng=rng, most=RANDOM_SETS)


def means(
    job: Job, config: Config, lm: LM, condition: str, every: Sequence[Item], layers: Sequence[int]
) -> Mapping[Head, Float[Tensor, " d"]]:
    """Mean of every head's z over the tokens that predict a token of the answer: all items under a condition."""
    prompts = [item.under[condition] for item in every]
    return _once(lm, f"means {condition}", job, config, lambda: mean_z(lm, prompts, layers))


def _once(lm: LM, what: str, job: Job, config: Config, find: Callable[[], T]) -> T:
    place = (job.args["copy"], job.args["task"], job.args["preset"])
    return lm.once(f"icl cause: {what} {canonical([*place, asdict(config)])}", find)


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
    return _equal_rows(tokenize(lm, prompts))


def _equal_rows(batch: Batch) -> list[list[int]]:
    lengths = batch.lengths.tolist()
    by = [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]
    return [rows[i : i + ROWS] for rows in by for i in range(0, len(rows), ROWS)]


def forced_run(lm: LM, prompts: Sequence[Prompt]) -> tuple[Batch, Forced]:
    """The prompts alone, and with their right answers behind them."""
    held = answers(lm, prompts)
    batch = tokenize(lm, [one.prompt for one in held])
    rows = [row[:n] for row, n in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)]
    return batch, forced(lm, rows, held)


def mean_z(lm: LM, prompts: Sequence[Prompt], layers: Sequence[int]) -> dict[Head, Float[Tensor, " d"]]:
    """Mean of z over the answering columns of all prompts, each head's own."""
    _, asked = forced_run(lm, prompts)
    total: dict[int, Tensor] = {}
    for rows in _equal_rows(asked.batch):
        read = torch.from_numpy(asked.question.read[rows])
        there = (read >= 0).to(lm.device)

        def layer_done(layer: int, found: Mapping[str, Tensor], kept: Tensor = there) -> None:
            own = (found["z"].double() * kept[..., None, None]).sum((0, 1))
            total[layer] = own if layer not in total else total[layer] + own

        columns = read.clamp(min=0).to(lm.device)
        record(lm, select(asked.batch, rows), wanted(lm, ("z",), layers), columns, layer_done)
    size = int(asked.size.sum())
    return {(layer, head): (own / size)[head].to(lm.dtype) for layer, own in total.items() for head in range(len(own))}
