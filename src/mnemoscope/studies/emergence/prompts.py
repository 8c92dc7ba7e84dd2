"""What is asked of every checkpoint, the same of each: texts, prompt sets, random sequences, relational documents; and the jobs."""

from dataclasses import asdict, replace
from typing import Any

from mnemoscope.data.formats import DataFile
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.pairs import TASKS, PairTask
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import DataError
from mnemoscope.measures import relation_corpora
from mnemoscope.measures.icl_levels import label_sets, narratives
from mnemoscope.measures.relation_corpora import RelationCorpus, built_in, of_file
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.studies.emergence.config import Config
from mnemoscope.studies.emergence.revisions import Checkpoint, checkpoints

CORPORA = ("letters", "trees")
TREES = 12  # narratives, unless thorough: they have ten times the opportunities of letter documents
CONTROL = "reinitialised"
CONTROL_STEP = -1


def plan(config: Config, lm: LM) -> tuple[Job, ...]:
    """One job per checkpoint and measure, checkpoint by checkpoint; the re-initialised control last."""
    found = checkpoints(config.revisions, lm, config.most)
    last = {one.series: one.revision for one in found}
    control = Checkpoint(series=found[0].series, name=CONTROL, step=CONTROL_STEP, revision=CONTROL)
    return tuple(
        Job(
            id=f"{_file_name(one.series)}-{'control' if one is control else f'step{one.step}'}-{measure}",
            args={
                **asdict(one),
                "copy": CONTROL if one is control else "trained",
                "measure": measure,
                "anchor": None if one is control else last[one.series],
            },
        )
        for one in (*found, control)
        for measure in measures(config, lm)
    )


def measures(config: Config, lm: LM) -> tuple[str, ...]:
    """What is measured; without a tokenizer there are no texts."""
    if lm.tokenizer is None:
        return ("attention",)
    return ("texts", "tasks", "attention", *(f"relations-{name}" for name in corpora(config)))


def corpora(config: Config) -> tuple[str, ...]:
    """Names of the relational corpora: the built-in ones, or the user's file."""
    name = _own(config)
    return (name,) if name else CORPORA


def texts(config: Config) -> tuple[str, ...]:
    """Texts for losses: the user's, or bundled narratives; more than are wanted, since short ones will be left out."""
    given = _given(config)
    if given is not None and (given.documents or given.prompts) and not given.tasks:
        return tuple(one.text for one in (*given.documents, *given.prompts))[: 4 * config.texts]
    return narratives(config.texts, seed_of(config.seed, "narratives"))


def tasks(config: Config) -> tuple[PairTask | Task, ...]:
    """The user's input/output tasks, or the four families of word pairs."""
    given = _given(config)
    return tuple(TASKS.values()) if given is None or not given.tasks else given.tasks


def prompts(config: Config, task: PairTask | Task) -> tuple[Prompt, ...]:
    """All prompt sets of a task; numbers of shots that a small task cannot give are left out."""
    seed = seed_of(config.seed, f"prompt sets of {task.name}")
    shots = tuple(config.shots)
    while True:
        try:
            return label_sets(task, config.sets, seed, shots=shots, queries=config.queries)
        except DataError:
            if len(shots) < 2:
                raise
            shots = shots[:-1]


def corpus(config: Config, lm: LM, name: str) -> RelationCorpus:
    """A relational corpus as this model reads it; of a built-in narrative the first 120 words, unless thorough."""
    if name == _own(config):
        return of_file(lm, str(config.data), documents=config.documents, redraws=config.redraws)
    seed = seed_of(config.seed, "relations") % 2**32
    most = config.documents if name == "letters" or config.thorough else min(config.documents, TREES)
    found = built_in(lm, name, documents=most, redraws=config.redraws, seed=seed)
    if name == "letters" or config.thorough:
        return found
    first: dict[str, Any] = {}
    for document in found.documents:
        first.setdefault(document.unit, document)
    return replace(found, documents=tuple(first.values()))


def _own(config: Config) -> str:
    """Name of the user's relational corpus; "" without one."""
    if config.data is None or not relation_corpora.has_triples(config.data):
        return ""
    return _file_name(relation_corpora.read_file(config.data).path.stem)


def _given(config: Config) -> DataFile | None:
    return None if config.data is None else relation_corpora.read_file(config.data)


def _file_name(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in name).strip("-._")
    return kept[:60] or "model"
