"""Transplants of the icl study: the run before examples takes the state of the run behind them (B7.6)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.measures.transplant import Transplanted, behind, transplanted
from mnemoscope.measures.transplant_runs import Runs, runs
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.icl_cause import CONTEXT_RUNS, PLACES, TRANSPLANTS
from mnemoscope.studies.icl.cause_items import Item, Rows, part, place_of
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import SHUFFLED, Design


def transplants(job: Job, config: Config, lm: LM, design: Design, every: Sequence[Item]) -> dict[str, pl.DataFrame]:
    """icl_context_runs and icl_transplants of a job's items. every: all items of its task."""
    under = {c: [item.under[c] for item in every] for c in (design.before, design.after)}
    forms = [str(item.under[design.before].labels.get("format", "")) for item in every]
    aligned = runs(
        lm,
        under[design.before],
        under[design.after],
        [item.under[SHUFFLED] for item in every] if SHUFFLED in design.conditions else None,
        start="query_x" if job.args["task"] == "lines" else None,
        units=[item.key["unit"] for item in every],
        alike=forms,
        part=part(job),
    )
    if aligned is None:
        return {"icl_context_runs": CONTEXT_RUNS.empty(), "icl_transplants": TRANSPLANTS.empty()}
    kept = [every[i] for i in aligned.kept]
    found = transplanted(lm, aligned, budget=config.budget)
    return {
        "icl_context_runs": pl.DataFrame(_runs(job, config, lm, aligned, found, kept), schema=CONTEXT_RUNS.schema),
        "icl_transplants": _patched(job, found, kept),
        "verification": proven(job.id, found.verification),
    }


def _runs(job: Job, config: Config, lm: LM, aligned: Runs, found: Transplanted, kept: Sequence[Item]) -> Rows:
    whole: dict[str, Any] = {"before": found.before, **behind(lm, aligned, budget=config.budget)}
    return [
        {
            **place_of(job),
            **item.key,
            "run": run,
            "logprob": float(values["logprob"][i]),
            "margin": float(values["margin"][i]),
            "shared": int(aligned.shared[i]),
            "padded": aligned.padded,
        }
        for run, values in whole.items()
        for i, item in enumerate(kept)
    ]


def _patched(job: Job, found: Transplanted, kept: Sequence[Item]) -> pl.DataFrame:
    """One row per source, place, layer and item."""
    shape = found.logprob.shape
    index = [axis.ravel().tolist() for axis in np.indices(shape)]
    columns: dict[str, Any] = {name: [value] * found.logprob.size for name, value in place_of(job).items()}
    columns |= {name: [kept[i].key[name] for i in index[3]] for name in ("item", "unit", "draw")}
    columns["source"] = [found.sources[i] for i in index[0]]
    columns["place"] = [PLACES[i] for i in index[1]]
    columns["layer"] = index[2]
    columns |= {"logprob": found.logprob.ravel(), "margin": found.margin.ravel()}
    return pl.DataFrame(columns, schema=TRANSPLANTS.schema)
