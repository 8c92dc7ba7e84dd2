"""A few prompts shown token by token: where every head looks when the answer is asked for."""

from collections.abc import Callable
from typing import Any

import polars as pl

from mnemoscope.engine.record import trace
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled
from mnemoscope.results.attention import attention_row, attention_table
from mnemoscope.results.job import Job
from mnemoscope.results.schema.shared import SHOWN_PROMPTS
from mnemoscope.studies.recall.asking import asks
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.selection import heads_of, of_names

RELATIONS = 4


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """The first fact of the first relations, attention of the last position in all heads."""
    lm = models()
    rows: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for one in of_names(lm, config, job.args["names"][:RELATIONS]):
        ask = asks(lm, one, 0, topics=[one.facts[0].topic])[0]
        batch = tokenize(lm, [ask.prompt])
        ids = batch.ids[0].tolist()
        layers = sorted({layer for layer, _ in heads_of(lm)})
        seen = trace(lm, batch, ("pattern",), "last", layers)
        shown.append(
            {
                "prompt": one.name,
                "title": f"{one.name}: {ask.topic}, {one.fact(ask.topic).answer}",
                "tokens": list(all_spelled(lm, ids)),
                "query": len(ids) - 1,
            }
        )
        for layer, head in heads_of(lm):
            weights = seen.at("pattern", layer)[0, 0, head].float().cpu().numpy()
            rows.append(attention_row(one.name, layer, head, len(ids) - 1, weights))
    return {
        "shown_prompts": pl.DataFrame(shown, schema=SHOWN_PROMPTS.schema),
        "attention_rows": attention_table(rows),
    }
