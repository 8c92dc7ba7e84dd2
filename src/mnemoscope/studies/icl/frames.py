"""From the tables of the jobs to arrays in one order: the prompts of a task by item and draw, under each condition. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Shaped

from mnemoscope.stats.rdm import differs, numeric, rdm, standardised, token_overlap
from mnemoscope.studies.icl.design import Design, Hypothesis, design_of

ORDER = ["item", "draw"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One task's prompts; row i of every array is prompt i of `keys` (sorted by item and draw)."""

    name: str
    design: Design
    keys: pl.DataFrame
    asked: Mapping[str, pl.DataFrame]  # condition -> rows of icl_prompts in that order
    answers: pl.DataFrame  # all copies

    @cached_property
    def labels(self) -> Mapping[str, tuple[dict[str, Any], ...]]:
        """Condition -> labels of every prompt."""
        return {c: tuple(json.loads(text) for text in frame["labels"]) for c, frame in self.asked.items()}

    def label(self, name: str, condition: str | None = None) -> Shaped[np.ndarray, " prompt"]:
        """One label of every prompt (under `before` unless said)."""
        return np.array([one[name] for one in self.labels[condition or self.design.before]])

    @property
    def units(self) -> Shaped[np.ndarray, " prompt"]:
        """Unit of inference of every prompt."""
        return self.label(self.design.unit).astype(str)

    def measured(self, copy: str, condition: str, column: str) -> Float[np.ndarray, " prompt"]:
        """A column of icl_answers; nan where the copy was not asked."""
        own = self.answers.filter((pl.col("copy") == copy) & (pl.col("condition") == condition))
        joined = self.keys.join(own, on=ORDER, how="left", maintain_order="left")
        return joined[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def copies(self) -> tuple[str, ...]:
        """Copies that were asked."""
        there = self.answers["copy"].unique().to_list()
        return tuple(copy for copy in ("trained", "reinitialised") if copy in there)

    def expected(self, hypothesis: Hypothesis) -> Float[np.ndarray, " pair"]:
        """The hypothesis as distances between prompts."""
        rows = [self.label(name) for name in hypothesis.labels]
        return np.mean([numeric(row.astype(float)) if hypothesis.numeric else differs(row) for row in rows], axis=0)


def tasks_of(tables: Mapping[str, pl.DataFrame]) -> tuple[Task, ...]:
    """Every task of the run whose prompts are complete under all conditions."""
    prompts, answers = tables["icl_prompts"], tables["icl_answers"]
    found: list[Task] = []
    for name in prompts["task"].unique(maintain_order=True):
        own = prompts.filter(pl.col("task") == name)
        design = design_of(name, [json.loads(text) for text in own["labels"]])
        by = {c: own.filter(pl.col("condition") == c).sort(ORDER) for c in design.conditions}
        keys = by[design.before].select(ORDER)
        for frame in by.values():  # a failed job leaves holes: keep what is there under every condition
            keys = keys.join(frame.select(ORDER), on=ORDER, how="semi", maintain_order="left")
        asked = {c: keys.join(frame, on=ORDER, how="left", maintain_order="left") for c, frame in by.items()}
        mine = answers.filter(pl.col("task") == name)
        found.append(Task(name=name, design=design, keys=keys, asked=asked, answers=mine))
    return tuple(sorted(found, key=lambda task: task.name))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled:
    """Vectors of one copy, task, token set and pooling: condition -> [layer prompt d]; and how distances are taken."""

    copy: str
    task: Task
    tokens: str
    pooling: str
    vectors: Mapping[str, Float[np.ndarray, "layer prompt d"]]
    distance: str = "cosine"

    @property
    def place(self) -> dict[str, str]:
        """The columns that say where the vectors are from."""
        return {"copy": self.copy, "task": self.task.name, "tokens": self.tokens, "pooling": self.pooling}

    @cached_property
    def distances(self) -> Mapping[str, Float[np.ndarray, "layer pair"]]:
        """Condition -> distances of standardised vectors."""
        return {c: np.stack([rdm(x, metric=self.distance) for x in layers]) for c, layers in self.vectors.items()}


def pooled(tables: Mapping[str, pl.DataFrame], task: Task) -> tuple[Pooled, ...]:
    """All vectors of a task."""
    own = tables["icl_vectors"].filter(pl.col("task") == task.name)
    found: list[Pooled] = []
    for (copy, tokens, pooling), frame in own.partition_by(
        ["copy", "tokens", "pooling"], as_dict=True, maintain_order=True
    ).items():
        vectors: dict[str, np.ndarray] = {}
        for (condition,), rows in frame.partition_by(["condition"], as_dict=True).items():
            whole = task.keys.join(rows, on=ORDER, how="left", maintain_order="left").sort("layer", maintain_order=True)
            flat = whole["vector"].explode().to_numpy()
            vectors[str(condition)] = flat.reshape(rows["layer"].n_unique(), task.keys.height, -1)
        found.append(Pooled(copy=str(copy), task=task, tokens=str(tokens), pooling=str(pooling), vectors=vectors))
    return tuple(sorted(found, key=lambda one: (one.copy != "trained", one.tokens, one.pooling)))


def nuisances(
    one: Pooled, bag: Mapping[str, Float[np.ndarray, "prompt d"]], conditions: Sequence[str]
) -> Float[np.ndarray, "nuisance pair"]:
    """What else could make prompts alike, as distances over the prompts of these conditions, one after the other (B7.1).

    bag of tokens at layer 0 (`bag`: vectors by condition, standardised within it), overlap of the tokens, number of tokens, and
    the design's numbers and classes. Rows that are constant are left out.
    """
    task, design = one.task, one.task.design
    layer0 = np.vstack([standardised(bag[c]) for c in conditions])
    rows = [rdm(layer0, metric=one.distance, standardise=False)]
    counts = _counts([ids for c in conditions for ids in task.asked[c]["ids"].to_list()])
    rows.append(token_overlap(counts))
    rows.append(numeric(np.concatenate([task.asked[c]["n_tokens"].to_numpy() for c in conditions])))
    for name in design.numbers:
        rows.append(numeric(np.concatenate([task.label(name, c).astype(float) for c in conditions])))
    for name in design.classes:
        rows.append(differs(np.concatenate([task.label(name, c).astype(str) for c in conditions])))
    return np.stack([row for row in rows if not np.isnan(row).any() and np.ptp(row) > 0])


def _counts(ids: Sequence[Sequence[int]]) -> Float[np.ndarray, "prompt token"]:
    known, code = np.unique(np.concatenate([np.array(one) for one in ids]), return_inverse=True)
    prompt = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
    counts = np.zeros((len(ids), len(known)))
    np.add.at(counts, (prompt, code), 1)
    return counts
