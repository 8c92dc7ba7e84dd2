"""Jobs of the icl study: answers and insides of every task, prompts to show, then the causal part."""

from mnemoscope.errors import choose
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.icl import cause
from mnemoscope.studies.icl.asked import line_preset, names, prompts, slug
from mnemoscope.studies.icl.config import TASKS, Config

COPIES = ("trained", "reinitialised")


def plan(config: Config, lm: LM) -> tuple[Job, ...]:
    """Answers and insides of every task in jobs of `per_job` prompts, for both copies; then shown prompts, then the causal part."""
    for task in config.tasks:
        choose("task of the icl study", task, TASKS)
    jobs: list[Job] = []
    for task in names(config, lm):
        preset = line_preset(config, lm) if task == "lines" else ""
        for copy in COPIES:
            n = len(prompts(config, lm, task, preset, copy=copy))
            for kind in ("answers", "inside"):
                for first in range(0, n, config.per_job):
                    args = {"kind": kind, "copy": copy, "task": task, "preset": preset}
                    args |= {"first": first, "last": min(first + config.per_job, n)}
                    jobs.append(Job(id=f"{kind}-{copy}-{slug(task)}-{first:05d}", args=args))
    if "passages" in names(config, lm):
        jobs.append(Job(id="shown", args={"kind": "shown", "task": "passages"}))
    return (*jobs, *cause.jobs(config, lm))
