"""Step 5, measured: the answer that comes when movers say what they say elsewhere, and the layers in which it appears."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch

from mnemoscope.engine.verify import Verification
from mnemoscope.errors import UnsupportedError
from mnemoscope.measures.function_application import Exchanged, bystanders, exchange, named, of_heads, places, terms
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.recall_application import ANSWER_LAYERS, EXCHANGE_PROMPTS
from mnemoscope.results.schema.recall_columns import COPIES
from mnemoscope.studies.recall.asking import asks, exchanges, other
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.knowledge import logits_of
from mnemoscope.studies.recall.question import HALVES, Ask, Asked
from mnemoscope.studies.recall.selection import POOLED, Head, heads_of, known_relations, of_names, selected

Rows = list[dict[str, Any]]
Pairs = tuple[Sequence[Ask], Sequence[Ask]]  # base prompts, and the prompts that they are exchanged with


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """One job per relation and copy."""
    names = known_relations(lm, config)
    return tuple(
        Job(
            id=f"application-{copy}-{i:03d}",
            args={"kind": "application", "copy": copy, "relation": name, "names": list(names)},
        )
        for copy in COPIES
        for i, name in enumerate(names)
    )


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: both halves of the topics, each with the movers chosen on the other."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    (one,) = of_names(lm, config, [args["relation"]])
    rest = [a for a in of_names(lm, config, args["names"]) if a.name != one.name]
    rng = np.random.default_rng(seed_of(config.seed, job.id))
    rows: Rows = []
    layers: Rows = []
    checks: list[Verification] = []
    for half in HALVES:
        movers = {a.name: _movers(lm, config, other(half), args["names"], a.name) for a in (one, *rest)}
        for template in range(one.measured if args["copy"] == "trained" else 1):
            topics = [t for t, h in one.half.items() if h == half]
            base, source = exchanges(lm, one, template, topics=topics)
            if not base:
                continue
            for some, proofs in (
                _within(lm, config, one, pairs=(base, source), movers=movers[one.name], rng=rng),
                _across(lm, config, one, rest=rest, base=base, movers=movers),
            ):
                rows += some
                checks += proofs
            layers += _layers(lm, one, base, source, movers[one.name])
    same = pl.lit(args["copy"])
    found = {
        "exchange_prompts": _table(rows, EXCHANGE_PROMPTS.schema, same),
        "answer_layers": _table(layers, ANSWER_LAYERS.schema, same),
    }
    return found | ({"verification": proven(job.id, worst(checks), what="exchanged rows")} if checks else {})


def worst(checks: Sequence[Verification]) -> Verification:
    """The check that came closest to its tolerance, for all of them together."""
    nearest = max(checks, key=lambda proof: proof.largest / proof.tolerance if proof.tolerance else 0.0)
    return replace(nearest, rows=sum(proof.rows for proof in checks))


def _table(rows: Rows, schema: Mapping[str, Any], copy: pl.Expr) -> pl.DataFrame:
    rest = {name: dtype for name, dtype in schema.items() if name != "copy"}
    return pl.DataFrame(rows, schema=rest).with_columns(copy=copy).select(list(schema))


def _movers(lm: LM, config: Config, half: str, names: Sequence[str], name: str) -> tuple[Head, ...]:
    """The relation's own movers, or those of all relations together where it has none."""
    chosen = selected(lm, config, half, names).movers
    return chosen.get(name, ()) or chosen.get(POOLED, ())


def _within(
    lm: LM,
    config: Config,
    one: Asked,
    *,
    pairs: Pairs,
    movers: Sequence[Head],
    rng: np.random.Generator,
) -> tuple[Rows, list[Verification]]:
    """Exchanges with the partner in the same relation."""
    every = heads_of(lm)
    heads = {"movers": movers, "bystanders": bystanders(movers, every, rng), "all_last": every, "all_positions": every}
    cells = {n: of_heads(hs, everywhere=n == "all_positions") for n, hs in heads.items() if hs}
    found = exchange(lm, *_prompts(*pairs), cells, budget=config.budget)
    counts = {"none": 0, **{name: len(hs) for name, hs in heads.items()}}
    names = [{ask.answer: "own", its.answer: "partner"} for ask, its in zip(*pairs, strict=True)]
    options = sorted(set(one.answers.values()))
    rows = _rows(lm, one, found, pairs=pairs, names=names, counts=counts, options=options)
    return rows, [found.verification]


def _across(
    lm: LM,
    config: Config,
    one: Asked,
    *,
    rest: Sequence[Asked],
    base: Sequence[Ask],
    movers: Mapping[str, Sequence[Head]],
) -> tuple[Rows, list[Verification]]:
    """The control: what the movers of both relations say when another known relation is asked about the partner."""
    rows: Rows = []
    proofs: list[Verification] = []
    for its in rest:
        pairs = _pairs(lm, one, its, base)
        both = tuple(dict.fromkeys([*movers[one.name], *movers[its.name]]))
        if not pairs or not both:
            continue
        own, source = [ask for ask, _ in pairs], [ask for _, ask in pairs]
        every = heads_of(lm)
        cells = {"other_relation": of_heads(both), "other_relation_all": of_heads(every)}
        found = exchange(lm, *_prompts(own, source), cells, budget=config.budget)
        names = [
            {ask.answer: "own", one.answers[one.fact(its_ask.topic).answer]: "partner", its_ask.answer: "attribute"}
            for ask, its_ask in pairs
        ]
        options = sorted({*one.answers.values(), *its.answers.values()})
        counts = {"other_relation": len(both), "other_relation_all": len(every)}
        rows += _rows(lm, one, found, pairs=(own, source), names=names, counts=counts, options=options)
        proofs.append(found.verification)
    return rows, proofs


def _pairs(lm: LM, one: Asked, its: Asked, base: Sequence[Ask]) -> list[tuple[Ask, Ask]]:
    """Base prompts with the other relation's question about their partner, where the three answers are three tokens."""
    asked_of = {ask.topic: ask for ask in asks(lm, its, 0)}
    found: list[tuple[Ask, Ask]] = []
    for ask in base:
        there = asked_of.get(one.partner[ask.topic])
        if there is not None:
            three = {ask.answer, one.answers[one.fact(there.topic).answer], there.answer}
            found += [(ask, there)] if len(three) == 3 else []
    return found


def _prompts(base: Sequence[Ask], source: Sequence[Ask]) -> tuple[list[Any], list[Any]]:
    return [ask.prompt for ask in base], [ask.prompt for ask in source]


def _rows(
    lm: LM,
    one: Asked,
    found: Exchanged,
    *,
    pairs: Pairs,
    names: Sequence[Mapping[int, str]],
    counts: Mapping[str, int],
    options: Sequence[int],
) -> Rows:
    base, source = pairs
    runs = {"none": found.base} | dict(found.patched) if "none" in counts else dict(found.patched)
    its_own = logits_of(lm, source).double().cpu().numpy()
    rows: Rows = []
    for name, logits in runs.items():
        among, over = named(logits, names, options), named(logits, names)
        for i, ask in enumerate(base):
            own, partner = ask.answer, one.answers[one.fact(source[i].topic).answer]
            rows.append(
                {
                    "relation": one.name,
                    "topic": ask.topic,
                    "template": ask.template,
                    "exchange": name,
                    "partner": source[i].topic,
                    "source_relation": source[i].relation,
                    "heads": counts[name],
                    "top_answer": among[i],
                    "top_vocabulary": over[i],
                    "difference": float(logits[i, partner] - logits[i, own]),
                    "source_difference": float(its_own[i, partner] - its_own[i, own]),
                }
            )
    return rows


def _layers(lm: LM, one: Asked, base: Sequence[Ask], source: Sequence[Ask], movers: Sequence[Head]) -> Rows:
    """Push of every layer's attention and MLP, plain and with the movers' exchange; nothing where the stream is no sum."""
    rows: Rows = []
    options = torch.tensor(sorted(set(one.answers.values())), device=lm.device)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, ask in enumerate(base):
        groups[ask.n_tokens].append(i)
    for members in groups.values():
        some, its = [base[i] for i in members], [source[i] for i in members]
        answers, others = (torch.tensor([ask.answer for ask in asks_], device=lm.device) for asks_ in (some, its))
        prompts, there = _prompts(some, its)
        try:
            runs = {"plain": terms(lm, prompts, answers, others)}
            if movers:
                runs["exchanged"] = terms(lm, prompts, answers, others, heads=movers, source=there)
        except UnsupportedError:
            return []  # `location` lists the reason once
        place = places(lm, prompts, answers, options)
        for run, found in runs.items():
            rows += [
                {
                    "relation": one.name,
                    "topic": ask.topic,
                    "template": ask.template,
                    "half": ask.half,
                    "run": run,
                    "layer": layer,
                    "attn": float(found.attn[layer, i]),
                    "mlp": float(found.mlp[layer, i]),
                    "place": float(place[layer, i]) if run == "plain" else float("nan"),
                }
                for layer in range(lm.n_layers)
                for i, ask in enumerate(some)
            ]
    return rows
