"""Attention to the relevant sentence and to a distractor, multiplied and renormalised, layer by layer (B7.6)."""

from collections.abc import Sequence

import polars as pl

from mnemoscope.measures.sharpening import GAINS, Group, sharpened
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.icl_cause import RUNS, SHARPENING
from mnemoscope.studies.icl.cause_heads import asked_run
from mnemoscope.studies.icl.cause_items import Item, Rows, part, place_of
from mnemoscope.studies.icl.cause_selection import chosen
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.design import Design


def sharpening(job: Job, config: Config, lm: LM, design: Design, every: Sequence[Item]) -> dict[str, pl.DataFrame]:
    """icl_sharpening: every layer with all its heads, and the layers of chosen heads with those alone, in both runs."""
    picked, items = chosen(job, config, lm, design, every), every[part(job)]
    layers = sorted({layer for layer, _ in picked.rise})
    whole: list[Group] = [(at, tuple(h for layer, h in picked.rise if layer == at)) for at in layers]
    some: list[Group] = [
        (at, heads) for at in layers if (heads := tuple(sorted(h for layer, h in picked.heads if layer == at)))
    ]
    named = [(layer, "all") for layer, _ in whole] + [(layer, "chosen") for layer, _ in some]
    frames: list[pl.DataFrame] = []
    proofs: list[pl.DataFrame] = []
    for run, condition in zip(RUNS, (design.before, design.after), strict=True):
        asked = asked_run(lm, [item.under[condition] for item in items], job.args["first"])
        on = {"relevant": asked.relevant, "distractor": asked.distractor}
        found = sharpened(lm, asked.forced, on, [*whole, *some], budget=config.budget)
        rows: Rows = [
            {
                **place_of(job),
                **item.key,
                "run": run,
                "layer": layer,
                "heads": heads,
                "sentence": sentence,
                "g": gain,
                "attention": float(found.attention[a, b, i]),
                "logprob": float(found.logprob[a, b, c, i] - found.plain["logprob"][i]),
                "margin": float(found.margin[a, b, c, i] - found.plain["margin"][i]),
            }
            for a, (layer, heads) in enumerate(named)
            for b, sentence in enumerate(on)
            for c, gain in enumerate(GAINS)
            for i, item in enumerate(items)
        ]
        frames.append(pl.DataFrame(rows, schema=SHARPENING.schema))
        proofs.append(proven(f"{job.id} ({run})", found.verification))
    return {"icl_sharpening": pl.concat(frames), "verification": pl.concat(proofs)}
