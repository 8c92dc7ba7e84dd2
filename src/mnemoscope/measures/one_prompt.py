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
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.component import Component
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.execute import DescentWarning
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import Sweep, sweep, sweep_cells
from mnemoscope.engine.tolerance import sweep_floor, tolerance
from mnemoscope.engine.unembedding import n_words
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.errors import PromptError, UnsupportedError, VerificationError
from mnemoscope.model.answers import answers
from mnemoscope.model.batch import Batch, batch_of_ids, tokenize
from mnemoscope.model.head import unembed, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled, spelled
from mnemoscope.results.look import AttentionRow, Candidate, Entry, HeadLine, LayerLine, Look, Proof

Text = str | Sequence[int]  # a text, or token ids
T = TypeVar("T")

MOST_ENTRIES = 1_500  # (layer, position) pairs of the patch map; above, every second layer, every third ...
WHOLE = 256  # tokens up to which the whole pattern of the shown heads is kept
SEEN = 5  # keys that are named per head
REBUILT = 1e-5  # of the largest logit: what rebuilding a logit from its parts may cost, in float32


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """The question: the quantity on a prompt (and on its foil prompt), and the model's own last logits."""

    lm: LM
    batch: Batch
    source: Batch | None
    token: int
    foil: int | None
    logits: Float[Tensor, " d_vocab"]
    source_logits: Float[Tensor, " d_vocab"] | None

    @property
    def metric(self) -> str:
        return "logit_minus_mean" if self.foil is None else "logit_diff"

    def value(self, logits: Float[Tensor, " d_vocab"] | None) -> float:
        """The quantity in a row of logits; nan without one."""
        if logits is None:
            return math.nan
        other = logits[: n_words(self.lm)].mean() if self.foil is None else logits[self.foil]
        return float(logits[self.token] - other)

    def swept(self, site: str, op: str) -> Sweep:
        """One sweep of a site at the last position."""
        foils = None if self.foil is None else [self.foil]
        return sweep(
            self.lm, self.batch, self.source, site=site, op=op, tokens=[self.token], foils=foils, metric=self.metric
        )


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
    asked = _Asked(
        lm=lm, batch=batch, source=source, token=target, foil=other, logits=logits, source_logits=source_logits
    )
    return _answered(asked, notes, top, start)


def _answered(asked: _Asked, notes: list[str], top: int, start: float) -> Look:
    lm, missing, proofs = asked.lm, dict[str, str](), list[Proof]()
    direct = _tried("direct push", missing, lambda: _direct(asked, proofs)) or {}
    lines = _tried("logit lens", missing, lambda: _lens(asked, direct)) or ()
    effects = _tried("effect of heads", missing, lambda: _effects(asked, proofs)) or {}
    rows = _tried("attention", missing, lambda: _rows(asked)) or ()
    entries = _tried("patch map", missing, lambda: _entries(asked, proofs)) or ()
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


def _candidate(asked: _Asked, token: int) -> Candidate:
    logits = asked.logits
    return Candidate(
        token=token,
        text=spelled(asked.lm, token),
        logit=float(logits[token]),
        probability=float((logits[token].double() - logits.double().logsumexp(0)).exp()),
        rank=float(exact_rank(logits, torch.tensor([token]))),
    )


def _direct(asked: _Asked, proofs: list[Proof]) -> dict[Component, float]:
    """Direct push of every component, proven to sum to the model's own quantity (where logits are not capped)."""
    parts = decompose(asked.lm, asked.batch)
    proofs.append(
        Proof(identity="parts = stream", error=parts.error, allowed=parts.allowed, unit="share of sizes", n=1)
    )
    if asked.foil is None:
        found = attribute(parts, [asked.token], reference="mean")
    else:
        found = attribute(parts, [asked.token], reference="foil", foils=[asked.foil])
    if unembedding(asked.lm).softcap is None:
        scale = float(asked.logits.abs().max())
        rounding = tolerance(sweep_floor(asked.lm, asked.batch), asked.lm.dtype, scale)
        error = abs(float(found.total[0, 0]) - asked.value(asked.logits))
        proofs.append(
            Proof(
                identity="pushes + biases = quantity",
                error=error,
                allowed=max(REBUILT * scale, rounding),
                unit="logits",
                n=1,
            )
        )
    return dict(zip(found.components, found.values[:, 0, 0].tolist(), strict=True))


def _lens(asked: _Asked, direct: dict[Component, float]) -> tuple[LayerLine, ...]:
    stream = trace(asked.lm, asked.batch, sites=("resid_post",))
    lines: list[LayerLine] = []
    for layer in stream.layers("resid_post"):
        logits = unembed(asked.lm, stream.at("resid_post", layer)[0, 0]).float().cpu()
        logprob = logits.double().log_softmax(0)
        best = int(logits.argmax())
        lines.append(
            LayerLine(
                layer=layer,
                rank=float(exact_rank(logits, torch.tensor([asked.token]))),
                probability=float(logprob[asked.token].exp()),
                logit=float(logits[asked.token]),
                top=spelled(asked.lm, best),
                top_probability=float(logprob[best].exp()),
                attention=_pushed(direct, layer, ("head", "attn", "attn_bias")),
                mlp=_pushed(direct, layer, ("mlp",)),
            )
        )
    return tuple(lines)


def _pushed(direct: dict[Component, float], layer: int, kinds: tuple[str, ...]) -> float:
    """Sum of the pushes of a layer's components of these kinds; nan if it has none that we know."""
    found = [push for component, push in direct.items() if component.layer == layer and component.kind in kinds]
    return sum(found) if found else math.nan


def _effects(asked: _Asked, proofs: list[Proof]) -> dict[tuple[int, int], float]:
    """Effect of every head: z zeroed, or taken from the foil prompt, at the last position."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescentWarning)  # the proof says which path was taken, and why
        found = asked.swept("z", "zero" if asked.source is None else "replace")
    proofs += _proofs("heads", found)
    layers, heads = found.coordinates["layer"], found.coordinates["head"]
    return {(l, h): float(found.effects[i, j, 0]) for i, l in enumerate(layers) for j, h in enumerate(heads)}


def _entries(asked: _Asked, proofs: list[Proof]) -> tuple[Entry, ...]:
    """Interchange of the stream into every layer, from the first position on where the prompts differ."""
    lm, source = asked.lm, asked.source
    if source is None:
        return ()
    if source.ids.shape != asked.batch.ids.shape:
        lengths = f"{asked.batch.ids.shape[1]} and {source.ids.shape[1]} tokens"
        raise UnsupportedError("no patch map", found=f"prompt and foil prompt have {lengths}", allowed="equally many")
    first = int((source.ids != asked.batch.ids)[0].int().argmax())
    positions = range(first, source.ids.shape[1])
    step = math.ceil(lm.n_layers * len(positions) / MOST_ENTRIES)
    places = [(layer, position) for layer in range(0, lm.n_layers, step) for position in positions]
    cells = [(Patch(site="resid_pre", layer=layer, position=position),) for layer, position in places]
    foils = None if asked.foil is None else [asked.foil]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescentWarning)
        found = sweep_cells(
            lm, asked.batch, cells, sources=(source,), tokens=[asked.token], foils=foils, metric=asked.metric
        )
    proofs += _proofs("stream", found)
    effects = found.effects[:, 0].tolist()
    return tuple(Entry(layer=l, position=p, effect=e) for (l, p), e in zip(places, effects, strict=True))


def _proofs(what: str, found: Sweep) -> list[Proof]:
    """What a sweep says about itself."""
    seen = found.verification
    if seen.path == "slow":
        detail = f"whole forward passes: {seen.reason}"
        return [
            Proof(identity=f"{what} patched", error=math.nan, allowed=seen.tolerance, unit="logits", n=0, detail=detail)
        ]
    same = {"allowed": seen.tolerance, "unit": "logits"}
    return [
        Proof(
            identity=f"{what} patched in one descent = one forward pass each", error=seen.largest, n=seen.rows, **same
        ),
        Proof(identity=f"{what}: unpatched rows = the model", error=seen.control, n=1, **same),
    ]


def _rows(asked: _Asked) -> tuple[AttentionRow, ...]:
    """Attention of every head from the last position."""
    found = trace(asked.lm, asked.batch, sites=("pattern",))
    query = asked.batch.ids.shape[1] - 1
    return tuple(
        AttentionRow(layer=layer, head=head, query=query, weights=tuple(row.tolist()))
        for layer in found.layers("pattern")
        for head, row in enumerate(found.at("pattern", layer)[0, 0].cpu())
    )


def _whole(asked: _Asked, heads: Sequence[HeadLine], rows: tuple[AttentionRow, ...]) -> tuple[AttentionRow, ...]:
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
