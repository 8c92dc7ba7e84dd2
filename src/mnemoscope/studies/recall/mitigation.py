"""Step 7, measured: remedies fitted on some relations, judged on the others, with their price on neutral text.

All relations that can be asked take part, known or not; every fact once, in its first template. A job is one remedy with all its
variants: it refits the temperature per fold and variant, and keeps the variant with the smallest training NLL.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import cross_entropy

from mnemoscope.engine.record import record, trace
from mnemoscope.errors import InputError, UnsupportedError
from mnemoscope.measures.frequency import frequency_direction
from mnemoscope.measures.last_layer import last_layer, token_drop
from mnemoscope.measures.mitigation import Remedy, inverse_temperature, mitigate
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.schema.recall import LEFT_OUT
from mnemoscope.results.schema.recall_last import MITIGATION_FACTS, MITIGATION_FITS, MITIGATION_NEUTRAL
from mnemoscope.stats.calibration import brier, nll
from mnemoscope.stats.clusters import clustered_means
from mnemoscope.studies.recall.asking import asked, asks
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.neutral import CORPUS, FIRST, counts, neutral_ids
from mnemoscope.studies.recall.question import Ask

Rows = list[dict[str, Any]]
FOLDS = 4
NAMES = ("none", "heads", "frequency", "scale", "skip", "random")
SHARES = (0.25, 0.5, 1.0)  # of the component along the frequency direction
FACTORS = (0.0, 0.5, 0.75)  # of the last MLP
DRAWS = 3
NO_HEAD = "no head"  # variant of remedy "heads" where no head writes against the answer: temperature alone
MOST_FACTS, TOGETHER = 600, 128  # facts in all; prompts of one forward pass


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What remedies are tried on. fold: of every fact, by relation; ids: neutral texts."""

    asks: tuple[Ask, ...]
    targets: Int[Tensor, " fact"]
    fold: Int[np.ndarray, " fact"]
    ids: Int[Tensor, "document pos"]


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """One job per remedy."""
    return tuple(Job(id=f"mitigation-{name}", args={"kind": "mitigation", "remedy": name}) for name in NAMES)


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: one remedy."""
    lm, name = models(), job.args["remedy"]
    facts = _facts(lm, config)
    fits, judged, neutral = Rows(), Rows(), Rows()
    try:
        for variant, folds, remedy in _variants(lm, config, facts, name):
            found = _tried(lm, facts, remedy)
            for fold in folds:
                for one in (remedy, *([replace(remedy, name="temperature")] if name == "none" else ())):
                    for kept, rows in zip(
                        (fits, judged, neutral), _judged(facts, found, one, variant=variant, fold=fold), strict=True
                    ):
                        kept.extend(rows)
    except (UnsupportedError, InputError) as error:
        row = (f"remedy {name}", "not possible on this model", str(error))
        return {"left_out": pl.DataFrame([row], schema=LEFT_OUT.schema, orient="row")}
    chosen = _chosen(fits, every=name == "random")
    kept = {(fit["remedy"], fit["variant"], fit["fold"]) for fit in chosen if fit["chosen"]}
    return {
        "mitigation_fits": pl.DataFrame(chosen, schema=MITIGATION_FITS.schema),
        "mitigation_facts": _kept(judged, kept, MITIGATION_FACTS),
        "mitigation_neutral": _kept(neutral, kept, MITIGATION_NEUTRAL),
    }


def _kept(rows: list[dict[str, Any]], kept: set[tuple[Any, ...]], table: Any) -> pl.DataFrame:
    mine = [row for row in rows if (row["remedy"], row["variant"], row["fold"]) in kept]
    return pl.DataFrame(mine, schema=table.schema)


def _chosen(fits: list[dict[str, Any]], *, every: bool) -> list[dict[str, Any]]:
    best: dict[tuple[str, int], str] = {}
    for fit in sorted(fits, key=lambda fit: fit["train_nll"]):
        best.setdefault((fit["remedy"], fit["fold"]), fit["variant"])
    return [{**fit, "chosen": every or best[fit["remedy"], fit["fold"]] == fit["variant"]} for fit in fits]


def _facts(lm: LM, config: Config) -> Facts:
    every = asked(lm, config)[0]
    each = max(2, MOST_FACTS // len(every))
    some = [ask for one in every for ask in asks(lm, one, 0)[:each]]
    number = {one.name: i % FOLDS for i, one in enumerate(every)}
    return Facts(
        asks=tuple(some),
        targets=torch.tensor([ask.answer for ask in some]),
        fold=np.array([number[ask.relation] for ask in some]),
        ids=neutral_ids(lm, config),
    )


def _variants(lm: LM, config: Config, facts: Facts, name: str) -> Iterator[tuple[str, Sequence[int], Remedy]]:
    """(name of the variant, folds that it is for, remedy)."""
    folds = sorted(set(facts.fold.tolist()))
    if name == "none":
        yield "", folds, Remedy(name="none")
    elif name == "skip":
        yield "", folds, Remedy(name="skip")
    elif name == "scale":
        for factor in FACTORS:
            yield f"{factor:g}", folds, Remedy(name=name, amount=factor)
    elif name == "heads":
        write, says = _writes(lm, facts), _said(lm, facts)
        for fold in folds:
            heads = _against(write, facts, fold)
            if heads:
                yield "", [fold], Remedy(name=name, heads=heads, says=says[list(heads)])
            else:
                yield NO_HEAD, [fold], Remedy(name="none")
    else:
        u = frequency_direction(lm, counts(lm, config))
        for share in SHARES if name == "frequency" else ():
            yield f"{share:g}", folds, Remedy(name=name, amount=share, direction=u)
        for draw in range(DRAWS) if name == "random" else ():
            generator = torch.Generator().manual_seed(seed_of(config.seed, f"direction {draw}") % 2**31)
            v = torch.randn(lm.d_model, generator=generator)
            yield str(draw), folds, Remedy(name=name, direction=u, drawn=v / v.norm())


def _writes(lm: LM, facts: Facts) -> Float[np.ndarray, "fact head"]:
    """Share of every last-layer head in the write term of every fact's answer; positive is against it."""
    rows: list[np.ndarray] = []
    for some in _pieces(len(facts.asks)):
        found = last_layer(lm, tokenize(lm, [facts.asks[i].prompt for i in some]))
        drops = token_drop(lm, found, facts.targets[list(some)].to(lm.device))
        heads = [i for i, c in enumerate(found.components) if c.kind == "head"]
        rows.append(drops.drop.parts[heads].T.double().cpu().numpy())
    return np.concatenate(rows)


def _against(write: Float[np.ndarray, "fact head"], facts: Facts, fold: int) -> tuple[int, ...]:
    """Heads whose mean write on the training facts is against the answer, interval over topics above 0."""
    train = facts.fold != fold
    topics = np.array([ask.topic for ask in facts.asks])[train]
    low = clustered_means(write[train], topics).low
    return tuple(int(head) for head in np.flatnonzero(np.nan_to_num(low) > 0))


def _said(lm: LM, facts: Facts) -> Float[Tensor, "head d_value"]:
    """What last-layer heads say on average on neutral text."""
    last = lm.n_layers - 1
    z = trace(lm, tokenize(lm, facts.ids), ("z",), "all", (last,)).at("z", last)
    return z[:, FIRST:].float().mean(dim=(0, 1))


def _pieces(n: int) -> list[range]:
    return [range(i, min(i + TOGETHER, n)) for i in range(0, n, TOGETHER)]


@torch.no_grad()
def _tried(lm: LM, facts: Facts, remedy: Remedy) -> tuple[Tensor, Tensor, Tensor]:
    """Logits behind every fact, and logits and next tokens of the neutral texts, with the remedy at temperature 1."""
    batches = [tokenize(lm, [facts.asks[i].prompt for i in piece]) for piece in _pieces(len(facts.asks))]
    texts = tokenize(lm, facts.ids)
    _read(lm, batches[0], "last")  # whatever has to be found out about the model is, before it is changed
    with ExitStack() as stack:
        if remedy.name != "none":
            stack.enter_context(mitigate(lm, remedy))
        behind = torch.cat([_read(lm, batch, "last")[:, 0] for batch in batches])
        neutral = _read(lm, texts, "all")[:, FIRST:-1]
    return behind, neutral, facts.ids[:, FIRST + 1 :].cpu()


def _read(lm: LM, batch: Batch, logits: str) -> Float[Tensor, "batch pos d_vocab"]:
    found = record(lm, batch, {}, batch.last[:, None], lambda layer, sites: None, logits=logits)
    assert found is not None
    return found[..., : lm.d_vocab].float().cpu()


def _judged(
    facts: Facts, found: tuple[Tensor, Tensor, Tensor], remedy: Remedy, *, variant: str, fold: int
) -> tuple[Rows, Rows, Rows]:
    """The fit on the training relations of a fold (one row), the scores of its held-out facts, and of the neutral texts."""
    logits, texts, following = found
    mine = torch.from_numpy(facts.fold == fold)
    beta = 1.0 if remedy.name == "none" and variant == "" else inverse_temperature(logits[~mine], facts.targets[~mine])
    train = cross_entropy(beta * logits[~mine].double(), facts.targets[~mine])
    place = {"remedy": "heads" if variant == NO_HEAD else remedy.name, "variant": variant, "fold": fold}
    fit = {
        **place,
        "heads": list(remedy.heads),
        "amount": float(remedy.amount),
        "temperature": 1 / beta,
        "train_nll": float(train),
        "corpus": CORPUS if remedy.direction is not None else "",
    }
    values = _scores(logits[mine], facts.targets[mine], beta)
    own = [ask for ask, here in zip(facts.asks, mine.tolist(), strict=True) if here]
    rows = [
        {**place, "relation": ask.relation, "topic": ask.topic, **{k: v[i].item() for k, v in values.items()}}
        for i, ask in enumerate(own)
    ]
    costs = [
        cross_entropy((b * texts).flatten(0, 1), following.flatten(), reduction="none").reshape(following.shape)
        for b in (1.0, beta)
    ]
    spent = [
        {**place, "document": i, "nll_plain": float(a), "nll": float(b)}
        for i, (a, b) in enumerate(zip(*(cost.double().mean(1) for cost in costs), strict=True))
    ]
    return [fit], rows, spent


def _scores(
    logits: Float[Tensor, "fact d_vocab"], targets: Int[Tensor, " fact"], beta: float
) -> dict[str, Shaped[np.ndarray, " fact"]]:
    """Scores of facts at inverse temperature beta, and the answer's probability at temperature 1."""
    scaled, y = beta * logits.double(), targets.numpy()
    p, plain = scaled.softmax(1), logits.double().softmax(1)
    return {
        "nll": nll(scaled.numpy(), y),
        "brier": brier(scaled.numpy(), y),
        "confidence": p.amax(1).numpy(),
        "correct": (p.argmax(1) == targets).numpy(),
        "p_answer": p.gather(1, targets[:, None])[:, 0].numpy(),
        "p_plain": plain.gather(1, targets[:, None])[:, 0].numpy(),
    }
