"""What the causal part infers: links per item (B7.5) and the effects of interventions (B7.6). No torch."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.results.schema.icl_cause import TABLES
from mnemoscope.results.schema.shared import CLAIMS, HEADLINES
from mnemoscope.studies.icl.ablation_summary import ablation, ablation_claims, head_gains
from mnemoscope.studies.icl.cause_rows import Claimed, table_of
from mnemoscope.studies.icl.cause_sentences import findings
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.dose_summary import dose_claims, doses
from mnemoscope.studies.icl.frames import Task, tasks_of
from mnemoscope.studies.icl.link_claims import link_claims
from mnemoscope.studies.icl.link_summary import links
from mnemoscope.studies.icl.recovery_summary import recovery, recovery_claims

RAW = ("icl_context_runs", "icl_transplants", "icl_head_rises", "icl_head_changes", "icl_ablations", "icl_sharpening")


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """Tables of the causal part; "claims" among them (rows to be added to the study's), "headlines" with their sentences.

    `tables` holds the raw tables of all jobs and the tables that the first part has inferred. What was not run is empty.
    """
    own = {**{name: TABLES[name].empty() for name in RAW}, **tables}
    tasks = {task.name: task for task in tasks_of(tables)}
    found = {
        "icl_recovery": recovery(own, config),
        "icl_head_gains": head_gains(own),
        **ablation(own),
        **doses(own, config),
        **links(own, tuple(tasks.values()), config),
    }
    every = {**own, **found}
    gains = {name: no_gain(every, task) for name, task in tasks.items()}
    claimed: list[Claimed] = [
        *link_claims(every, tuple(tasks.values()), gains),
        *recovery_claims(every, gains),
        *ablation_claims(every, gains),
        *dose_claims(every, gains, config),
    ]
    verdicts = {one.name: one.judged.verdict for one in claimed}
    texts = [text for name in tasks for text in findings(name, every, verdicts, gains[name])]
    texts += [one.text for one in claimed]
    found["claims"] = table_of(claimed) if claimed else CLAIMS.empty()
    found["headlines"] = pl.DataFrame({"order": range(len(texts)), "text": texts}, schema=HEADLINES.schema)
    return found


def no_gain(tables: Mapping[str, pl.DataFrame], task: Task) -> str:
    """Why nothing can be caused: examples raise the log probability of the right answer neither above none nor above neutral text.

    "" where they do (the interval of the paired change lies above 0), against both as far as both were asked.
    """
    design = task.design
    rows = tables["icl_behaviour"].filter(
        (pl.col("copy") == "trained")
        & (pl.col("task") == task.name)
        & (pl.col("measure") == "logprob")
        & (pl.col("condition") == design.after)
        & pl.col("versus").is_in([design.before, "neutral"])
    )
    for row in rows.iter_rows(named=True):
        if not row["low"] > 0:
            found = f"{row['estimate']:.3g} [{row['low']:.3g}, {row['high']:.3g}] nats"
            return (
                f"no gain in context was shown: log probability of the right answer, {design.after} - {row['versus']}: "
                f"{found if row['low'] == row['low'] else row['reason']}"
            )
    return "" if rows.height else "no gain in context was measured"
