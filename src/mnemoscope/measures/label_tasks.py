"""Format compliance and pattern discovery: does a model answer with a legal label, and with the right one?

The second and third of the three levels of in-context learning of Ren et al. 2024 (arXiv 2402.13055; methods P1.4), on few-shot
tasks whose labels stand behind the prompt: word pairs with digits (`data.pairs`), or any input/output pairs
(`data.function_vectors`). One value per prompt comes back; means, intervals and chance are the caller's. The model is run and
nothing else, so an ablated one (`engine.intervene`) is measured by the same call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import PromptError
from mnemoscope.measures.prefixes import last_logits
from mnemoscope.model.answers import answers
from mnemoscope.model.encode import encode, needed
from mnemoscope.model.lm import LM

Labels = tuple[tuple[int, ...], ...]  # token ids of each legal label of a prompt, the right one first


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelScores:
    """One value per prompt.

    format      1 if the greedy continuation is a legal label (for labels of one token: the vocabulary-wide top token is one)
    pattern     1 if it is the right label
    restricted  1 if the right label wins where only legal labels may be said
    legal       probability of all legal labels together, at the token where they part
    right       the right label's share of it; nan where a wrong label begins with the same token
    chosen      which legal label wins (index: 0 the answer, i the foil i - 1)
    route       how labels became tokens (binding decision B4): "extended" or "stripped", the same for all prompts
    forced      tokens that all labels of a prompt begin with (a bare space, in some tokenizers) and that were therefore given
    """

    format: Float[np.ndarray, " prompt"]
    pattern: Float[np.ndarray, " prompt"]
    restricted: Float[np.ndarray, " prompt"]
    legal: Float[np.ndarray, " prompt"]
    right: Float[np.ndarray, " prompt"]
    chosen: Int[np.ndarray, " prompt"]
    route: str
    forced: Int[np.ndarray, " prompt"]


def label_scores(lm: LM, prompts: Sequence[Prompt], *, reuse: bool = True) -> LabelScores:
    """Ask every prompt for its label; legal labels are its answer and its foils.

        format = [top token along the way is always a legal next token],  pattern = format * [the label is the answer]
        restricted = [answer = the label reached by taking the best legal next token at every step]
        legal = sum over distinct first tokens u of legal labels of p(u | prompt),   right = p(u_answer | prompt) / legal

    "First" is behind what all labels of the prompt share. Where one label begins with another, a label ends where the model would
    say something that does not go on. `reuse`: read common beginnings once (`prefixes.last_logits`). Raises PromptError for prompts
    without answer or foil, without a common way into tokens, or longer than the model's context.
    """
    read = tokenised(lm, prompts)
    walks = [_Walk.of(row, labels) for row, labels in zip(read.rows, read.labels, strict=True)]
    going = list(range(len(walks)))
    while going:
        for numbers, logits in last_logits(lm, [walks[i].row for i in going], reuse=reuse):
            tops = logits.argmax(-1).tolist()
            shares = logits.logsumexp(-1)
            for place, top, row, total in zip(numbers.tolist(), tops, logits, shares.tolist(), strict=True):
                walks[going[place]].step(top, row, total)
        going = [i for i in going if not walks[i].ended]
    chosen = np.array([walk.chosen for walk in walks])
    free = np.array([walk.free for walk in walks])
    return LabelScores(
        format=free.astype(float),
        pattern=(free & (chosen == 0)).astype(float),
        restricted=(chosen == 0).astype(float),
        legal=np.array([walk.legal for walk in walks]),
        right=np.array([walk.right for walk in walks]),
        chosen=chosen,
        route=read.route,
        forced=np.array([walk.forced for walk in walks]),
    )


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """Prompts as token rows and their labels as tokens, all by one route."""

    rows: tuple[tuple[int, ...], ...]
    labels: tuple[Labels, ...]
    route: str


def tokenised(lm: LM, prompts: Sequence[Prompt]) -> Tokenised:
    """What `model.answers` finds for every prompt, with one call of the tokenizer per route instead of one per label."""
    bare = [i for i, prompt in enumerate(prompts) if not prompt.answer or not prompt.foils]
    if bare or not prompts:
        raise PromptError(
            "a label task needs prompts with an answer and at least one foil", found=f"{len(bare)} of {len(prompts)}"
        )
    first = encode(lm.tokenizer, prompts[0].text, lm.bos).ids
    lead = first[: encode(lm.tokenizer, prompts[0].text, lm.bos).lead]
    misfits: list[Prompt] = []
    for route in ("extended", "stripped"):
        texts = [p.text.rstrip(" ") if route == "stripped" else p.text for p in prompts]
        read = _ids(lm, texts)
        said = _ids(lm, [p.text + label for p in prompts for label in (p.answer, *p.foils)])
        labels: list[Labels] = []
        at = 0
        for prompt, row in zip(prompts, read, strict=True):
            count = 1 + len(prompt.foils)
            longer, at = said[at : at + count], at + count
            labels.append(tuple(ids[len(row) :] for ids in longer if ids[: len(row)] == row and len(ids) > len(row)))
        wrong = [p for found, p in zip(labels, prompts, strict=True) if len(found) < 1 + len(p.foils)]
        if not wrong:
            return Tokenised(rows=tuple((*lead, *row) for row in read), labels=tuple(labels), route=route)
        misfits.extend(wrong[:2])
    answers(lm, misfits)  # says what is wrong, prompt by prompt
    raise PromptError("labels cannot be turned into tokens by one route", found=f"{len(prompts)} prompts")


def _ids(lm: LM, texts: Sequence[str]) -> list[tuple[int, ...]]:
    found = needed(lm.tokenizer)(list(texts), add_special_tokens=False, truncation=False, verbose=False)
    return [tuple(ids) for ids in found["input_ids"]]


@dataclass(kw_only=True, eq=False)
class _Walk:
    """One prompt on its way through the tree of its legal labels."""

    row: tuple[int, ...]  # prompt, what all labels share, and what was said since
    labels: Labels
    forced: int
    said: tuple[int, ...]  # of a label, from its beginning
    free: bool = True  # the model said all of it by itself
    ended: bool = False
    chosen: int = -1
    legal: float = np.nan
    right: float = np.nan

    @classmethod
    def of(cls, row: tuple[int, ...], labels: Labels) -> "_Walk":
        if len(set(labels)) < len(labels):
            raise PromptError("two legal labels of a prompt are the same tokens", found=str(labels[:6]))
        shortest = min(map(len, labels))
        forced = next((i for i in range(shortest - 1) if len({label[i] for label in labels}) > 1), shortest - 1)
        return cls(row=(*row, *labels[0][:forced]), labels=labels, forced=forced, said=labels[0][:forced])

    def step(self, top: int, logits: Float[Tensor, " d_vocab"], total: float) -> None:
        """One more token: the model's own where that is legal, else the best legal one; or the end of a label."""
        depth = len(self.said)
        within = [label for label in self.labels if label[:depth] == self.said]
        legal = sorted({label[depth] for label in within if len(label) > depth})
        if depth == self.forced:
            self._shares(within, legal, logits, total)
        if self.said in within and top not in legal:
            self._end()
            return
        best = top if top in legal else legal[int(logits[legal].argmax())]
        self.free = self.free and top == best
        self.said, self.row = (*self.said, best), (*self.row, best)
        if not any(len(label) > len(self.said) and label[: len(self.said)] == self.said for label in within):
            self._end()

    def _end(self) -> None:
        self.ended, self.chosen = True, self.labels.index(self.said)

    def _shares(self, within: Sequence[tuple[int, ...]], legal: Sequence[int], logits: Tensor, total: float) -> None:
        p = dict(zip(legal, (logits[list(legal)] - total).exp().tolist(), strict=True))
        self.legal = sum(p.values())
        own = self.labels[0][self.forced]
        alone = sum(label[self.forced] == own for label in within if len(label) > self.forced) == 1
        self.right = p[own] / self.legal if alone and self.legal > 0 else np.nan
