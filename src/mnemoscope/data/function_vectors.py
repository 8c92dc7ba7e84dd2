"""Any task given as input/output pairs, asked with a few solved examples (the format of Todd et al. 2024).

A file is a JSON list of {"input": ..., "output": ...}; its name is the task's. A prompt shows `shots` solved pairs and ends
where the answer to the query begins. Roles and labels are those of our own word-pair tasks (`pairs.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnemoscope.data.files import JSON, objects, read_json
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.errors import DataError, choose, listed

FORMS = {  # before the input, behind it, behind the output
    "question": ("Q: ", "\nA:", "\n\n"),
    "colon": ("", ":", "\n"),
    "arrow": ("", " ->", "\n"),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A named task: (input, output) pairs, at least two different inputs."""

    name: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The legal answers, each once, in file order."""
        return tuple(dict.fromkeys(output for _, output in self.pairs))


def is_task(value: JSON) -> bool:
    """Whether a JSON value looks like a list of input/output pairs: its first entry is one."""
    records = objects(value[:1]) if isinstance(value, list) else []
    return bool(records) and {"input", "output"} <= set(records[0])


def read(path: Path) -> tuple[Task, tuple[LeftOut, ...]]:
    """Read one task. Pairs without input or output are left out and listed.

    Numbers are read as they would be written. Raises DataError if the file is no list of pairs, holds anything else among them,
    or has fewer than two inputs.
    """
    value = read_json(path)
    entries = value if isinstance(value, list) and is_task(value) else []
    other = [f"entry {i} is a {type(entry).__name__}" for i, entry in enumerate(entries) if not isinstance(entry, dict)]
    if other or not entries:
        raise DataError(
            f"{path} is not a task",
            found=listed(other),
            allowed='a JSON list of {"input": ..., "output": ...}',
            hint="take them out",
        )
    pairs: list[tuple[str, str]] = []
    left: list[LeftOut] = []
    for number, record in enumerate(objects(value)):
        pair = (_written(record.get("input")), _written(record.get("output")))
        if all(pair):
            pairs.append(pair)
        else:
            left.append(
                LeftOut(id=f"{path.stem} pair {number}", reason="pair without input or output", detail=str(pair))
            )
    if len({given for given, _ in pairs}) < 2:
        raise DataError(
            f"{path} cannot be asked with examples", found=f"{len(pairs)} pairs", allowed="two different inputs"
        )
    return Task(name=path.stem, pairs=tuple(pairs)), tuple(left)


def _written(value: JSON) -> str:
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def task_prompt(
    task: Task, *, shots: int, query: int, rng: np.random.Generator, form: str = "question", shuffled: bool = False
) -> Prompt:
    """Ask for pair number `query` behind `shots` solved pairs with other inputs, each input once.

    `shuffled` permutes the outputs of the demonstrations: the length-matched control. Roles: demonstration,
    demonstration_label, query, last (what stands behind the query). Foils: all outputs that are not right for the query.
    Labels: task, shots, item, condition, answer_in_shots. Raises DataError if the task has too few other inputs.
    """
    given, _ = task.pairs[query]
    shown = _shown(task, given, shots, rng)
    said = [output for _, output in shown]
    if shuffled:
        said = [said[int(i)] for i in rng.permutation(len(said))]
    return written(task, shown, query, form=form, said=said, condition="shuffled" if shuffled else "true")


def written(
    task: Task,
    shown: Sequence[tuple[str, str]],
    query: int,
    *,
    form: str = "question",
    said: Sequence[str] | None = None,
    condition: str = "true",
) -> Prompt:
    """The prompt of given solved pairs and the pair number `query`; `said`: the outputs that stand there, if not the true ones."""
    before, behind, end = FORMS[choose("form of a task", form, tuple(FORMS))]
    given, answer = task.pairs[query]
    outputs = [output for _, output in shown] if said is None else said
    pieces: list[str | tuple[str, str]] = []
    for (other, _), output in zip(shown, outputs, strict=True):
        pieces += [before, ("demonstration", other), behind + " ", ("demonstration_label", output), end]
    pieces += [before, ("query", given), *_last(behind)]
    right = {output for other, output in task.pairs if other == given}
    return joined(
        pieces,
        answer=f" {answer}",
        foils=tuple(f" {output}" for output in task.outputs if output not in right),
        labels={
            "task": task.name,
            "shots": len(shown),
            "item": given,
            "condition": condition,
            "answer_in_shots": answer in outputs,
        },
    )


def _last(behind: str) -> Sequence[str | tuple[str, str]]:
    stripped = behind.lstrip()
    return [behind[: len(behind) - len(stripped)], ("last", stripped)]


def _shown(task: Task, given: str, shots: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    others = {
        pair[0]: pair for pair in (task.pairs[int(i)] for i in rng.permutation(len(task.pairs))) if pair[0] != given
    }
    if shots > len(others):
        raise DataError(f"{shots} demonstrations of task {task.name!r}", found=f"{len(others)} other inputs")
    return list(others.values())[:shots]


def read_folder(path: Path) -> tuple[tuple[Task, ...], tuple[LeftOut, ...]]:
    """Read every task of a folder and its subfolders, or one file. Raises DataError listing every file that is none."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    bad = [file.name for file in files if not is_task(read_json(file))]
    if bad or not files:
        raise DataError(f"{path} is not a folder of tasks", found=listed(bad) or "no .json file")
    every = [read(file) for file in files]
    return tuple(task for task, _ in every), tuple(case for _, left in every for case in left)
