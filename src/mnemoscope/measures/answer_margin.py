"""How probable the right answer is and how far it is ahead of its distractors, in patched runs of the same prompts.

The right answer stands behind its prompt (teacher-forced), so that one run serves all its tokens and every distractor:

    logprob = sum_i log p(a_i | prompt, a_<i)
    margin  = min over distractors f of  log p(a_d | prompt, a_<d) - log p(f_d | prompt, a_<d)

d is the first index at which answer and distractor differ (methods, detail 14). What a run does to the whole answer and what it
does to the choice between contents are thus two numbers: an example that only teaches the form moves the first alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mnemoscope.engine.chunks import budget_bytes
from mnemoscope.engine.execute import Task, execute
from mnemoscope.engine.metric import Question
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.engine.verify import Verification
from mnemoscope.errors import PromptError
from mnemoscope.model.answers import Answer, first_difference
from mnemoscope.model.batch import Batch, batch_of_ids
from mnemoscope.model.lm import LM

END, SAID = "end", "said"  # roles: the last prompt token; every column that predicts a token of the answer
Ids = Sequence[int]
Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Forced:
    """Prompts with their right answers behind them.

    batch     roles END, SAID, and "said0", "said1" ...: the single columns of SAID; then the caller's
    question  token 0: the answer as it stands; token j: the same with one token exchanged for the j-th distractor's
    size      tokens of every answer
    """

    batch: Batch
    question: Question
    size: Int[np.ndarray, " prompt"]

    @property
    def places(self) -> tuple[str, ...]:
        """The single columns that predict a token of the answer, as roles."""
        return tuple(f"{SAID}{i}" for i in range(int(self.size.max())))


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Answers in patched runs (nats), in the runs as they are, and how the numbers were checked."""

    logprob: Float[np.ndarray, "cell prompt"]
    margin: Float[np.ndarray, "cell prompt"]
    plain_logprob: Float[np.ndarray, " prompt"]
    plain_margin: Float[np.ndarray, " prompt"]
    verification: Verification


def forced(
    lm: LM, rows: Sequence[Ids], held: Sequence[Answer], roles: Mapping[str, Sequence[Ranges]] | None = None
) -> Forced:
    """Put every answer behind its prompt. rows: token ids of the prompts; roles: ranges of columns per prompt.

    Distractors that begin with the answer (or the reverse) cannot be told apart from it and are left out; a prompt without any
    has margin nan. Raises PromptError for a prompt without an answer.
    """
    bare = [i for i, one in enumerate(held) if not one.ids]
    if bare:
        raise PromptError("prompts without an answer", found=f"prompts {bare[:8]}", allowed="an answer for each")
    starts = np.array([len(row) - 1 for row in rows])
    size = np.array([len(one.ids) for one in held])
    read = np.where(np.arange(size.max())[None] < size[:, None], starts[:, None] + np.arange(size.max()), -1)
    spans: dict[str, Sequence[Ranges]] = {
        END: [((int(a), int(a) + 1),) for a in starts],
        SAID: [((int(a), int(a + n)),) for a, n in zip(starts, size, strict=True)],
    }
    for place in range(int(size.max())):
        at = [int(a) + place for a in starts]
        spans[f"{SAID}{place}"] = [((c, c + 1),) if place < n else () for c, n in zip(at, size, strict=True)]
    spans |= roles or {}
    batch = batch_of_ids(lm, [[*row, *one.ids] for row, one in zip(rows, held, strict=True)])
    return Forced(
        batch=replace(batch, spans={role: tuple(tuple(r) for r in ranges) for role, ranges in spans.items()}),
        question=Question(metric="logprob", read=read, targets=_targets(held, size), foils=None, single=False),
        size=size,
    )


def _targets(held: Sequence[Answer], size: np.ndarray) -> Int[np.ndarray, "prompt read token"]:
    """The answer's own tokens; and for every distractor the same with the token at their first difference exchanged."""
    options = [[list(one.ids), *_exchanged(one)] for one in held]
    targets = np.full((len(held), int(size.max()), max(map(len, options))), -1, dtype=np.int64)
    for i, own in enumerate(options):
        targets[i, :, : len(own)] = 0
        targets[i, : size[i], : len(own)] = np.array(own).T
    return targets


def _exchanged(one: Answer) -> list[list[int]]:
    found: list[list[int]] = []
    for foil in one.foils:
        if one.ids[: len(foil)] == foil or foil[: len(one.ids)] == one.ids:
            continue
        at, _, other = first_difference(one.ids, foil)
        found.append([*one.ids[:at], other, *one.ids[at + 1 :]])
    return found


def judged(
    lm: LM, asked: Forced, cells: Sequence[Cell], *, sources: Sequence[Batch] = (), budget: str | int = "1GiB"
) -> Judged:
    """logprob and margin of the right answers in every patched run (`mnemoscope.engine.sweep` says what a cell is)."""
    task = Task(lm=lm, base=asked.batch, sources=tuple(sources), asked=asked.question, budget=budget_bytes(budget))
    found = execute(task, cells)
    logprob, margin = _read(found.base[None] + found.effects, asked)
    plain_logprob, plain_margin = _read(found.base[None], asked)
    return Judged(
        logprob=logprob,
        margin=margin,
        plain_logprob=plain_logprob[0],
        plain_margin=plain_margin[0],
        verification=found.verification,
    )


def _read(
    mean: Float[np.ndarray, "cell prompt token"], asked: Forced
) -> tuple[Float[np.ndarray, "cell prompt"], Float[np.ndarray, "cell prompt"]]:
    total = mean * asked.size[None, :, None]
    ahead = total[..., :1] - total[..., 1:]
    there = ~np.isnan(ahead)
    least = np.where(there, ahead, np.inf).min(axis=-1, initial=np.inf)
    return total[..., 0], np.where(there.any(axis=-1), least, np.nan)


def plain(lm: LM, asked: Forced, *, budget: str | int = "1GiB") -> Judged:
    """The runs as they are (one cell, which changes nothing)."""
    nothing = (Patch(site="resid_post", layer=lm.n_layers - 1, position=END, op="scale", value=1.0),)
    return judged(lm, asked, [nothing], budget=budget)
