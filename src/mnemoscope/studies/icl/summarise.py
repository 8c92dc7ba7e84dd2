"""What the icl study infers: behaviour, similarity, probes, attention; then the causal part, then the claims. No torch."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.errors import InputError
from mnemoscope.results.schema.icl import ALIGNMENT, ITEMS, PROBES, RDMS, READINGS
from mnemoscope.studies.icl import cause_summary
from mnemoscope.studies.icl.alignment_summary import alignment
from mnemoscope.studies.icl.behaviour_summary import behaviour
from mnemoscope.studies.icl.claims import claims_of, table_of
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.frames import pooled, tasks_of
from mnemoscope.studies.icl.headlines import headlines
from mnemoscope.studies.icl.item_summary import items, matrices
from mnemoscope.studies.icl.probe_summary import probes
from mnemoscope.studies.icl.ratio_summary import attention_ratios

EMPTY = {
    "icl_alignment": ALIGNMENT,
    "icl_items": ITEMS,
    "icl_rdms": RDMS,
    "icl_probes": PROBES,
    "icl_readings": READINGS,
}


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """All tables of inference from the tables of the jobs."""
    if not {"icl_prompts", "icl_answers", "icl_vectors", "icl_attention"} <= set(tables):
        raise InputError(
            "the icl study has nothing to infer from", found=", ".join(sorted(tables)), hint="all jobs failed"
        )
    tasks = tasks_of(tables)
    parts: dict[str, list[pl.DataFrame]] = {name: [table.empty()] for name, table in EMPTY.items()}
    for task in tasks:
        every = pooled(tables, task)  # one task's vectors at a time
        aligned = alignment(every, config)
        read, readings = probes(every, config)
        made = (aligned, items(every), matrices(every, aligned), read, readings)
        for name, frame in zip(EMPTY, made, strict=True):
            parts[name].append(frame)
    found = {name: pl.concat(frames) for name, frames in parts.items()}
    found["icl_behaviour"] = behaviour(tasks)
    found["icl_ratios"] = attention_ratios(tables["icl_attention"], tasks, config)
    caused = cause_summary.summarise({**tables, **found}, config)
    more, said = caused.pop("claims", None), caused.pop("headlines", None)
    judged = claims_of(tasks, found)
    found["claims"] = table_of(judged, more)
    found["headlines"] = headlines(tasks, judged, {**tables, **found}, [] if said is None else said["text"].to_list())
    return {**found, **caused}
