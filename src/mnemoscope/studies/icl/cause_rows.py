"""Claims and rows of the causal part: what its summaries share. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Shaped

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.verdict import Rule, Verdict
from mnemoscope.studies.claim_row import claim_row

KEY = ["item", "draw"]


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A claim that was judged; `text`: its headline."""

    name: str
    found: Estimate
    judged: Verdict
    rule: Rule
    evidence: str
    text: str


def table_of(claimed: Sequence[Claimed]) -> pl.DataFrame:
    """Rows of the table of claims."""
    rows = [claim_row(one.name, one.found, one.rule, one.judged, one.evidence) for one in claimed]
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def sentence(name: str, judged: Verdict, found: Estimate, what: str, more: str = "") -> str:
    """The headline of a claim: verdict, number, what was asked beside it; only the reason where it cannot be tested."""
    if judged.verdict == "not testable":
        return f"{name}: not testable ({judged.reason})."
    number = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}] {what}"
    return f"{name}: {judged.verdict}, {number}, {found.n_units} units{f'; {more}' if more else ''}."


def grid(
    frame: pl.DataFrame, axes: Sequence[str], column: str
) -> tuple[pl.DataFrame, pl.DataFrame, Float[np.ndarray, "cell prompt"]]:
    """A column as cells x prompts: the cells (distinct values of `axes`), the prompts (item, draw, unit), and the values.

    Every cell must hold every prompt (a job writes all of them).
    """
    ordered = frame.sort(*axes, *KEY)
    cells = ordered.select(axes).unique(maintain_order=True)
    prompts = ordered.select(*KEY, "unit").unique(maintain_order=True).sort(KEY)
    return cells, prompts, ordered[column].to_numpy().astype(float).reshape(cells.height, prompts.height)


def units_of(prompts: pl.DataFrame) -> Shaped[np.ndarray, " prompt"]:
    """The unit of every prompt."""
    return np.array(prompts["unit"].to_list(), dtype=object).astype(str)


def row_of(found: Estimate) -> dict[str, Any]:
    """The columns of an estimate."""
    names = ("estimate", "low", "high", "p", "n", "n_units", "method", "reason")
    return {name: getattr(found, name) for name in names}


def estimate_of(row: Mapping[str, Any]) -> Estimate:
    """The estimate in a row."""
    names = ("estimate", "low", "high", "p", "n", "n_units", "method", "reason")
    return Estimate(**{name: row[name] for name in names})
