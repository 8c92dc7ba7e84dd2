"""The three levels of in-context learning together: loss reduction, format compliance, pattern discovery (methods P1.4).

Material is made once (from a seed, or from the user's own texts and tasks) and asked of any number of models: checkpoints, or one
model with heads ablated. Values come back one per document and one per prompt; what they mean is for `stats`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mnemoscope.data import prompt_sets, repeats
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.pairs import SHOTS, TASKS, PairTask
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import choose
from mnemoscope.measures.label_tasks import LabelScores, label_scores, tokenised
from mnemoscope.measures.loss_reduction import Windows, loss_reduction, text_rows, token_losses, windows
from mnemoscope.model.lm import LM

DIGITS = 10  # labels of the word-pair tasks are drawn from so many


@dataclass(frozen=True, kw_only=True)
class TextLosses:
    """One value per document, in nats: mean loss of all tokens, and late minus early loss (negative is in-context learning)."""

    loss: Float[np.ndarray, " document"]
    reduction: Float[np.ndarray, " document"]
    within: Windows


def text_losses(lm: LM, texts: Sequence[str]) -> TextLosses:
    """Loss and loss reduction of every text that is long enough; the others are left out."""
    within = windows(lm.n_ctx)
    rows = text_rows(lm, texts, within.length)
    losses = token_losses(lm, rows) if rows else np.full((0, max(2, within.length)), np.nan)
    return TextLosses(loss=losses[:, 1:].mean(axis=1), reduction=loss_reduction(losses, within), within=within)


def narratives(count: int, seed: int, sentences: int = 80) -> tuple[str, ...]:
    """Bundled texts for `text_losses`: narratives of about nine tokens a sentence; text k does not depend on `count`."""
    made = (repeats.narrative(np.random.default_rng([seed, k]), sentences=sentences) for k in range(count))
    return tuple(story.prompt.text for story in made)


def label_sets(
    task: PairTask | Task | str, count: int, seed: int, *, shots: Sequence[int] = SHOTS, queries: int = 4
) -> tuple[Prompt, ...]:
    """Prompts of `count` sets of a word-pair task (or its name) or of a task of input/output pairs, sets slowest.

    Set k does not depend on `count`. Label "set" is the unit of independence, "shots" the number of demonstrations.
    """
    if isinstance(task, str):
        task = TASKS[choose("pair task", task, tuple(TASKS))]
    make = prompt_sets.pair_set if isinstance(task, PairTask) else prompt_sets.task_set
    sets = (make(task, k, np.random.default_rng([seed, k]), shots=shots, queries=queries) for k in range(count))  # pyright: ignore[reportArgumentType]
    return tuple(prompt for one in sets for prompt in one)


def chance(prompt: Prompt) -> dict[str, float]:
    """What an answer without knowledge of the context scores.

    pattern and restricted: one legal label at random. format: for the word-pair tasks a digit at random (a model may say digits by
    habit: their demonstrations always end in one), for other tasks 0.
    """
    legal = 1 + len(prompt.foils)
    is_pairs = prompt.labels.get("task") in TASKS
    return {"format": legal / DIGITS if is_pairs else 0.0, "pattern": 1 / legal, "restricted": 1 / legal}


def fitting(lm: LM, prompts: Sequence[Prompt]) -> tuple[tuple[Prompt, ...], tuple[int, ...]]:
    """The prompts whose number of shots fits the context for *every* prompt of that number, and the numbers that do not."""
    if lm.n_ctx is None:
        return tuple(prompts), ()
    read = tokenised(lm, prompts)
    size = [len(row) + max(map(len, labels)) for row, labels in zip(read.rows, read.labels, strict=True)]
    long = {p.labels["shots"] for p, n in zip(prompts, size, strict=True) if n > lm.n_ctx}
    kept = tuple(p for p in prompts if p.labels["shots"] not in long)
    return kept, tuple(sorted(int(s) for s in long))


__all__ = [
    "LabelScores",
    "TextLosses",
    "chance",
    "fitting",
    "label_scores",
    "label_sets",
    "narratives",
    "text_losses",
]
