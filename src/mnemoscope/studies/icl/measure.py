"""What a job of the icl study measures, by kind: answers, insides, prompts to show, and the kinds of the causal part.

answers  icl_prompts (model only) and icl_answers: behaviour of a slice of one task's prompts
inside   icl_vectors and icl_attention of the same slice
shown    a few prompts with the attention of their last token
All inference is in `summarise`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from mnemoscope.data.lines import PRESETS, read
from mnemoscope.data.passages import judged
from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.record import record, wanted
from mnemoscope.measures.answering import Answered, answered, reuse
from mnemoscope.model.batch import tokenize
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason
from mnemoscope.model.spelling import all_spelled
from mnemoscope.results.attention import attention_row, attention_table
from mnemoscope.results.job import Job
from mnemoscope.results.schema.icl import ANSWERS, ATTENTION, LEFT_OUT, PROMPTS, VECTORS
from mnemoscope.results.schema.shared import SHOWN_PROMPTS, VERIFICATION
from mnemoscope.studies.icl import cause
from mnemoscope.studies.icl.asked import length, names, own_of, prompts
from mnemoscope.studies.icl.config import Config
from mnemoscope.studies.icl.inside import GROUPS, Inside, inside

Models = Callable[..., LM]
NAN = math.nan
PASSAGES = ("passages", "simple", "persona")
SHOWN = {"none": "Without an example", "example": "Behind an example", "neutral": "Behind neutral text"}


def measure(job: Job, config: Config, models: Models) -> dict[str, pl.DataFrame]:
    """Do one job of the plan."""
    return KINDS[job.args["kind"]](job, config, models)


def _slice(job: Job, config: Config, models: Models) -> tuple[LM, tuple[Prompt, ...]]:
    """The job's model, and its prompts (always counted on the run's own model)."""
    args = job.args
    every = prompts(config, models(), args["task"], args["preset"], copy=args["copy"])
    own = every[args["first"] : args["last"]]
    return (models("reinitialised") if args["copy"] == "reinitialised" else models()), own


def _answers(job: Job, config: Config, models: Models) -> dict[str, pl.DataFrame]:
    lm, own = _slice(job, config, models)
    found = answered(lm, own, batch=config.batch)
    rows = [
        {
            "copy": job.args["copy"],
            **_key(prompt, job.args["task"]),
            **_judged(prompt, one, job.args["task"], job.args["preset"]),
        }
        for prompt, one in zip(own, found, strict=True)
    ]
    tables = {"icl_answers": pl.DataFrame(rows, schema=ANSWERS.schema), "verification": _verified(lm, job.id)}
    if job.args["copy"] == "trained":
        tables["icl_prompts"] = pl.DataFrame([_asked(lm, p, job.args["task"]) for p in own], schema=PROMPTS.schema)
        tables |= _left_out(job, config, models())
    return tables


def _left_out(job: Job, config: Config, lm: LM) -> dict[str, pl.DataFrame]:
    """What of the user's file was not asked: written by the first job of all."""
    if config.data is None or job.args["first"] or job.args["task"] != names(config, lm)[0]:
        return {}
    rows = [(case.id, case.reason, case.detail) for case in own_of(config, lm).left_out]
    return {"icl_left_out": pl.DataFrame(rows, schema=LEFT_OUT.schema, orient="row")}


def _verified(lm: LM, job: str) -> pl.DataFrame:
    """That answers read behind the prompt's own keys and values are those of whole passes."""
    found = reuse(lm)
    row = {
        "where": job,
        "check": "continuations read behind cached keys and values equal whole passes",
        "error": found.error,
        "tolerance": found.allowed,
        "floor": float("nan"),
        "ok": not found.reason,
        "n": 8 * lm.d_vocab,
        "detail": f"{found.reason}: every continuation is read with its whole prompt" if found.reason else "",
    }
    return pl.DataFrame([row], schema=VERIFICATION.schema)


def _key(prompt: Prompt, task: str) -> dict[str, Any]:
    labels = prompt.labels
    return {
        "task": task,
        "condition": str(labels["condition"]),
        "item": str(labels["item"]),
        "draw": int(labels["draw"]),
    }


def _asked(lm: LM, prompt: Prompt, task: str) -> dict[str, Any]:
    ids = encode(lm.tokenizer, prompt.text, lm.bos).ids
    return {
        **_key(prompt, task),
        "text": prompt.text,
        "answer": prompt.answer,
        "n_tokens": len(ids),
        "ids": list(ids),
        "labels": json.dumps(dict(prompt.labels), sort_keys=True),
    }


def _judged(prompt: Prompt, one: Answered, task: str, preset: str) -> dict[str, Any]:
    """right, content, error, unread: what was said against what is true."""
    said = one.said.split("\n")[0] if one.said.strip() else ""
    scored = {"said": said, "logprob": one.logprob, "margin": one.margin, "right": NAN, "content": NAN, "error": NAN}
    if preset:
        y, most = read(one.said), PRESETS[preset].span
        error = most if math.isnan(y) else min(abs(y - float(prompt.labels["y"])), most)
        return {**scored, "error": error, "unread": float(math.isnan(y))}
    if task in PASSAGES:
        word = judged(one.said, prompt)
        return {
            **scored,
            "right": float(word == "right"),
            "content": float(word in ("right", "format")),
            "unread": float(word == "other"),
        }
    return {**scored, **_own(said, prompt.answer.strip()), "unread": float(not said.strip())}


def _own(said: str, answer: str) -> dict[str, float]:
    """A task of the user's: right if the answer is what is said first, content if it is said at all, as whole words."""
    word = rf"(?<!\w){re.escape(answer)}(?!\w)"
    return {"right": float(bool(re.match(word, said.strip()))), "content": float(bool(re.search(word, said)))}


def _inside(job: Job, config: Config, models: Models) -> dict[str, pl.DataFrame]:
    lm, own = _slice(job, config, models)
    vectors: list[pl.DataFrame] = []
    attention: list[pl.DataFrame] = []
    for rows in batches(lm, own, config.batch):
        found = inside(lm, tokenize(lm, rows), config.stored(job.args["task"], job.args["copy"]))
        keys = [{"copy": job.args["copy"], **_key(p, job.args["task"])} for p in rows]
        vectors.append(_vectors(keys, found))
        attention.append(_attention(keys, found))
    return {"icl_vectors": pl.concat(vectors), "icl_attention": pl.concat(attention)}


def batches(lm: LM, own: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Prompts by number of tokens; of equal length each batch where this model refuses padding."""
    lengths = [length(lm, p.text) for p in own]
    strict = bool(padding_reason(lm, "right", width=max(lengths)))
    made: list[list[int]] = []
    for i in sorted(range(len(own)), key=lambda i: (lengths[i], i)):
        if not made or len(made[-1]) >= size or (strict and lengths[made[-1][0]] != lengths[i]):
            made.append([])
        made[-1].append(i)
    return [[own[i] for i in rows] for rows in made]


def _repeated(keys: Sequence[Mapping[str, Any]], times: int) -> dict[str, list[Any]]:
    """Columns of the keys, each prompt `times` times in a row."""
    return {name: [one[name] for one in keys for _ in range(times)] for name in keys[0]}


def _vectors(keys: Sequence[Mapping[str, Any]], found: Inside) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    for (tokens, pooling), values in found.vectors.items():
        by_prompt = np.ascontiguousarray(values.transpose(1, 0, 2))
        n, layers, width = by_prompt.shape
        flat = pl.Series(by_prompt.reshape(n * layers, width)).cast(pl.List(pl.Float32))
        more = {"tokens": tokens, "pooling": pooling, "layer": list(range(layers)) * n, "vector": flat}
        frames.append(pl.DataFrame({**_repeated(keys, layers), **more}, schema=VECTORS.schema))
    return pl.concat(frames)


def _attention(keys: Sequence[Mapping[str, Any]], found: Inside) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    for layer, values in found.attention.items():
        n, heads, _ = values.shape
        groups = {name: values[:, :, g].reshape(-1) for g, name in enumerate(GROUPS)}
        more = {
            "layer": [layer] * (n * heads),
            "head": list(range(-1, heads - 1)) * n,
            **groups,
            "sink": found.sink[layer].reshape(-1),
            "sentences": [row.tolist() for one in found.sentences[layer] for row in one],
            "place": [place for place in found.groups.place for _ in range(heads)],
        }
        frames.append(pl.DataFrame({**_repeated(keys, heads), **more}, schema=ATTENTION.schema))
    return pl.concat(frames) if frames else ATTENTION.empty()


def _shown(job: Job, config: Config, models: Models) -> dict[str, pl.DataFrame]:
    """The first composite item without and behind an example: the last token's attention in all heads."""
    lm = models()
    own = {str(p.labels["condition"]): p for p in reversed(prompts(config, lm, "passages", ""))}
    shown: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for condition, title in SHOWN.items():
        batch = tokenize(lm, [own[condition]])
        ids, query = batch.ids[0].tolist(), int(batch.last[0])
        tokens = list(all_spelled(lm, ids))
        shown.append({"prompt": condition, "title": title, "tokens": tokens, "query": query})

        def layer_done(layer: int, found: Mapping[str, Any], name: str = condition, at: int = query) -> None:
            for head, row in enumerate(found["pattern"][0, 0]):
                rows.append(attention_row(name, layer, head, at, row.float().cpu().numpy()))

        record(lm, batch, wanted(lm, ("pattern",), None), batch.last[:, None], layer_done)
    return {
        "shown_prompts": pl.DataFrame(shown, schema=SHOWN_PROMPTS.schema),
        "attention_rows": attention_table(rows),
    }


KINDS: Final[Mapping[str, Callable[[Job, Config, Models], dict[str, pl.DataFrame]]]] = {
    "answers": _answers,
    "inside": _inside,
    "shown": _shown,
    **dict.fromkeys(cause.KINDS, cause.measure),
}
