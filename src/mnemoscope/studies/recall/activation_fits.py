"""Step 4, fitted: an MLP's output as a linear fit, its errors on unseen topics, what its intercept says, what it can replace.

Fits need whole vectors, so they are made here, where the vectors are; per topic or prompt they leave sums and errors behind.
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.sweep import sweep_cells
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.measures.answer_rows import answer_rows
from mnemoscope.measures.mlp_activation import along
from mnemoscope.model.lm import LM
from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.recall_mlp import (
    INTERCEPT_TOPICS,
    MLP_HELD_OUT,
    MLP_PRODUCTS,
    REPLACEMENT_PROMPTS,
    SCOPES,
    SPACES,
)
from mnemoscope.stats.regression import PENALTIES, held_out, least_squares
from mnemoscope.studies.recall.asking import HALVES
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.rows import verified

Rows = list[dict[str, Any]]
Vectors = Float[np.ndarray, "prompt d"]
Parts = Float[np.ndarray, "component prompt d"]
FEWEST = 3  # units for anything held out


def tables(lm: LM, config: Config, here: Any) -> dict[str, pl.DataFrame]:
    """The raw tables of one relation and layer. here: an `activation.Situation`."""
    found = {
        "mlp_products": _frame(_products(here), MLP_PRODUCTS),
        "mlp_held_out": _frame(_held_out(here, config), MLP_HELD_OUT),
        "intercept_topics": _frame(_intercepts(lm, here), INTERCEPT_TOPICS),
    }
    rows, check = _replacements(lm, config, here)
    return found | {"replacement_prompts": _frame(rows, REPLACEMENT_PROMPTS), "verification": check}


def _frame(rows: Rows, table: Any) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: dtype for name, dtype in table.schema.items() if name != "copy"})


def _alive(here: Any, scope: str, space: str) -> Float[np.ndarray, "component one_1 one_2"]:
    """1 for parts that vary here beyond rounding, 0 for the others: those are left out of fits (weight 0)."""
    d = here.answered.d[scope]
    _, size = along(d, d, here.rows if space == "answers" else None)
    there = (here.answered.varies[scope] > 0) & (size.sum(dim=1) > 0)
    return there.double().cpu().numpy()[:, None, None]


def _arrays(here: Any, space: str) -> tuple[Vectors, Parts]:
    """Output and parts, in the full width or along the answers and topics."""
    output, parts = here.reading.output.double(), here.reading.parts.double()
    if space == "answers":
        rows = here.rows.double().to(output.device)
        output, parts = output @ rows.T, parts @ rows.T
    return output.cpu().numpy(), parts.cpu().numpy()


def _units(here: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.array([ask.topic for ask in here.asks]), np.array([ask.template for ask in here.asks])


def _about(values: np.ndarray, code: np.ndarray | None) -> np.ndarray:
    """Deviations from the mean over prompts (second axis from the end), overall or within the same code."""
    if code is None:
        return values - values.mean(axis=-2, keepdims=True)
    out = np.empty_like(values)
    for one in np.unique(code):
        mine = code == one
        out[..., mine, :] = values[..., mine, :] - values[..., mine, :].mean(axis=-2, keepdims=True)
    return out


def _products(here: Any) -> Rows:
    rows: Rows = []
    topics, _ = _units(here)
    for space in SPACES:
        output, parts = _arrays(here, space)
        for scope in SCOPES:
            code = topics if scope == "within" else None
            m, a = _about(output, code), _about(parts, code) * _alive(here, scope, space)
            for topic in np.unique(topics):
                own = topics == topic
                rows.append(
                    {
                        "relation": here.one.name,
                        "topic": str(topic),
                        "layer": here.reading.layer,
                        "scope": scope,
                        "space": space,
                        "parts": list(here.reading.names),
                        "aa": np.einsum("cnd,end->ce", a[:, own], a[:, own], optimize=True).ravel().tolist(),
                        "am": np.einsum("cnd,nd->c", a[:, own], m[own], optimize=True).tolist(),
                        "mm": float((m[own] ** 2).sum()),
                        "n": int(own.sum()),
                    }
                )
    return rows


def _held_out(here: Any, config: Config) -> Rows:
    rows: Rows = []
    topics, templates = _units(here)
    rng = np.random.default_rng(seed_of(config.seed, f"held out {here.one.name} {here.reading.layer}"))
    for space in SPACES:
        output, parts = _arrays(here, space)
        for scope in SCOPES:
            code = topics if scope == "within" else None
            m, a = (_about(output, code), _about(parts, code)) if scope == "within" else (output, parts)
            a = a * _alive(here, scope, space)
            for split, units in (("topics", topics), ("templates", templates)):
                if len(np.unique(units)) < FEWEST or not (m**2).sum() > 0:
                    continue
                models = {"ols": ((0.0,), a), "ridge": (PENALTIES, a)}
                if scope == "pooled" and split == "topics":
                    models |= {"shuffled": ((0.0,), _shuffled(a, topics, templates, rng))}
                    models |= {"random": ((0.0,), _random(a, rng))}
                for model, (penalties, regressors) in models.items():
                    error, base = held_out(m, regressors, units, rng=rng, penalties=penalties)
                    rows += _errors(here, (scope, space, split, model), np.unique(units), error, base)
        rows += _jacobian(here, space, topics)
    return rows


def _errors(here: Any, place: tuple[str, ...], units: np.ndarray, error: np.ndarray, base: np.ndarray) -> Rows:
    names = dict(zip(("scope", "space", "split", "model"), place, strict=True))
    same = {"relation": here.one.name, "layer": here.reading.layer, **names}
    return [
        {**same, "unit": str(unit), "error": float(e), "base": float(b)}
        for unit, e, b in zip(units, error, base, strict=True)
    ]


def _shuffled(a: Parts, topics: np.ndarray, templates: np.ndarray, rng: np.random.Generator) -> Parts:
    """Inputs of other topics in the same template: one permutation of the topics without fixed points."""
    names = np.unique(topics)
    order = rng.permutation(len(names))
    of = dict(zip(names[order], names[np.roll(order, 1)], strict=True))
    where = {(t, k): i for i, (t, k) in enumerate(zip(topics, templates, strict=True))}
    return a[:, [where[of[t], k] for t, k in zip(topics, templates, strict=True)]]


def _random(a: Parts, rng: np.random.Generator) -> Parts:
    """Random directions, each as long as the deviation it stands for."""
    length = np.linalg.norm(_about(a, None), axis=-1, keepdims=True)
    drawn = rng.standard_normal(a.shape)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True) * length


def _jacobian(here: Any, space: str, topics: np.ndarray) -> Rows:
    """m(mean) + J (x - mean) against the outputs: no fit, so nothing is left out."""
    output, _ = _arrays(here, space)
    whole = here.answered.whole.double()
    if space == "answers":
        whole = whole @ here.rows.double().T.to(whole.device)
    m, predicted = _about(output, None), _about(whole.cpu().numpy(), None)
    units = np.unique(topics)
    error = np.array([((m - predicted)[topics == u] ** 2).sum() for u in units])
    base = np.array([(m[topics == u] ** 2).sum() for u in units])
    return _errors(here, ("pooled", space, "topics", "jacobian"), units, error, base)


@torch.no_grad()
def _intercepts(lm: LM, here: Any) -> Rows:
    """Within-topic intercepts with weights from the other topics, plain means, and the relation's pooled intercept."""
    topics, _ = _units(here)
    names = np.unique(topics)
    output, parts = _arrays(here, "full")
    narrow, few = (_about(x, topics) for x in _arrays(here, "answers"))
    few = few * _alive(here, "within", "answers")
    centre = {str(t): (output[topics == t].mean(axis=0), parts[:, topics == t].mean(axis=1)) for t in names}
    m, a = _arrays(here, "answers")
    w, _ = least_squares(m, a * _alive(here, "pooled", "answers"))
    pooled = output.mean(axis=0) - w @ parts.mean(axis=1)
    vectors: dict[str, dict[str, np.ndarray]] = {"within": {}, "mean": {}, "pooled": {}}
    for topic, (m, a) in centre.items():
        rest = topics != topic
        w, _ = least_squares(narrow[rest], few[:, rest])
        vectors["within"][topic], vectors["mean"][topic], vectors["pooled"][topic] = m - w @ a, m, pooled
    return [row for name, of in vectors.items() for row in _said(lm, here, name, of)]


def _said(lm: LM, here: Any, name: str, vectors: dict[str, np.ndarray]) -> Rows:
    """What vectors push, read by the unembedding at the mean scale that the final norm has on the relation's prompts."""
    one = here.one
    every = answer_rows(lm, torch.arange(lm.d_vocab, device=lm.device))
    tokens = torch.tensor(sorted({one.answers[fact.answer] for fact in one.facts}), device=lm.device)
    pushes = torch.from_numpy(np.stack(list(vectors.values()))).to(every) @ every.T / here.scale
    rows: Rows = []
    for topic, push in zip(vectors, pushes, strict=True):
        own = one.answers[one.fact(topic).answer]
        place = int((tokens == own).nonzero()[0, 0])
        few = push[tokens]
        others = torch.cat([few[:place], few[place + 1 :]])
        rows.append(
            {
                "relation": one.name,
                "topic": topic,
                "layer": here.reading.layer,
                "intercept": name,
                "margin": float(push[own] - others.mean()),
                "group": float(few.mean()),
                "place": float(exact_rank(few[None], torch.tensor([[place]], device=few.device))),
                "rank": float(exact_rank(push[None], torch.tensor([[own]], device=push.device))),
            }
        )
    return rows


def _replacements(lm: LM, config: Config, here: Any) -> tuple[Rows, pl.DataFrame]:
    """Replace the MLP's output at the last position by what a fit on the other half of the topics predicts."""
    topics, _ = _units(here)
    vectors = _predictions(here, topics)
    layer, options = here.reading.layer, sorted({here.one.answers[fact.answer] for fact in here.one.facts})
    cells = [
        (Patch(site="mlp_out", layer=layer, position="last", value=torch.from_numpy(v).to(here.reading.output)),)
        for v in vectors.values()
    ]
    found = sweep_cells(
        lm,
        [ask.prompt for ask in here.asks],
        cells,
        tokens=[[*options, ask.topic_last] for ask in here.asks],
        metric="logit_minus_mean",
        budget=config.budget,
    )
    n = len(options)
    own = np.array([options.index(ask.answer) for ask in here.asks])
    each = np.arange(len(own))
    before = (found.base[:, :n].argmax(axis=1) == own).astype(float)
    rows: Rows = []
    for name, effect in zip(vectors, found.effects, strict=True):
        after = ((found.base + effect)[:, :n].argmax(axis=1) == own).astype(float)
        rows += [
            {
                "relation": ask.relation,
                "topic": ask.topic,
                "template": ask.template,
                "layer": layer,
                "replacement": name,
                "answer": float(effect[i, own[i]]),
                "asked_topic": float(effect[i, n]),
                "base": float(found.base[each[i], own[i]]),
                "right": float(after[i]),
                "right_before": float(before[i]),
            }
            for i, ask in enumerate(here.asks)
        ]
    where = f"activation {here.one.name} layer {layer} {here.copy}"
    return rows, verified(where, "replaced MLP outputs", found.verification)


def _predictions(here: Any, topics: np.ndarray) -> dict[str, Vectors]:
    """fit, intercept, no_movers, mean: per prompt, from the half of the topics that the prompt is not in."""
    output, parts = _arrays(here, "full")
    narrow, few = _arrays(here, "answers")
    few = few * _alive(here, "pooled", "answers")
    half = np.array([here.one.half[t] for t in topics])
    found = {name: np.empty_like(output) for name in ("fit", "intercept", "no_movers", "mean")}
    for one in HALVES:
        mine, train = half == one, half != one
        train = train if train.any() else np.ones_like(train)
        w, _ = least_squares(narrow[train], few[:, train])
        mean = output[train].mean(axis=0)
        b = mean - w @ parts[:, train].mean(axis=1)
        stay = np.array([head not in here.movers[one] for head in here.reading.heads] + [True])
        found["fit"][mine] = b + np.einsum("c,cnd->nd", w, parts[:, mine])
        found["intercept"][mine] = b
        found["no_movers"][mine] = b + np.einsum("c,cnd->nd", w[stay], parts[stay][:, mine])
        found["mean"][mine] = mean
    return found
