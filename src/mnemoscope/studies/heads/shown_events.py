"""The best events of every head as text: where it attends to a head word and promotes the tail, with its attention.

A few documents of each relational corpus are shown; of every head the events there with the largest RI-out above its null
among those that pass the published gate.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.relation_pass import Measured, measure_texts
from mnemoscope.measures.relation_sums import TAU, strata
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import spelled
from mnemoscope.results.attention import attention_row, attention_table
from mnemoscope.results.job import Job
from mnemoscope.results.schema.shared import SHOWN_EVENTS, SHOWN_PROMPTS
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import relation_corpus

TEXTS = 3  # documents shown of each corpus
EVENTS = 3  # events shown of each head, over all its documents of a corpus
Found = tuple[float, int, int, int, int]  # excess, text, event, layer, head
WORDS = {"letters": "Entities as letters", "things": "Entities as things", "trees": "Syntax", "data": "Your data"}


@torch.no_grad()
def measure(lm: LM, config: Config, job: Job) -> dict[str, pl.DataFrame]:
    """shown_prompts, shown_events and attention_rows of one corpus; ranks of one corpus do not meet those of another."""
    name, offset = job.args["corpus"], int(job.args["offset"])
    corpus = relation_corpus(lm, config, name)
    texts = {text.document.unit: text for text in reversed(corpus.texts(lm, 0, TEXTS)) if len(text.pairs)}
    measured = measure_texts(lm, list(texts.values())[::-1]) if texts else ()
    events = [
        {
            "layer": layer,
            "head": head,
            "rank": offset + rank,
            "prompt": f"{name}-{text}",
            "query": int(measured[text].events.query[event]),
            "title": _title(lm, measured[text], event, layer, head),
        }
        for rank, (_, text, event, layer, head) in _ranked(measured)
    ]
    prompts = [
        {
            "prompt": f"{name}-{i}",
            "title": f"{WORDS.get(name, name)}: {one.text.document.id}",
            "tokens": [spelled(lm, token) for token in one.text.ids.tolist()],
            "query": len(one.text.ids) - 1,
        }
        for i, one in enumerate(measured)
    ]
    queries = {(event["prompt"], event["layer"], event["head"], event["query"]) for event in events}
    rows = [row for i, one in enumerate(measured) for row in _attention(lm, one, f"{name}-{i}", queries)]
    return {
        "shown_events": pl.DataFrame(events, schema=SHOWN_EVENTS.schema),
        "shown_prompts": pl.DataFrame(prompts, schema=SHOWN_PROMPTS.schema),
        "attention_rows": attention_table(rows),
    }


def _ranked(measured: tuple[Measured, ...]) -> list[tuple[int, Found]]:
    """Of every head the events with the largest excess, best first, with their rank."""
    found: dict[tuple[int, int], list[Found]] = {}
    for i, one in enumerate(measured):
        headline = strata(one.events)["other"]
        for layer, done in one.layers.items():
            if "out" not in done.shares:
                continue
            excess = (done.shares["out"].index - done.shares["out"].null).cpu().numpy()
            passes = (done.gate.ratio.cpu().numpy() > TAU) & headline & ~np.isnan(excess)
            for head, event in zip(*np.nonzero(passes), strict=True):
                found.setdefault((layer, int(head)), []).append(
                    (float(excess[head, event]), i, int(event), layer, int(head))
                )
    return [
        (rank, one) for ones in found.values() for rank, one in enumerate(sorted(ones, key=lambda x: -x[0])[:EVENTS])
    ]


def _title(lm: LM, one: Measured, event: int, layer: int, head: int) -> str:
    events, share = one.events, one.layers[layer].shares["out"]
    words = [spelled(lm, int(one.text.ids[at[event]])).strip() for at in (events.source, events.target)]
    relation = one.text.relations[int(events.triple[event])]
    index, null = float(share.index[head, event]), float(share.null[head, event])
    return f"{relation}: attends to {words[0]}, promotes {words[1]} (RI-out {index:.2f}, rivals {null:.2f})"


def _attention(lm: LM, one: Measured, prompt: str, queries: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """The last token's attention in all heads, and that of every shown event."""
    patterns: dict[int, Float[Tensor, "query head key"]] = {}
    ids = one.text.ids[None]
    columns = torch.arange(ids.shape[1], device=lm.device)[None]
    record(
        lm,
        tokenize(lm, ids),
        wanted(lm, ("pattern",), None),
        columns,
        lambda layer, found: patterns.update({layer: found["pattern"][0]}),
    )
    last = ids.shape[1] - 1
    return [
        attention_row(prompt, layer, head, query, pattern[query, head].float().cpu().numpy())
        for layer, pattern in patterns.items()
        for head in range(pattern.shape[1])
        for query in sorted({last, *(q for p, at, h, q in queries if (p, at, h) == (prompt, layer, head))})
    ]
