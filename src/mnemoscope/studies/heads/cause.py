"""Cause beside the relation index: what a head adds to the tail's logit at an opportunity, for all heads on a sample (B5).

The head's z is replaced, at the attending position alone, by its mean over the sampled opportunities of the job; the effect
is what the tail's logit against the visible tokens of its type loses by it (> 0: the head pushed the tail). Two samples:
opportunities drawn evenly, for the pairing with RI per opportunity; and, so that conditional RI can be paired with the effect
on a head's own passing events, opportunities at which some head not yet covered in this document passes the gate.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from mnemoscope.engine.sweep import Sweep, sweep
from mnemoscope.measures.relation_documents import drawn_positions
from mnemoscope.measures.relation_pass import Measured, measure_texts
from mnemoscope.measures.relation_sums import TAU, strata
from mnemoscope.measures.relation_texts import RelationText
from mnemoscope.model.batch import batch_of_ids
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.relation_cause import RELATION_CAUSES
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import relation_corpus

EVENLY = 4  # opportunities per document, drawn evenly
COVERING = 12  # at most so many more, for heads that pass


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One opportunity of one text: the prompt up to the attending position, tail and rivals as token ids."""

    text: RelationText
    event: int
    relation: str
    sample: str
    ids: tuple[int, ...]
    tail: int
    rivals: tuple[int, ...]
    passes: np.ndarray  # layer head


def measure(lm: LM, config: Config, job: Job) -> dict[str, pl.DataFrame]:
    """Effects of all heads on sampled opportunities of some documents: one text of each, the first of its redraws."""
    args = job.args
    corpus = relation_corpus(lm, config, args["corpus"])
    texts = {
        text.document.unit: text for text in reversed(corpus.texts(lm, args["first"], args["last"])) if len(text.pairs)
    }
    rng = np.random.default_rng(seed_of(config.seed, f"events/{args['corpus']}/{args['first']}"))
    if not texts:
        return {"relation_causes": RELATION_CAUSES.empty()}
    with torch.no_grad():
        own = list(texts.values())[::-1]
        queries = [drawn_positions(text, config.positions, config.seed) for text in own]
        measured = measure_texts(lm, own, queries)
    events = [one for text in measured for one in sampled(text, rng)]
    if not events:
        return {"relation_causes": RELATION_CAUSES.empty()}
    layers = [layer for layer in range(lm.n_layers) if lm.attentions[layer] is not None]
    batch = batch_of_ids(lm, [one.ids for one in events])
    found = sweep(
        lm,
        batch,
        site="z",
        op="mean",
        layers=layers,
        tokens=[one.tail for one in events],
        foils=[list(one.rivals) for one in events],
        metric="logit_diff",
        budget=config.budget,
    )
    rows = [row for i, one in enumerate(events) for row in _rows(one, found, i, layers)]
    table = pl.DataFrame(rows, schema_overrides={"effect": pl.Float64}).with_columns(
        copy=pl.lit(args["copy"]), corpus=pl.lit(args["corpus"])
    )
    table = table.select(list(RELATION_CAUSES.schema)).cast(pl.Schema(RELATION_CAUSES.schema))
    return {"relation_causes": table, "verification": proven(job.id, found.verification)}


def sampled(one: Measured, rng: np.random.Generator) -> list[Sampled]:
    """Opportunities of one text: drawn evenly, then covering heads; only those with a visible rival of the tail's type."""
    usable = strata(one.events)["other"] & one.events.same_type.any(-1).cpu().numpy()
    order = rng.permutation(np.flatnonzero(usable))
    ratio = torch.stack([layer.gate.ratio for layer in one.layers.values()]).cpu().numpy()
    passes = (ratio > TAU) & usable
    evenly = [int(e) for e in order[:EVENLY]]
    covered = passes[:, :, evenly].any(-1)
    covering: list[int] = []
    for e in (int(e) for e in order[EVENLY:]):
        if len(covering) < COVERING and (passes[:, :, e] & ~covered).any():
            covering.append(e)
            covered |= passes[:, :, e]
    return [_event(one, e, passes[:, :, e], "evenly" if e in evenly else "covering") for e in (*evenly, *covering)]


def _event(one: Measured, e: int, passes: np.ndarray, sample: str) -> Sampled:
    ids = one.text.ids.tolist()
    distinct = list(dict.fromkeys(ids))
    rivals = one.events.same_type[e].nonzero()[:, 0].tolist()
    return Sampled(
        text=one.text,
        event=e,
        relation=one.text.relations[int(one.events.triple[e])],
        sample=sample,
        ids=tuple(ids[: int(one.events.query[e]) + 1]),
        tail=distinct[int(one.events.tail[e])],
        rivals=tuple(distinct[c] for c in rivals),
        passes=passes,
    )


def _rows(one: Sampled, found: Sweep, number: int, layers: list[int]) -> Iterable[Mapping[str, Any]]:
    for i, layer in enumerate(layers):
        for head in range(one.passes.shape[1]):
            yield {
                "document": one.text.document.unit,
                "text": one.text.document.id,
                "event": one.event,
                "query": len(one.ids) - 1,
                "relation": one.relation,
                "sample": one.sample,
                "layer": layer,
                "head": head,
                "passes": bool(one.passes[i, head]),
                "effect": -float(found.effects[i, head, number]),
            }
