"""Where answer and topic live: the logit lens layer by layer, and what every part of the stream adds to them directly.

    centred = logit - mean over the vocabulary          of unembed(norm(resid_l)), the norm at that stream's own scale
    attribution of part c to direction w = <part c after the final norm held at its scale, w>

to the topic, the answer, the answer minus another topic's answer, and the answer minus the vocabulary mean: the reference
decides the sign, so all are kept (methods.md P2.6). Beside them the published product of a head's output with W_U[topic] (no
norm), and the attention from the last position to the topic (P2.2).
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.leftout import LeftOut
from mnemoscope.engine.component import Component
from mnemoscope.engine.decompose import Decomposition, decompose
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import trace
from mnemoscope.engine.vocabulary import emittable, exact_rank, token_rows
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import tokenize
from mnemoscope.model.head import unembed
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.schema.recall_carriers import COMPONENT_PROMPTS, LENS_PROMPTS, MLP
from mnemoscope.studies.recall.asking import asks
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.knowledge import left_out
from mnemoscope.studies.recall.question import Ask, Asked
from mnemoscope.studies.recall.rows import grid, who
from mnemoscope.studies.recall.selection import heads_of, of_names, topic_attention

ATTRIBUTIONS = (
    "to_topic",
    "to_topic_foil",
    "to_topic_first",
    "to_topic_literal",
    "to_answer",
    "to_answer_foil",
    "to_answer_mean",
)


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: one relation, all its measured templates."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    (one,) = of_names(lm, config, [args["relation"]])
    lenses: list[pl.DataFrame] = []
    parts: list[pl.DataFrame] = []
    left: list[LeftOut] = []
    for template in range(min(args["n_templates"], one.measured)):
        some = asks(lm, one, template)
        lenses.append(_lens(lm, some, args["copy"]))
        try:
            split = decompose(lm, [ask.prompt for ask in some])
        except UnsupportedError as error:
            name = f"direct attribution of {one.name}"
            left.append(LeftOut(id=name, reason="the model has no additive decomposition", detail=str(error)))
            split = None
        parts.append(_components(lm, one, some, split, args["copy"]))
    return {
        "lens_prompts": pl.concat(lenses),
        "component_prompts": pl.concat(parts),
        "left_out": left_out(left if args["copy"] == "trained" else ()),
    }


@torch.no_grad()
def _lens(lm: LM, some: Sequence[Ask], copy: str) -> pl.DataFrame:
    asked = {"answer": "answer", "topic": "topic_last", "topic_first": "topic_first"}
    tokens = torch.tensor([[getattr(ask, name) for name in asked.values()] for ask in some], device=lm.device)
    batch = tokenize(lm, [ask.prompt for ask in some])
    seen = trace(lm, batch, ("resid_post",), "last")
    first = trace(lm, batch, ("resid_pre",), "last", (0,))
    streams = {-1: first.at("resid_pre", 0), **{layer: seen.at("resid_post", layer) for layer in range(lm.n_layers)}}
    there = emittable(lm)
    ranks: list[np.ndarray] = []
    centred: list[np.ndarray] = []
    for stream in streams.values():
        rows = unembed(lm, stream[:, 0]).float()
        mean = rows[:, there.to(rows.device)].mean(1, keepdim=True)
        ranks.append(exact_rank(rows, tokens).T.cpu().numpy())  # token prompt
        centred.append((rows.gather(1, tokens) - mean).double().T.cpu().numpy())
    places = {
        "layer": np.repeat(list(streams), len(asked)).tolist(),
        "token": list(asked) * len(streams),
    }
    values = {"rank": np.concatenate(ranks), "centred": np.concatenate(centred)}
    return grid(LENS_PROMPTS, places, who(some), values, copy=copy)


def _components(lm: LM, one: Asked, some: Sequence[Ask], split: Decomposition | None, copy: str) -> pl.DataFrame:
    """Attributions of every part, and attention of every head, one row per part and prompt."""
    heads = {head: i for i, head in enumerate(heads_of(lm))}
    looks = {name: topic_attention(lm, some, last=name == "attention") for name in ("attention", "attention_first")}
    nothing = tuple(Component(kind="head", layer=layer, head=head) for layer, head in heads)
    parts = split.components if split is not None else nothing
    values = {name: np.full((len(parts), len(some)), np.nan) for name in ATTRIBUTIONS}
    if split is not None:
        values |= _attributions(lm, split, some, _foils(one, some), _other_topics(one, some))
    for name, look in looks.items():
        rows = [heads.get((_number(c.layer), _number(c.head))) for c in parts]
        values[name] = np.stack([np.full(len(some), np.nan) if i is None else look[i] for i in rows])
    values["even"] = np.tile(1 / np.array([ask.n_tokens for ask in some], dtype=np.float64), (len(parts), 1))
    places = {
        "layer": [_number(c.layer) for c in parts],
        "head": [MLP if c.head is None else c.head for c in parts],
        "part": [c.kind for c in parts],
        "name": [c.name for c in parts],
    }
    return grid(COMPONENT_PROMPTS, places, who(some), values, copy=copy)


def _attributions(
    lm: LM,
    split: Decomposition,
    some: Sequence[Ask],
    foils: Int[Tensor, " prompt"],
    others: Int[Tensor, " prompt"],
) -> dict[str, Float[np.ndarray, "part prompt"]]:
    answer = torch.tensor([ask.answer for ask in some])
    topic = torch.tensor([ask.topic_last for ask in some])
    first = torch.tensor([ask.topic_first for ask in some])
    found = {
        "to_topic": attribute(split, topic, reference="mean"),
        "to_topic_foil": attribute(split, topic, reference="foil", foils=others),
        "to_topic_first": attribute(split, first, reference="mean"),
        "to_answer": attribute(split, answer),
        "to_answer_foil": attribute(split, answer, reference="foil", foils=foils),
        "to_answer_mean": attribute(split, answer, reference="mean"),
    }
    values = {name: _numbers(one.values) for name, one in found.items()}
    values["to_topic_literal"] = _literal(lm, split, topic)
    return values


def _literal(lm: LM, split: Decomposition, topic: Int[Tensor, " prompt"]) -> Float[np.ndarray, "part prompt"]:
    """<output of a head as it is added to the stream, W_U[topic]>: no final norm; nan for other parts."""
    direction = token_rows(lm, topic).rows[:, None].to(split.whole.device, split.whole.dtype)
    found = np.full((len(split.components), len(topic)), np.nan)
    place = {(c.layer, c.head): i for i, c in enumerate(split.components) if c.kind == "head"}
    for heads in split.heads:
        for head, values in enumerate(heads.read(direction)[:, :, 0]):
            found[place[heads.layer, head]] = values.double().cpu().numpy()
    return found


def _other_topics(one: Asked, some: Sequence[Ask]) -> Int[Tensor, " prompt"]:
    """Last token of another topic: the partner, or the next one in the relation."""
    token = {ask.topic: ask.topic_last for ask in some}
    names = list(token)
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    chosen = [one.partner.get(ask.topic, following[ask.topic]) for ask in some]
    return torch.tensor([token.get(name, token[following[ask.topic]]) for name, ask in zip(chosen, some, strict=True)])


def _foils(one: Asked, some: Sequence[Ask]) -> Int[Tensor, " prompt"]:
    """The partner's answer; where there is no partner, that of the next fact with another answer."""
    found: list[int] = []
    for ask in some:
        own = one.fact(ask.topic).answer
        partner = one.partner.get(ask.topic)
        others = [fact.answer for fact in one.facts if fact.answer != own]
        found.append(one.answers[one.fact(partner).answer if partner is not None else others[0]])
    return torch.tensor(found)


def _numbers(values: Float[Tensor, "part prompt one"]) -> Float[np.ndarray, "part prompt"]:
    return values[:, :, 0].double().cpu().numpy()


def _number(value: int | None) -> int:
    return -1 if value is None else value
