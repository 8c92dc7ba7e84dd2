"""Does the model know it? Rank, probability and centred logit of the answer, before anything else is asked (B6.3).

    pi = logit of the answer token - mean logit over the vocabulary          (Lv et al. 2024; methods.md P2.2)

A fact is *known* on a template if, on at least half of the fact's other templates, its answer stands first among the answers of
the relation and among the first ten of the vocabulary. Chance of the former is one in the number of answers; the latter keeps
apart a model that merely prefers one answer to others it would never give.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.data.leftout import LeftOut
from mnemoscope.engine.record import record
from mnemoscope.engine.vocabulary import emittable, exact_rank
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import all_spelled
from mnemoscope.results.job import Job
from mnemoscope.results.schema.recall import KNOWLEDGE_PROMPTS, LEFT_OUT, TEMPLATES
from mnemoscope.studies.recall.asking import asked, asks
from mnemoscope.studies.recall.config import AMONG, WORKINGS, Config
from mnemoscope.studies.recall.question import Ask, Asked
from mnemoscope.studies.recall.rows import grid, who


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: some relations, their templates, one number of demonstrations."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    every = {one.name: one for one in asked(lm, config)[0]}
    left: list[LeftOut] = []
    frames = [
        _rows(lm, every[name], template, args, config.seed, left)
        for name in args["relations"]
        for template in range(len(every[name].frames))[slice(*args["templates"])]
    ]
    return {"knowledge_prompts": pl.concat(frames), "left_out": left_out(left if args["copy"] == "trained" else ())}


def left_out(cases: Iterable[LeftOut]) -> pl.DataFrame:
    """What a job left out as rows, each once. No two jobs may say the same."""
    rows = sorted({(case.id, case.reason, case.detail) for case in cases})
    return pl.DataFrame(rows, schema=LEFT_OUT.schema, orient="row")


def listing(lm: LM, config: Config, chosen: Sequence[str], obstacle: str) -> dict[str, pl.DataFrame]:
    """What is asked, and what could not be. obstacle: why nothing but knowledge is measured; "" if more is."""
    every, left = asked(lm, config)
    left = (*left, *([LeftOut(id=WORKINGS, reason="only knowledge is measured", detail=obstacle)] if obstacle else []))
    templates = [
        {
            "relation": one.name,
            "template": i,
            "text": str(frame),
            "measured": i < one.measured,
            "chosen": one.name in chosen,
            "invented": one.relation.invented,
        }
        for one in every
        for i, frame in enumerate(one.frames)
    ]
    return {
        "templates": pl.DataFrame(templates, schema=TEMPLATES.schema),
        "left_out": left_out(left),
    }


def logits_of(lm: LM, some: Sequence[Ask]) -> Float[Tensor, "prompt d_vocab"]:
    """The model's logits behind every prompt, in float32."""
    batch = tokenize(lm, [ask.prompt for ask in some])
    columns = batch.last[:, None]
    found = record(lm, batch, {}, columns, lambda layer, sites: None, logits="last")
    assert found is not None
    return found[:, 0].float()


def standing(
    lm: LM, one: Asked, some: Sequence[Ask], logits: Float[Tensor, "prompt d_vocab"]
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """rank, place, logprob and centred logit of every prompt's answer."""
    right = torch.tensor([[ask.answer] for ask in some], device=logits.device)
    options = torch.tensor(sorted(set(one.answers.values())), device=logits.device)
    where = torch.searchsorted(options, right)
    rank, place = exact_rank(logits, right), exact_rank(logits[:, options], where)
    own = logits.gather(1, right)
    mean = logits[:, : lm.d_vocab][:, emittable(lm).to(logits.device)].mean(1, keepdim=True)
    found = {"rank": rank, "place": place, "logprob": own - logits.logsumexp(1, keepdim=True), "centred": own - mean}
    return {name: value[:, 0].double().cpu().numpy() for name, value in found.items()}


def known(found: dict[str, Any]) -> np.ndarray:
    """Whether a prompt's answer stands first among the relation's answers and among the first ten of the vocabulary."""
    return (np.asarray(found["place"]) == 0) & (np.asarray(found["rank"]) < AMONG)


def _rows(lm: LM, one: Asked, template: int, args: Any, seed: int, left: list[LeftOut]) -> pl.DataFrame:
    shots = args["shots"]
    some = asks(lm, one, template, shots=shots, seed=seed, left=left)
    if not some:
        return KNOWLEDGE_PROMPTS.empty()
    values = standing(lm, one, some, logits_of(lm, some))
    prompts = {
        **who(some),
        "answer": [one.fact(ask.topic).answer for ask in some],
        "token": list(all_spelled(lm, [ask.answer for ask in some])),
    }
    return grid(
        KNOWLEDGE_PROMPTS,
        {"shots": [shots]},
        prompts,
        {name: value[None] for name, value in values.items()},
        copy=args["copy"],
        n_answers=len(one.answers),
    )
