"""Jobs of the recall study. What the model knows decides what is measured: nothing known, and knowledge is all there is."""

from collections.abc import Sequence

from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.studies.recall import activation, application, last_layer, mitigation
from mnemoscope.studies.recall.asking import asked
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.selection import known_relations, obstacle

COPIES = ("trained", "reinitialised")
FEW_SHOTS = (1, 2, 5)
TOGETHER = 8  # relations of one knowledge job


def plan(config: Config, lm: LM) -> tuple[Job, ...]:
    """Knowledge of every relation; where some are known, everything else on those, and on a re-initialised copy."""
    every = [one.name for one in asked(lm, config)[0]]
    why = obstacle(lm)
    names = known_relations(lm, config) if not why else ()
    jobs = [
        Job(id="listing", args={"kind": "listing", "chosen": list(names), "obstacle": why}),
        *_knowledge(every),
    ]
    if names:
        jobs += _workings(names, config)
        for step in (activation, application, last_layer, mitigation):
            jobs += step.jobs(config, lm)
    return tuple(jobs)


def _knowledge(every: Sequence[str]) -> list[Job]:
    """All templates without demonstrations; one template with 1, 2 and 5; one template on the control copy."""
    runs = [("trained", 0, [0, None]), *(("trained", k, [0, 1]) for k in FEW_SHOTS), ("reinitialised", 0, [0, 1])]
    return [
        Job(
            id=f"knowledge-{copy}-{shots}-{first:03d}",
            args={
                "kind": "knowledge",
                "copy": copy,
                "relations": list(every[first : first + TOGETHER]),
                "shots": shots,
                "templates": templates,
            },
        )
        for copy, shots, templates in runs
        for first in range(0, len(every), TOGETHER)
    ]


def _workings(names: Sequence[str], config: Config) -> list[Job]:
    jobs = [Job(id="shown", args={"kind": "shown", "names": list(names)})]
    for copy in COPIES:
        n_templates = config.n_templates if copy == "trained" else 1
        same = {"copy": copy, "names": list(names)}
        jobs.append(Job(id=f"selection-{copy}", args={"kind": "selection", **same}))
        for i, name in enumerate(names):
            one = {**same, "relation": name, "n_templates": n_templates}
            jobs.append(Job(id=f"location-{copy}-{i:03d}", args={"kind": "location", **one}))
            jobs.append(Job(id=f"interchange-{copy}-{i:03d}", args={"kind": "interchange", "shots": 0, **one}))
            jobs.append(Job(id=f"paths-{copy}-{i:03d}", args={"kind": "paths", **one}))
            if copy == "trained":
                few = {**one, "shots": config.shots}
                jobs.append(Job(id=f"interchange-{copy}-k{config.shots}-{i:03d}", args={"kind": "interchange", **few}))
    return jobs
