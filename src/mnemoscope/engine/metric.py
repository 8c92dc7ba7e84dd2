"""What is read out of a run: a number per prompt and token, from the vectors that go into the unembedding.

    logit             l_t
    logit_diff        l_t - mean of l over the prompt's foils
    logit_minus_mean  l_t - mean over the vocabulary (methods.md P2.2)
    logprob           log softmax(l)_t, nats; needs full vocabulary rows
    loss              -logprob, nats; with no tokens asked: of the prompt's own next tokens, averaged over the positions read

Averaged over the positions that are read. `logit` and `logit_diff` unembed only the tokens asked for, and so does
`logit_minus_mean` unless the model soft-caps its logits; the others unembed every row completely and cost accordingly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.axes import METRICS
from mnemoscope.engine.plan import Position, places
from mnemoscope.engine.unembedding import Reader, reader
from mnemoscope.errors import InputError, PromptError, choose
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

Tokens = int | str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]] | Int[Tensor, "prompt token"] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is read where. read: columns, -1 fills up; targets: a token per (prompt, read column, token asked)."""

    metric: str
    read: Int[np.ndarray, "prompt read"]
    targets: Int[np.ndarray, "prompt read token"]
    foils: Int[np.ndarray, "prompt foil"] | None
    single: bool  # one token per prompt: no token axis in the answer

    @property
    def ends(self) -> Int[np.ndarray, " prompt"]:
        """One behind the last column that is read."""
        return self.read.max(axis=1) + 1

    def of(self, prompts: Int[np.ndarray, " some"]) -> "Question":
        """The question about some of the prompts."""
        return Question(
            metric=self.metric,
            read=self.read[prompts],
            targets=self.targets[prompts],
            foils=None if self.foils is None else self.foils[prompts],
            single=self.single,
        )


def question(
    lm: LM, batch: Batch, *, metric: str, tokens: Tokens, foils: Tokens, readout: Position, align: str | None = None
) -> Question:
    """Resolve positions and tokens; raises for a metric that lacks its tokens or foils."""
    choose("metric", metric, METRICS)
    own = tokens is None and metric == "loss"
    read = places(batch, None, readout, align=align).into
    if own:
        lengths = batch.lengths.cpu().numpy()
        read = np.where(read >= lengths[:, None] - 1, -1, read)  # the last token has no next one
    if (read < 0).all(axis=1).any():
        missing = np.nonzero((read < 0).all(axis=1))[0].tolist()
        raise PromptError(
            f"nothing to read at {readout!r}", found=f"prompts {missing}", allowed="a position per prompt"
        )
    asked = _ids(lm, batch, tokens, "answer") if not own else None
    wrong = _ids(lm, batch, foils, "foils") if metric == "logit_diff" else None
    if metric == "logit_diff" and wrong is None:
        raise InputError("metric 'logit_diff' without foils", hint="foils=, or prompts with foils")
    if asked is None and not own:
        raise InputError(f"metric {metric!r} without tokens", hint="tokens=, or prompts with an answer")
    if asked is None:
        following = np.take_along_axis(batch.ids.cpu().numpy(), np.maximum(read, 0) + 1, axis=1)
        targets = following[:, :, None]
    else:
        targets = np.repeat(asked[:, None, :], read.shape[1], axis=1)
    single = targets.shape[2] == 1 and not _two_axes(tokens)
    return Question(metric=metric, read=read, targets=targets, foils=wrong, single=single)


def _two_axes(tokens: Tokens) -> bool:
    if isinstance(tokens, Tensor | np.ndarray):
        return tokens.ndim == 2
    return isinstance(tokens, Sequence) and not isinstance(tokens, str) and not isinstance(tokens[0], int | str)


def _ids(lm: LM, batch: Batch, tokens: Tokens, own: str) -> Int[np.ndarray, "prompt token"] | None:
    """Token ids [prompt, token], -1 fills up; a string stands for its only token."""
    n = len(batch)
    if tokens is None:
        found = answers(lm, batch.prompts) if lm.tokenizer is not None else ()
        rows = [[a.ids[0]] if own == "answer" and a.ids else [f[0] for f in a.foils] for a in found]
        return _rectangle(rows) if rows and all(rows) else None
    if isinstance(tokens, int | np.integer | str):
        return np.full((n, 1), _id(lm, tokens), dtype=np.int64)
    listed = tokens.tolist() if isinstance(tokens, Tensor | np.ndarray) else list(tokens)
    if len(listed) != n:
        raise InputError(
            "tokens do not fit the prompts", found=f"{len(listed)} for {n} prompts", allowed="one per prompt"
        )
    rows: list[list[Any]] = [list(row) if isinstance(row, list | tuple) else [row] for row in listed]
    return _rectangle([[_id(lm, t) for t in row] for row in rows])


def _rectangle(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "prompt token"]:
    width = max(len(row) for row in rows)
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], dtype=np.int64)


def _id(lm: LM, token: int | str) -> int:
    if isinstance(token, str):
        ids = [] if lm.tokenizer is None else lm.tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise PromptError(
                f"{token!r} is not one token of {lm.tokenizer_name}", found=f"ids {ids}", hint="give token ids"
            )
        return int(ids[0])
    if not 0 <= int(token) < lm.d_vocab:
        raise PromptError("a token id outside the vocabulary", found=str(token), allowed=f"0 to {lm.d_vocab - 1}")
    return int(token)


def needs_rows(metric: str, head: Reader) -> bool:
    """Whether a metric needs all logits of a row."""
    return metric in ("logprob", "loss") or (metric == "logit_minus_mean" and head.softcap is not None)


def of_logits(
    logits: Float[Tensor, "row read d_vocab"],
    targets: Int[Tensor, "row read token"],
    foils: Int[Tensor, "row foil"] | None,
    metric: str,
    n_words: int,
) -> Float[Tensor, "row read token"]:
    """The definition, from complete logits. n_words: vocabulary entries over which the mean runs."""
    logits = logits.float()
    found = logits.gather(2, targets.clamp(min=0))
    if metric == "logit_diff":
        assert foils is not None
        others = logits.gather(2, foils.clamp(min=0)[:, None].expand(-1, logits.shape[1], -1))
        return found - _mean(others, (foils >= 0)[:, None])
    if metric == "logit_minus_mean":
        return found - logits[..., :n_words].mean(dim=-1, keepdim=True)
    if metric == "logit":
        return found
    logprob = found - logits.logsumexp(dim=-1, keepdim=True)
    return -logprob if metric == "loss" else logprob


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum(dim=-1, keepdim=True) / present.sum(dim=-1, keepdim=True)


@torch.no_grad()
def scores(
    lm: LM, final: Float[Tensor, "cell prompt read d_model"], asked: Question, *, most_rows: int
) -> Float[np.ndarray, "cell prompt token"]:
    """The metric of every row, averaged over the columns read. most_rows: complete vocabulary rows held at once."""
    head = reader(lm)
    targets = torch.from_numpy(asked.targets).to(final.device)
    foils = None if asked.foils is None else torch.from_numpy(asked.foils).to(final.device)
    if needs_rows(asked.metric, head):
        step = max(1, most_rows // final[0, :, :, 0].numel())
        found = torch.cat([_from_rows(final[i : i + step], targets, head, asked) for i in range(0, len(final), step)])
    else:
        found = _from_tokens(final, targets, foils, head, asked)
    return averaged(found.cpu().numpy(), asked)


def averaged(
    found: Float[np.ndarray, "cell prompt read token"], asked: Question
) -> Float[np.ndarray, "cell prompt token"]:
    """Mean over the columns read; nan where a prompt was asked for fewer tokens than others."""
    present = (asked.read >= 0)[None, :, :, None]
    mean = np.where(present, found.astype(np.float64), 0.0).sum(axis=2) / present.sum(axis=2)
    return np.where((asked.targets[:, 0] >= 0)[None], mean, np.nan)


def _from_rows(final: Tensor, targets: Tensor, head: Reader, asked: Question) -> Tensor:
    cells, prompts = final.shape[:2]
    rows = head.logits(final.flatten(0, 1))
    each = targets[None].expand(cells, -1, -1, -1).flatten(0, 1)
    found = of_logits(rows, each, None, asked.metric, head.n_words)
    return found.unflatten(0, (cells, prompts))


def _from_tokens(final: Tensor, targets: Tensor, foils: Tensor | None, head: Reader, asked: Question) -> Tensor:
    found = head.token_logits(final, targets.clamp(min=0))
    if asked.metric == "logit_minus_mean":
        return found - head.mean_logit(final)[..., None]
    if foils is None:
        return found
    each = foils.clamp(min=0)[:, None].expand(-1, final.shape[2], -1)
    return found - _mean(head.token_logits(final, each), (foils >= 0)[:, None])
