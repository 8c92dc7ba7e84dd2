"""One prompt under the microscope: everything that can be said about its next token in a few forward passes.

    quantity = logit of a token minus logit of a foil, or minus the mean logit of the vocabulary where there is no foil

read at the last position, four ways that stand side by side and answer different questions:
    lens     what the stream after each layer would say (nostalgebraist 2020): a reading, no cause
    direct   what each head and MLP adds to the quantity itself, final norm held (Elhage et al. 2021): exact, paths through
             later layers excluded
    effect   how the quantity changes when a head's z is zeroed at the last position, or taken from a foil prompt there
             (interchange; Wang et al. 2022, section 3): causal, all paths behind that place included
    entries  how it changes when the whole stream into a layer at one position is taken from the foil prompt: where what
             differs between the prompts stands (Meng et al. 2022, section 2, with an interchange instead of noise)
Differences of logits do not depend on a constant added to all logits, so they say the same as log odds. What a model does
not allow is left out, and the result says what and why.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.component import Component
from mnemoscope.engine.record import trace
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.errors import PromptError, UnsupportedError, VerificationError
from mnemoscope.measures import one_prompt_ways as ways
from mnemoscope.measures.one_prompt_ways import Asked
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch, batch_of_ids, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled, spelled
from mnemoscope.results.look import AttentionRow, Candidate, HeadLine, Look, Proof

Text = str | Sequence[int]  # a text, or token ids
T = TypeVar("T")

WHOLE = 256  # tokens up to which the whole pattern of the shown heads is kept
SEEN = 5  # keys that are named per head


@torch.no_grad()
def look(
    lm: LM,
    prompt: Text,
    *,
    token: str | int | None = None,
    foil: str | int | None = None,
    foil_prompt: Text | None = None,
    top: int = 8,
) -> Look:
    """Look at one prompt. See the first lines of this module for what is measured.

    token        the one in question; None: the most probable one
    foil         what it is compared with; None: the top token of the foil prompt if that is another one, else the mean of
                 the vocabulary. Strings that are several tokens behind the prompt count by their first one (noted)
    foil_prompt  heads take their z from it instead of being zeroed; equally long in tokens, it gives the patch map too
    top          so many predictions, and twice as many heads with whole patterns at most
    Raises PromptError for an empty or too long prompt, a token id outside the vocabulary, or a token that is its foil.
    """
    start = time.perf_counter()
    batch, source = _read(lm, prompt), None if foil_prompt is None else _read(lm, foil_prompt)
    if source is not None and source.ids.tolist() == batch.ids.tolist():
        raise PromptError(
            "the foil prompt is the prompt itself", found=source.prompts[0].text[:60], hint="change a word"
        )
    logits, source_logits = _last_logits(lm, batch), None if source is None else _last_logits(lm, source)
    notes = [*_notes(lm, batch)]
    target, other = _tokens(lm, prompt, token, foil, notes)
    target = int(logits.argmax()) if target is None else target
    if other is None and source_logits is not None and int(source_logits.argmax()) != target:
        other = int(source_logits.argmax())
        notes.append(f"the foil {spelled(lm, other)!r} is the top token of the foil prompt")
    if target == other:
        raise PromptError(
            "a token cannot be its own foil", found=f"both begin with {spelled(lm, target)!r}", allowed="two tokens"
        )
    asked = Asked(
        lm=lm, batch=batch, source=source, token=target, foil=other, logits=logits, source_logits=source_logits
    )
    return _answered(asked, notes, top, start)


def _answered(asked: Asked, notes: list[str], top: int, start: float) -> Look:
    lm, missing, proofs = asked.lm, dict[str, str](), list[Proof]()
    direct = _tried("direct push", missing, lambda: ways.direct(asked, proofs)) or {}
    lines = _tried("logit lens", missing, lambda: ways.lens(asked, direct)) or ()
    effects = _tried("effect of heads", missing, lambda: ways.effects(asked, proofs)) or {}
    rows = _tried("attention", missing, lambda: ways.last_rows(asked)) or ()
    entries = _tried("patch map", missing, lambda: ways.entries(asked, proofs)) or ()
    heads = _heads(direct, effects, rows)
    found = Look(
        model=lm.name,
        dtype=str(lm.dtype).removeprefix("torch."),
        device=str(lm.device),
        prompt=asked.batch.prompts[0].text,
        tokens=all_spelled(lm, asked.batch.ids[0].tolist()),
        predictions=tuple(_candidate(asked, int(i)) for i in asked.logits.topk(min(top, lm.d_vocab)).indices),
        token=_candidate(asked, asked.token),
        foil=None if asked.foil is None else _candidate(asked, asked.foil),
        quantity=asked.metric,
        value=asked.value(asked.logits),
        change="zeroed" if asked.source is None else "taken from the foil prompt",
        foil_prompt="" if asked.source is None else asked.source.prompts[0].text,
        foil_tokens=() if asked.source is None else all_spelled(lm, asked.source.ids[0].tolist()),
        foil_value=asked.value(asked.source_logits),
        layers=lines,
        heads=heads,
        entries=entries,
        attention=rows,
        proofs=tuple(proofs),
        notes=tuple(notes),
        missing=tuple(missing.items()),
    )
    whole = _tried("attention", missing, lambda: _whole(asked, found.shown_heads(2 * top), rows)) or rows
    return replace(found, attention=whole, seconds=time.perf_counter() - start)


def _tried(what: str, missing: dict[str, str], find: Callable[[], T]) -> T | None:
    """What `find` finds; what this model does not allow is noted with its reason."""
    try:
        return find()
    except (UnsupportedError, VerificationError) as error:
        missing.setdefault(what, str(error))
        return None


def _read(lm: LM, text: Text) -> Batch:
    return tokenize(lm, [text]) if isinstance(text, str) else batch_of_ids(lm, [list(text)])


def _last_logits(lm: LM, batch: Batch) -> Float[Tensor, " d_vocab"]:
    found = trace(lm, batch, layers=(lm.n_layers - 1,), logits="last").logits
    assert found is not None
    return found[0, -1, : lm.d_vocab].float().cpu()


def _notes(lm: LM, batch: Batch) -> list[str]:
    lead, left_out = batch.lead[0], batch.left_out[0]
    found = [f"the tokenizer puts {''.join(all_spelled(lm, batch.ids[0, :lead].tolist()))} in front"] if lead else []
    if left_out:
        found.append(f"{''.join(all_spelled(lm, left_out))} behind the text was left out: the model reads on")
    return found


def _tokens(
    lm: LM, prompt: Text, token: str | int | None, foil: str | int | None, notes: list[str]
) -> tuple[int | None, int | None]:
    """The ids of token and foil: given as ids, or as what they add to the prompt's tokens."""
    words = [value if isinstance(value, str) else "" for value in (token, foil)]
    found: list[int | None] = [value if isinstance(value, int) else None for value in (token, foil)]
    outside = [value for value in found if value is not None and not 0 <= value < lm.d_vocab]
    if outside:
        raise PromptError(
            f"token ids outside the vocabulary of {lm.name}", found=str(outside), allowed=f"0 to {lm.d_vocab - 1}"
        )
    if any(words) and not isinstance(prompt, str):
        raise PromptError("a token in words beside a prompt of ids", found=str(words), hint="give its id")
    if any(words):
        asked = Prompt(text=str(prompt), answer=words[0], foils=(words[1],))
        answer = answers(lm, [asked], route="extended")[0]
        for place, (text, ids) in enumerate(zip(words, (answer.ids, answer.foils[0]), strict=True)):
            found[place] = ids[0] if ids else found[place]
            if len(ids) > 1:
                notes.append(f"{text!r} is {len(ids)} tokens here; its first one, {spelled(lm, ids[0])!r}, is read")
    return found[0], found[1]


def _candidate(asked: Asked, token: int) -> Candidate:
    logits = asked.logits
    return Candidate(
        token=token,
        text=spelled(asked.lm, token),
        logit=float(logits[token]),
        probability=float((logits[token].double() - logits.double().logsumexp(0)).exp()),
        rank=float(exact_rank(logits, torch.tensor([token]))),
    )


def _whole(asked: Asked, heads: Sequence[HeadLine], rows: tuple[AttentionRow, ...]) -> tuple[AttentionRow, ...]:
    """The rows, and for the heads that are shown those of all other queries."""
    n_tokens = asked.batch.ids.shape[1]
    layers = sorted({line.layer for line in heads})
    if not rows or not layers or n_tokens > WHOLE:
        return rows
    found = trace(asked.lm, asked.batch, sites=("pattern",), positions="all", layers=layers)
    more = tuple(
        AttentionRow(
            layer=line.layer,
            head=line.head,
            query=query,
            weights=tuple(found.at("pattern", line.layer)[0, query, line.head, : query + 1].tolist()),
        )
        for line in heads
        for query in range(n_tokens - 1)
    )
    return tuple(sorted((*rows, *more), key=lambda row: (row.layer, row.head, row.query)))


def _heads(
    direct: dict[Component, float], effects: dict[tuple[int, int], float], rows: Sequence[AttentionRow]
) -> tuple[HeadLine, ...]:
    """All heads that anything is known about."""
    pushes = {
        (c.layer, c.head): push for c, push in direct.items() if c.layer is not None and c.head is not None
    }  # parts of kind "head"
    seen = {(row.layer, row.head): _attends(row.weights) for row in rows}
    places = sorted({*pushes, *effects, *seen})
    return tuple(
        HeadLine(
            layer=layer,
            head=head,
            direct=pushes.get((layer, head), math.nan),
            effect=effects.get((layer, head), math.nan),
            attends=seen.get((layer, head), ()),
        )
        for layer, head in places
    )


def _attends(weights: Sequence[float]) -> tuple[tuple[int, float], ...]:
    order = sorted(range(len(weights)), key=lambda key: -weights[key])[:SEEN]
    return tuple((key, weights[key]) for key in order if weights[key] >= 0.01)
