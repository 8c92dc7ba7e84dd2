"""Is a function applied to what was carried, or was its value carried? Exchanging movers' outputs (methods.md B6.6).

What the movers say at the last position in one prompt is put into another prompt, everything later answers, and the answer that
comes is named. Within one relation the other topic's answer must come, wherever it was computed. What decides is the movers'
output of *another* relation r' about X', put into the prompt of r about X:

    r(X')    the topic was carried, and r is applied behind the movers        ("get_capital(X)" of Lv et al. 2024, P2.4)
    r'(X')   the attribute was carried: it was looked up where the topic stands

Ceilings: all heads at the last position, all heads at all positions. Floor: as many heads of the same layers that are no movers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.intervene import intervene
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import sweep_cells
from mnemoscope.engine.verify import Verification
from mnemoscope.measures.answer_rows import answer_rows, final_scale
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM

Head = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchanged:
    """Log probabilities of the whole vocabulary behind every prompt: unpatched [prompt d_vocab] and per exchange."""

    base: Float[np.ndarray, "prompt d_vocab"]
    patched: Mapping[str, Float[np.ndarray, "prompt d_vocab"]]
    verification: Verification


def exchange(
    lm: LM,
    base: Sequence[Prompt],
    source: Sequence[Prompt],
    cells: Mapping[str, Cell],
    *,
    budget: str = "1GiB",
) -> Exchanged:
    """Put outputs of the source prompts (same index) into the base prompts, one named cell after the other, and read all logits."""
    found = sweep_cells(
        lm,
        list(base),
        list(cells.values()),
        sources=(list(source),),
        tokens=[list(range(lm.d_vocab))] * len(base),
        metric="logprob",
        budget=budget,
    )
    patched = {name: found.base + effect for name, effect in zip(cells, found.effects, strict=True)}
    return Exchanged(base=found.base, patched=patched, verification=found.verification)


def of_heads(heads: Sequence[Head], *, everywhere: bool = False) -> Cell:
    """The cell that takes z of these heads from the source run, at the last position or at all."""
    where = "all" if everywhere else "last"
    return tuple(Patch(site="z", layer=layer, head=head, position=where, source=0) for layer, head in heads)


def bystanders(movers: Sequence[Head], heads: Sequence[Head], rng: np.random.Generator) -> tuple[Head, ...]:
    """As many heads of the same layers that are no movers, drawn without replacement; fewer where a layer has no more."""
    drawn: list[Head] = []
    for layer, _ in movers:
        rest = [head for head in heads if head[0] == layer and head not in movers and head not in drawn]
        drawn += [rest[int(rng.integers(len(rest)))]] if rest else []
    return tuple(drawn)


def named(
    logits: Float[np.ndarray, "prompt d_vocab"],
    names: Sequence[Mapping[int, str]],
    options: Sequence[int] | None = None,
) -> list[str]:
    """What stands on top of every prompt's row: the name of that token, or "else". options: only among these tokens."""
    few = np.arange(logits.shape[1]) if options is None else np.asarray(options)
    top = few[logits[:, few].argmax(axis=1)]
    return [one.get(int(token), "else") for one, token in zip(names, top, strict=True)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """Per layer and prompt: what attention and MLP add to one answer's logit minus another's, final norm at its scale."""

    attn: Float[np.ndarray, "layer prompt"]
    mlp: Float[np.ndarray, "layer prompt"]


@torch.no_grad()
def terms(
    lm: LM,
    prompts: Sequence[Prompt],
    answers: Int[Tensor, " prompt"],
    others: Int[Tensor, " prompt"],
    *,
    heads: Sequence[Head] = (),
    source: Sequence[Prompt] = (),
) -> Terms:
    """Direct push on `answers` minus `others`, layer by layer; with `heads`, while they say what they say in `source`.

    Prompts of one length. Raises UnsupportedError where the stream is no sum.
    """
    batch = tokenize(lm, list(prompts))
    found = decompose(lm, batch)  # also makes every discovery before the heads are exchanged
    if heads:
        there = trace(lm, list(source), ("z",), "last", sorted({layer for layer, _ in heads}))
        patches = [
            Patch(site="z", layer=layer, head=head, position="last", value=there.at("z", layer)[:, 0, head])
            for layer, head in heads
        ]
        with intervene(lm, patches):
            found = decompose(lm, batch)
    rows = answer_rows(lm, torch.stack([answers, others])).to(found.whole)
    along = (rows[0] - rows[1]) / final_scale(lm, found.whole[:, 0])[:, None]
    n = len(batch)
    attn, mlp = (np.zeros((lm.n_layers, n)) for _ in range(2))
    for part in found.heads:
        pushed = part.push()[:, :, 0].sum(0)
        attn[part.layer] += (pushed * along).sum(-1).double().cpu().numpy()
    for component, vector in found.vectors.items():
        if component.layer is None:
            continue
        place = attn if component.kind in ("attn", "attn_bias") else mlp
        place[component.layer] += (vector[:, 0] * along).sum(-1).double().cpu().numpy()
    return Terms(attn=attn, mlp=mlp)


@torch.no_grad()
def places(
    lm: LM, prompts: Sequence[Prompt], answers: Int[Tensor, " prompt"], options: Int[Tensor, " option"]
) -> Float[np.ndarray, "layer prompt"]:
    """Place of the answer among the relation's answers (0 is the top, ties half) by the logit lens behind every layer."""
    seen = trace(lm, list(prompts), ("resid_post",), "last")
    rows = answer_rows(lm, options)
    own = torch.searchsorted(options, answers)
    found: list[np.ndarray] = []
    for layer in seen.layers("resid_post"):
        logits = seen.at("resid_post", layer)[:, 0].to(rows) @ rows.T  # biases apart, the lens up to a common factor
        mine = logits.gather(1, own[:, None])
        ahead = (logits > mine).sum(1) + ((logits == mine).sum(1) - 1) / 2
        found.append(ahead.double().cpu().numpy())
    return np.stack(found)
