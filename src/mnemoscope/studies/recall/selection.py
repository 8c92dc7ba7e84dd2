"""What later steps need to know before they measure: which relations are known, and which heads were found on other topics.

Heads are chosen on one half of the topics by one interchange sweep (last position, one template) and measured on the other
half (B6.4: movers are at most 3, chosen on other topics). To measure topics of half a, ask for `selected(lm, config, "b")`.
Everything is deterministic and found once per model, so that a job can ask although it cannot see other jobs' results.

    task heads   the (at most 10) heads whose exchange lowers answer minus partner's answer most: by at least .1 logit and a
                 twentieth of what the strongest does
    movers       the (at most 3) strongest task heads that attend to the topic with at least .1 from the last position

What a mover *writes* is not used to choose it: whether it writes the topic (mover) or the answer (attribute) is a question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.record import trace
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.sweep import sweep_cells
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import canonical
from mnemoscope.results.schema.recall_carriers import SELECTION
from mnemoscope.studies.recall.asking import asked, asks, exchanges
from mnemoscope.studies.recall.config import MOVERS, SMALLEST, Config
from mnemoscope.studies.recall.knowledge import known, logits_of, standing
from mnemoscope.studies.recall.question import Ask, Asked

Head = tuple[int, int]
POOLED = ""  # in place of a relation's name: all of them together
MOST = 10
FEWEST = 6  # topics of a relation whose workings are measured
SHARE = 0.05  # of the strongest head's effect
KNOWN = 0.25  # share of a relation's facts that the model has to know


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was chosen on the topics of one half.

    relations    names of the relations whose workings are measured
    topics       relation -> topics of this half (that have a partner)
    task_heads, movers   relation (or POOLED) -> heads, strongest first; () where there are none
    first_layer  layer of the first pooled task head; None where there is none
    mlps         layers whose MLP can see the first task head (parallel blocks: later layers only)
    effect, attention    relation (or POOLED) -> {head: mean on this half}
    """

    half: str
    relations: tuple[str, ...]
    topics: Mapping[str, tuple[str, ...]]
    task_heads: Mapping[str, tuple[Head, ...]]
    movers: Mapping[str, tuple[Head, ...]]
    first_layer: int | None
    mlps: tuple[int, ...]
    effect: Mapping[str, Mapping[Head, float]]
    attention: Mapping[str, Mapping[Head, float]]


def known_relations(lm: LM, config: Config) -> tuple[str, ...]:
    """The relations that the model knows best: a quarter of the drawn facts and at least six, on the deciding templates.

    At most `config.n_relations`, best known first, then in the order of the data. () where the model knows (nearly) nothing.
    """
    return lm.once(f"recall: known relations {canonical(asdict(config))}", lambda: _known_relations(lm, config))


def selected(lm: LM, config: Config, half: str, relations: Sequence[str] | None = None) -> Selection:
    """What is chosen on the topics of `half`. relations: default those that this model knows (a control copy knows none)."""
    names = tuple(relations) if relations is not None else known_relations(lm, config)
    key = f"recall: selected {half} {names} {canonical(asdict(config))}"
    return lm.once(key, lambda: _selected(lm, config, half, names))


def of_names(lm: LM, config: Config, names: Sequence[str]) -> tuple[Asked, ...]:
    """The relations of these names, in their order."""
    every = {one.name: one for one in asked(lm, config)[0]}
    return tuple(every[name] for name in names)


def table(lm: LM, config: Config, names: Sequence[str], copy: str) -> pl.DataFrame:
    """Both halves' choices as rows."""
    rows = [
        {
            "copy": copy,
            "half": half,
            "relation": name,
            "layer": layer,
            "head": head,
            "effect": effect,
            "attention": found.attention[name][layer, head],
            "task_head": (layer, head) in found.task_heads[name],
            "mover": (layer, head) in found.movers[name],
        }
        for half in ("a", "b")
        for found in (selected(lm, config, half, names),)
        for name, effects in found.effect.items()
        for (layer, head), effect in effects.items()
    ]
    return pl.DataFrame(rows, schema=SELECTION.schema)


def heads_of(lm: LM) -> tuple[Head, ...]:
    """Every head whose z can be exchanged."""
    heads = site_heads(lm)
    return tuple(
        (layer, head)
        for layer in range(lm.n_layers)
        if not site_reason(lm, "z", layer)
        for head in range(heads.get(("z", layer), 0))
    )


def obstacle(lm: LM) -> str:
    """Why nothing but knowledge can be measured on this model; "" if more can."""
    return "" if heads_of(lm) else site_reason(lm, "z", 0) or "no head can be told apart"


def _known_relations(lm: LM, config: Config) -> tuple[str, ...]:
    shares: list[tuple[float, int, str]] = []
    for place, one in enumerate(asked(lm, config)[0]):
        right = np.mean([_right(lm, one, template) for template in one.deciding], axis=0) >= 0.5
        if len(one.partner) >= FEWEST and right.sum() >= FEWEST and right.mean() >= KNOWN:
            shares.append((-float(right.mean()), place, one.name))
    return tuple(name for *_, name in sorted(shares)[: config.n_relations])


def _right(lm: LM, one: Asked, template: int) -> np.ndarray:
    some = asks(lm, one, template)
    return known(standing(lm, one, some, logits_of(lm, some)))


def _selected(lm: LM, config: Config, half: str, names: tuple[str, ...]) -> Selection:
    relations = of_names(lm, config, names)
    topics = {
        one.name: tuple(f.topic for f in one.facts if one.half[f.topic] == half and f.topic in one.partner)
        for one in relations
    }
    effects = {one.name: _effects(lm, config, one, topics[one.name]) for one in relations if topics[one.name]}
    looks = {one.name: _attention(lm, one, topics[one.name]) for one in relations if topics[one.name]}
    heads = heads_of(lm)
    pooled = {
        name: {head: float(row[i]) for i, head in enumerate(heads)}
        for name, row in _with_pooled({name: value.mean(1) for name, value in effects.items()}).items()
    }
    looked = {name: {head: float(row[i]) for i, head in enumerate(heads)} for name, row in _with_pooled(looks).items()}
    task = {name: _strongest(effect) for name, effect in pooled.items()}
    movers = {name: tuple(h for h in task[name] if looked[name][h] >= SMALLEST)[:MOVERS] for name in task}
    first = min((layer for layer, _ in task.get(POOLED, ())), default=None)
    return Selection(
        half=half,
        relations=names,
        topics=topics,
        task_heads=task,
        movers=movers,
        first_layer=first,
        mlps=_seeing(lm, first),
        effect=pooled,
        attention=looked,
    )


def _with_pooled(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Relations weigh alike in the pooled row."""
    return {POOLED: np.mean(list(values.values()), axis=0), **values} if values else {}


def _strongest(effect: Mapping[Head, float]) -> tuple[Head, ...]:
    ranked = sorted(effect, key=lambda head: (effect[head], head))
    least = max(SMALLEST, -SHARE * effect[ranked[0]]) if ranked else SMALLEST
    return tuple(head for head in ranked[:MOST] if effect[head] <= -least)


def _effects(lm: LM, config: Config, one: Asked, topics: Sequence[str]) -> Float[np.ndarray, "head prompt"]:
    base, source = exchanges(lm, one, 0, topics=topics)
    found = sweep_cells(
        lm,
        [ask.prompt for ask in base],
        [(Patch(site="z", layer=layer, head=head, source=0),) for layer, head in heads_of(lm)],
        sources=([ask.prompt for ask in source],),
        tokens=[ask.answer for ask in base],
        foils=[ask.answer for ask in source],
        metric="logit_diff",
        budget=config.budget,
    )
    return np.asarray(found.effects, dtype=np.float64)


def _attention(lm: LM, one: Asked, topics: Sequence[str]) -> Float[np.ndarray, " head"]:
    """Mean attention from the last position to the topic's last token, per head in the order of `heads_of`."""
    return topic_attention(lm, asks(lm, one, 0, topics=topics), last=True).mean(1)


def topic_attention(lm: LM, some: Sequence[Ask], *, last: bool) -> Float[np.ndarray, "head prompt"]:
    """Attention from the last position to the topic's last (or first) token, heads in the order of `heads_of`."""
    batch = tokenize(lm, [ask.prompt for ask in some])
    spans = [ranges[-1] for ranges in batch.spans["topic"]]
    column = torch.tensor([b - 1 if last else a for a, b in spans], device=lm.device)
    layers = sorted({layer for layer, _ in heads_of(lm)})
    seen = trace(lm, batch, ("pattern",), "last", layers)
    found = {
        layer: seen.at("pattern", layer)[torch.arange(len(some)), 0, :, column].float().cpu().numpy()
        for layer in layers
    }
    return np.stack([found[layer][:, head] for layer, head in heads_of(lm)]).astype(np.float64)


def _seeing(lm: LM, first: int | None) -> tuple[int, ...]:
    """Layers whose MLP comes after the heads of layer `first`."""
    if first is None:
        return ()
    parallel = bool(site_reason(lm, "resid_mid", first))
    layers = range(first + parallel, lm.n_layers)
    return tuple(layer for layer in layers if not site_reason(lm, "mlp_out", layer))
