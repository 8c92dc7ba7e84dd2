"""Step 6, measured: what the last layer takes from the right answer, by component, and from top tokens of neutral text."""

from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.measures.frequency import frequency_slope
from mnemoscope.measures.last_layer import LastLayer, TokenDrop, last_layer, sink, standing_push, token_drop, top_rows
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.schema.recall import LEFT_OUT
from mnemoscope.results.schema.recall_columns import COPIES
from mnemoscope.results.schema.recall_last import (
    FREQUENCY_SLOPES,
    LAST_LAYER_NEUTRAL,
    LAST_LAYER_PARTS,
    LAST_LAYER_PROMPTS,
)
from mnemoscope.studies.recall.asking import asks
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.neutral import FIRST, counts, neutral_ids
from mnemoscope.studies.recall.question import Ask, Asked
from mnemoscope.studies.recall.rows import grid, who
from mnemoscope.studies.recall.selection import known_relations, of_names

KIND = "last_layer"


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """One job per relation and copy, one for the neutral texts of each copy."""
    names = known_relations(lm, config)
    plan: list[Job] = []
    for copy in COPIES:
        for i, name in enumerate(names):
            plan.append(Job(id=f"last-layer-{copy}-{i:03d}", args={"kind": KIND, "copy": copy, "relation": name}))
        plan.append(Job(id=f"last-layer-{copy}-neutral", args={"kind": KIND, "copy": copy, "relation": ""}))
    return tuple(plan)


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: a relation's prompts, or the neutral texts."""
    copy, name = job.args["copy"], job.args["relation"]
    lm = models("reinitialised") if copy == "reinitialised" else models()
    try:
        if not name:
            return {"last_layer_neutral": _neutral(lm, config, copy)}
        (one,) = of_names(lm, config, [name])
        return _facts(lm, config, one, copy)
    except UnsupportedError as error:
        row = (
            f"last layer of {lm.name} / {name or 'neutral texts'}",
            "the model has no additive decomposition",
            str(error),
        )
        return {"left_out": pl.DataFrame([row] if copy == "trained" else [], schema=LEFT_OUT.schema, orient="row")}


def _facts(lm: LM, config: Config, one: Asked, copy: str) -> dict[str, pl.DataFrame]:
    some = [ask for t in range(one.measured if copy == "trained" else 1) for ask in asks(lm, one, t)]
    batch = tokenize(lm, [ask.prompt for ask in some])
    tokens = torch.tensor([ask.answer for ask in some], device=lm.device)
    found = last_layer(lm, batch)
    drops = token_drop(lm, found, tokens)
    prompts = {name: column for name, column in who(some).items() if name != "half"}
    push = standing_push(lm, found).double().cpu().numpy()
    slopes, n = frequency_slope(push, counts(lm, config))
    rows = [(copy, one.name, str(c), float(slope), n) for c, slope in zip(found.components, slopes, strict=True)]
    return {
        "last_layer_prompts": grid(LAST_LAYER_PROMPTS, {"shots": [0]}, prompts, columns(drops), copy=copy),
        "last_layer_parts": _parts(lm, batch, some, found=found, drops=drops, copy=copy),
        "frequency_slopes": pl.DataFrame(rows, schema=FREQUENCY_SLOPES.schema, orient="row"),
    }


def columns(drops: TokenDrop) -> dict[str, np.ndarray]:
    """The columns of a drop, one value per row."""
    values = {
        "drop": drops.drop.total,
        "dilution": drops.drop.dilution,
        "write": drops.drop.write,
        "p_before": drops.p_before,
        "p_after": drops.p_after,
        "rank_before": drops.rank_before,
        "rank_after": drops.rank_after,
    }
    return {name: _numbers(value)[None] for name, value in values.items()}


def _parts(lm: LM, batch: Batch, some: list[Ask], *, found: LastLayer, drops: TokenDrop, copy: str) -> pl.DataFrame:
    prompts = {name: column for name, column in who(some).items() if name != "half"}
    values = {"write": _numbers(drops.drop.parts)}
    names = ("sink_write", "sink_mass", "sink_size", "rest_size")
    values |= {name: np.full(values["write"].shape, np.nan) for name in names}
    heads = [i for i, c in enumerate(found.components) if c.kind == "head"]
    if heads:
        rest = sink(lm, batch, found, drops.tokens)
        for name, value in zip(names, (rest.write, rest.mass, rest.size, rest.size_rest), strict=True):
            values[name][heads] = _numbers(value)
    return grid(LAST_LAYER_PARTS, {"part": [str(c) for c in found.components]}, prompts, values, copy=copy)


def _neutral(lm: LM, config: Config, copy: str) -> pl.DataFrame:
    ids = neutral_ids(lm, config)
    width = ids.shape[1]
    found = top_rows(lm, last_layer(lm, tokenize(lm, ids), "all"))
    place = np.arange(ids.shape[0] * width)
    prompts = {"document": (place // width).tolist(), "position": (place % width).tolist()}
    frame = grid(LAST_LAYER_NEUTRAL, {"shots": [0]}, prompts, columns(found), copy=copy)
    return frame.filter(pl.col("position") >= FIRST)


def _numbers(value: Tensor) -> np.ndarray:
    return value.double().cpu().numpy()
