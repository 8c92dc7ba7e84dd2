"""Step 4: one relation in front of one MLP, with all that its measures and fits look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.measures.answer_rows import answer_rows
from mnemoscope.measures.mlp_activation import Asked as AskedMlp
from mnemoscope.measures.mlp_activation import Reading, along
from mnemoscope.model.lm import LM
from mnemoscope.results.schema.table import Table
from mnemoscope.studies.recall.asking import asks
from mnemoscope.studies.recall.question import Ask, Asked
from mnemoscope.studies.recall.selection import Head

Rows = list[dict[str, Any]]
Vectors = Float[np.ndarray, "prompt d"]
Parts = Float[np.ndarray, "component prompt d"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Situation:
    """One relation in front of one MLP: who was asked, what the MLP read and answered, and along which tokens it is read."""

    one: Asked
    asks: tuple[Ask, ...]
    reading: Reading
    answered: AskedMlp
    rows: Float[Tensor, "token d_model"]
    movers: Mapping[str, tuple[Head, ...]]  # half of the topics -> movers chosen on the other half
    scale: float  # mean scale of the final norm over the prompts
    copy: str


def rows_of(lm: LM, one: Asked) -> Float[Tensor, "token d_model"]:
    """Centred unembedding rows of the relation's answers and of its topics (last token): the primary space."""
    topics = {ask.topic_last for ask in asks(lm, one, 0)}
    tokens = sorted({*(one.answers[fact.answer] for fact in one.facts), *topics})
    return answer_rows(lm, torch.tensor(tokens, device=lm.device))


def codes(some: Sequence[Ask]) -> Int[Tensor, " prompt"]:
    """Topics as numbers in sorted order."""
    names = sorted({ask.topic for ask in some})
    return torch.tensor([names.index(ask.topic) for ask in some])


def framed(rows: Rows, table: Table) -> pl.DataFrame:
    """Rows of a table without its column `copy`, which a whole job shares."""
    return pl.DataFrame(rows, schema={name: dtype for name, dtype in table.schema.items() if name != "copy"})


def alive(here: Situation, scope: str, space: str) -> Float[np.ndarray, "component one_1 one_2"]:
    """1 for parts that vary here beyond rounding, 0 for the others: those are left out of fits (weight 0)."""
    d = here.answered.d[scope]
    _, size = along(d, d, here.rows if space == "answers" else None)
    there = (here.answered.varies[scope] > 0) & (size.sum(dim=1) > 0)
    return there.double().cpu().numpy()[:, None, None]


def arrays(here: Situation, space: str) -> tuple[Vectors, Parts]:
    """Output and parts, in the full width or along the answers and topics."""
    output, parts = here.reading.output.double(), here.reading.parts.double()
    if space == "answers":
        rows = here.rows.double().to(output.device)
        output, parts = output @ rows.T, parts @ rows.T
    return output.cpu().numpy(), parts.cpu().numpy()


def units(here: Situation) -> tuple[np.ndarray, np.ndarray]:
    """Topic and template of every prompt."""
    return np.array([ask.topic for ask in here.asks]), np.array([ask.template for ask in here.asks])


def about(values: np.ndarray, code: np.ndarray | None) -> np.ndarray:
    """Deviations from the mean over prompts (second axis from the end), overall or within the same code."""
    if code is None:
        return values - values.mean(axis=-2, keepdims=True)
    out = np.empty_like(values)
    for one in np.unique(code):
        mine = code == one
        out[..., mine, :] = values[..., mine, :] - values[..., mine, :].mean(axis=-2, keepdims=True)
    return out
