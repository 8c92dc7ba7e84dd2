"""Step 4, measured: every MLP from the first task head on, as a weighted sum of what the heads before it bring.

Which heads are told apart is decided once, on the model itself, and used for its control copy too: the movers, the strongest
task heads, and the loudest heads. The causal part is here, its fits are in `activation_fits`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int

from mnemoscope.engine.record import trace
from mnemoscope.errors import UnsupportedError
from mnemoscope.measures.answer_rows import final_scale
from mnemoscope.measures.mlp_activation import along, askable, asked, listed, loudness, readings
from mnemoscope.model.batch import tokenize
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, canonical
from mnemoscope.results.schema.recall import LEFT_OUT
from mnemoscope.results.schema.recall_columns import COPIES
from mnemoscope.results.schema.recall_mlp import MLP_CAUSE, SCOPES
from mnemoscope.studies.recall import activation_fits
from mnemoscope.studies.recall.asking import asks, other
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.question import HALVES
from mnemoscope.studies.recall.selection import POOLED, Head, known_relations, of_names, selected
from mnemoscope.studies.recall.situation import Situation, codes, rows_of

LISTED, STRONGEST = 12, 5  # heads told apart; of them task heads at most, per half


def jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """One job per relation and copy, with the layers and heads of the model itself; none where MLPs cannot be asked."""
    names = known_relations(lm, config)
    try:
        heads, layers = _heads(lm, config, names), _layers(lm, config, names)
    except UnsupportedError:
        return (Job(id="activation-none", args={"kind": "activation", "copy": "trained", "relation": ""}),)
    same = {"kind": "activation", "names": list(names), "layers": list(layers), "heads": [list(h) for h in heads]}
    return tuple(
        Job(id=f"activation-{copy}-{i:03d}", args={**same, "copy": copy, "relation": name})
        for copy in COPIES
        for i, name in enumerate(names)
    )


def _layers(lm: LM, config: Config, names: Sequence[str]) -> tuple[int, ...]:
    """From the first task head on; all of them where there is no task head."""
    there = askable(lm)
    seeing = {layer for half in HALVES for layer in selected(lm, config, half, names).mlps}
    return tuple(layer for layer in there if layer in seeing) or there


def _heads(lm: LM, config: Config, names: Sequence[str]) -> tuple[Head, ...]:
    """Movers and strongest task heads of both halves, then the loudest heads over the relations."""
    key = f"recall: listed heads {names} {canonical({'seed': config.seed, 'limit': config.n_topics})}"
    return lm.once(key, lambda: _found_heads(lm, config, names))


def _found_heads(lm: LM, config: Config, names: Sequence[str]) -> tuple[Head, ...]:
    chosen = [selected(lm, config, half, names) for half in HALVES]
    always = [h for s in chosen for heads in s.movers.values() for h in heads]
    always += [h for s in chosen for h in s.task_heads.get(POOLED, ())[:STRONGEST]]
    total: dict[Head, tuple[float, float]] = {}
    for one in of_names(lm, config, names):
        loud = loudness(lm, tokenize(lm, [ask.prompt for ask in asks(lm, one, 0)]), rows_of(lm, one))
        most = [max(sizes) or 1.0 for sizes in zip(*loud.values(), strict=True)]
        for head, sizes in loud.items():
            before = total.get(head, (0.0, 0.0))
            total[head] = (before[0] + sizes[0] / most[0], before[1] + sizes[1] / most[1])
    return listed(total, list(dict.fromkeys(always)), LISTED)


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """One job: one relation, all layers."""
    args = job.args
    lm = models("reinitialised") if args["copy"] == "reinitialised" else models()
    if not args["relation"]:
        return _refused(lm)
    (one,) = of_names(lm, config, [args["relation"]])
    some = tuple(ask for t in range(one.measured if args["copy"] == "trained" else 1) for ask in asks(lm, one, t))
    heads = [(int(layer), int(head)) for layer, head in args["heads"]]
    batch = tokenize(lm, [ask.prompt for ask in some])
    read = readings(lm, batch, args["layers"], heads)
    final = trace(lm, batch, ("resid_post",), "last", (lm.n_layers - 1,)).at("resid_post", lm.n_layers - 1)[:, 0]
    same = {"scale": float(final_scale(lm, final).mean()), "copy": args["copy"], "rows": rows_of(lm, one)}
    answered = asked(lm, read, {"pooled": torch.zeros(len(some), dtype=torch.long), "within": codes(some)})
    movers = {half: _movers(lm, config, other(half), args["names"], one.name) for half in HALVES}
    found: dict[str, list[pl.DataFrame]] = {}
    for layer in args["layers"]:
        here = Situation(one=one, asks=some, reading=read[layer], answered=answered[layer], movers=movers, **same)
        for name, frame in {"mlp_cause": _cause(here), **activation_fits.tables(lm, config, here)}.items():
            found.setdefault(name, []).append(frame)
    copy = pl.lit(args["copy"]).alias("copy")
    return {name: _first(pl.concat(frames), copy) for name, frames in found.items()}


def _first(frame: pl.DataFrame, copy: pl.Expr) -> pl.DataFrame:
    """`copy` in front, except for tables that know no copies."""
    return frame if "check" in frame.columns else frame.select(copy, pl.all())


def _refused(lm: LM) -> dict[str, pl.DataFrame]:
    try:
        loudness(lm, tokenize(lm, torch.zeros((1, 2), dtype=torch.long)), torch.zeros((1, lm.d_model)))
        why = "no MLP of this model can be told apart behind a head"
    except UnsupportedError as error:
        why = str(error)
    row = (f"MLPs of {lm.name}", "an MLP's input is not a sum of heads", why)
    return {"left_out": pl.DataFrame([row], schema=LEFT_OUT.schema, orient="row")}


def _movers(lm: LM, config: Config, half: str, names: Sequence[str], name: str) -> tuple[Head, ...]:
    chosen = selected(lm, config, half, names).movers
    return chosen.get(name, ()) or chosen.get(POOLED, ())


def _cause(here: Situation) -> pl.DataFrame:
    """Sums of <change, d>, <J d, d> and |d|^2 over a topic's prompts, per scope, space and part."""
    code = codes(here.asks).numpy()
    topics = sorted({ask.topic for ask in here.asks})
    half = [here.one.half[topic] for topic in topics]
    n = np.bincount(code)
    movers = {h: {f"L{layer}H{head}" for layer, head in heads} for h, heads in here.movers.items()}
    rows: list[dict[str, Any]] = []
    for scope in SCOPES:
        for space, directions in (("answers", here.rows), ("full", None)):
            d = here.answered.d[scope]
            change, size = along(here.answered.change[scope], d, directions)
            tangent, _ = along(here.answered.tangent, d, directions)
            hole = torch.where(here.answered.varies[scope] > 0, 1.0, torch.nan)[:, None]
            sums = [_by_topic((value * hole).double().cpu().numpy(), code) for value in (change, tangent, size)]
            for c, part in enumerate(here.reading.names):
                rows += [
                    {
                        "relation": here.one.name,
                        "topic": topic,
                        "half": half[t],
                        "layer": here.reading.layer,
                        "scope": scope,
                        "space": space,
                        "part": part,
                        "mover": part in movers[half[t]],
                        "change": sums[0][c, t],
                        "tangent": sums[1][c, t] if scope == "pooled" else float("nan"),
                        "size": sums[2][c, t],
                        "n": int(n[t]),
                    }
                    for t, topic in enumerate(topics)
                ]
    schema = {name: dtype for name, dtype in MLP_CAUSE.schema.items() if name != "copy"}
    return pl.DataFrame(rows, schema=schema)


def _by_topic(
    values: Float[np.ndarray, "component prompt"], code: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "component topic"]:
    return np.stack([values[:, code == t].sum(axis=1) for t in range(code.max() + 1)], axis=1)
