"""Which heads and MLPs carry the answer at the last position: interchange, and path patching (methods.md P2.2, B6.2).

interchange   the part says what it says in the partner's prompt (equal length, another topic); everything later answers
path          the part says its mean over prompts of the same template about *other* topics; z of every other head is held,
              MLPs and norms answer: the effect that does not go through later attention ("logits"). Or the changed q, k, v
              of the task heads (found on the other half of the topics) is put into a run in which everything answers
effect        change of pi = logit of the answer - mean over the vocabulary, in logits
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.data.leftout import LeftOut
from mnemoscope.engine.paths import path_patch
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.senders import Receivers, Sender
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.sweep import Sweep, sweep_cells
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.proof import proven
from mnemoscope.results.schema.recall_carriers import EFFECT_PROMPTS, MLP
from mnemoscope.studies.recall.asking import asks, exchanges, other
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.knowledge import left_out
from mnemoscope.studies.recall.question import HALVES, Ask
from mnemoscope.studies.recall.rows import grid, who
from mnemoscope.studies.recall.selection import POOLED, heads_of, of_names, selected

RECEIVING = 5  # task heads whose q, k, v are receivers, all of them together


def measure_interchange(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: one relation, all its measured templates, one number of demonstrations."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    (one,) = of_names(lm, config, [args["relation"]])
    left: list[LeftOut] = []
    pairs = [
        exchanges(lm, one, template, shots=args["shots"], seed=config.seed, left=left)
        for template in range(min(args["n_templates"], one.measured))
    ]
    base = [ask for some, _ in pairs for ask in some]
    source = [ask for _, some in pairs for ask in some]
    skipped = left_out(left if args["copy"] == "trained" else ())
    if not base:
        return {"effect_prompts": EFFECT_PROMPTS.empty(), "left_out": skipped}
    senders = senders_of(lm)
    found = sweep_cells(
        lm,
        [ask.prompt for ask in base],
        [(_exchanged(sender),) for sender in senders],
        sources=([ask.prompt for ask in source],),
        tokens=[[ask.answer, its.answer] for ask, its in zip(base, source, strict=True)],
        metric="logit_minus_mean",
        budget=config.budget,
    )
    frame = _rows(base, senders, found.effects, found.base[:, 0], args["copy"], "interchange", "logits")
    proof = proven(job.id, found.verification, what="interchanged rows")
    return {"effect_prompts": frame, "verification": proof, "left_out": skipped}


def measure_paths(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: one relation, all its measured templates; to the logits, and into q, k, v of the other half's task heads."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    (one,) = of_names(lm, config, [args["relation"]])
    every = [ask for t in range(min(args["n_templates"], one.measured)) for ask in asks(lm, one, t)]
    frames: list[pl.DataFrame] = []
    checks: list[pl.DataFrame] = []
    try:
        found = _paths(lm, config, every, every, None, "logits")
        frames.append(_path_rows(lm, every, found, args["copy"], "logits"))
        checks.append(proven(job.id, found.verification, what="paths to the logits"))
        for half in HALVES:
            heads = selected(lm, config, other(half), args["names"]).task_heads.get(POOLED, ())[:RECEIVING]
            some = [ask for ask in every if ask.half == half]
            for into in ("q", "k", "v") if some else ():
                receivers = _receivers(lm, heads, into)
                if any(layer > 0 for layer, _ in receivers):
                    found = _paths(lm, config, some, every, receivers, into)
                    frames.append(_path_rows(lm, some, found, args["copy"], into))
    except UnsupportedError as error:
        case = LeftOut(id=f"paths of {one.name}", reason="path patching needs descents", detail=str(error))
        return {"left_out": left_out([case] if args["copy"] == "trained" else ())}
    return {"effect_prompts": pl.concat(frames), "verification": pl.concat(checks)}


def senders_of(lm: LM) -> tuple[Sender, ...]:
    """Every head, and every MLP as (layer, None)."""
    mlps = [(layer, None) for layer in range(lm.n_layers) if not site_reason(lm, "mlp_out", layer)]
    return (*heads_of(lm), *mlps)


def other_topics(base: Sequence[Ask], source: Sequence[Ask]) -> Float[np.ndarray, "prompt source_prompt"]:
    """Weights of the replacement mean: source prompts of the same template and relation about other topics, alike."""
    same = np.array(
        [
            [
                (a.relation, a.template, a.shots) == (b.relation, b.template, b.shots) and a.topic != b.topic
                for b in source
            ]
            for a in base
        ],
        dtype=np.float64,
    )
    return same / same.sum(axis=1, keepdims=True)


def _exchanged(sender: Sender) -> Patch:
    layer, head = sender
    return Patch(site="mlp_out" if head is None else "z", layer=layer, head=head, source=0)


def _paths(
    lm: LM, config: Config, base: Sequence[Ask], source: Sequence[Ask], receivers: Receivers | None, into: str
) -> Sweep:
    """Senders stand where their receiver reads: at the last position, for k and v at the topic."""
    at_topic = into in ("k", "v")
    return path_patch(
        lm,
        [ask.prompt for ask in base],
        [ask.prompt for ask in source],
        senders=senders_of(lm),
        receivers=receivers,
        into=into if receivers is not None else "q",
        positions="topic" if at_topic else "last",
        align="last" if at_topic else None,
        replacement=other_topics(base, source),
        tokens=[ask.answer for ask in base],
        metric="logit_minus_mean",
        budget=config.budget,
    )


def _receivers(lm: LM, heads: Sequence[tuple[int, int]], into: str) -> list[tuple[int, int]]:
    """Query heads, or the kv heads that they read."""
    if into == "q":
        return list(heads)
    shapes = lm.shapes
    return sorted({(layer, shape.kv_head_of[head]) for layer, head in heads if (shape := shapes[layer]) is not None})


def _path_rows(lm: LM, some: Sequence[Ask], found: Sweep, copy: str, receiver: str) -> pl.DataFrame:
    effects = np.stack([found.effects, np.full(found.effects.shape, np.nan)], axis=-1)
    return _rows(some, senders_of(lm), effects, found.base, copy, "path", receiver)


def _rows(
    some: Sequence[Ask],
    senders: Sequence[Sender],
    effects: Float[np.ndarray, "sender prompt token"],
    base: Float[np.ndarray, " prompt"],
    copy: str,
    method: str,
    receiver: str,
) -> pl.DataFrame:
    places = {"layer": [layer for layer, _ in senders], "head": [MLP if head is None else head for _, head in senders]}
    prompts = {**who(some), "shots": [ask.shots for ask in some], "base": base.tolist()}
    values = {"answer": effects[:, :, 0], "partner": effects[:, :, 1]}
    return grid(EFFECT_PROMPTS, places, prompts, values, copy=copy, method=method, receiver=receiver)
