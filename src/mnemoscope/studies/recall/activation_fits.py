"""Step 4, fitted: cross products of an MLP's output with the parts of its input, and a fit's errors on unseen topics.

Fits need whole vectors, so they are made here, where the vectors are; per topic or prompt they leave sums and errors behind.
"""

import numpy as np
import polars as pl

from mnemoscope.model.lm import LM
from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.recall_mlp import MLP_HELD_OUT, MLP_PRODUCTS, SCOPES, SPACES
from mnemoscope.stats.cross_products import PENALTIES
from mnemoscope.stats.reduced_rank import held_out_rank
from mnemoscope.stats.regression import held_out
from mnemoscope.studies.recall import activation_reads
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.situation import Parts, Rows, Situation, about, alive, arrays, framed, units

FEWEST = 3  # units for anything held out


def tables(lm: LM, config: Config, here: Situation) -> dict[str, pl.DataFrame]:
    """The raw tables of one relation and layer."""
    found = {
        "mlp_products": framed(_products(here), MLP_PRODUCTS),
        "mlp_held_out": framed(_held_out(here, config), MLP_HELD_OUT),
    }
    return found | activation_reads.tables(lm, config, here)


def _products(here: Situation) -> Rows:
    rows: Rows = []
    topics, _ = units(here)
    for space in SPACES:
        output, parts = arrays(here, space)
        for scope in SCOPES:
            code = topics if scope == "within" else None
            m, a = about(output, code), about(parts, code) * alive(here, scope, space)
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


def _held_out(here: Situation, config: Config) -> Rows:
    rows: Rows = []
    topics, templates = units(here)
    rng = np.random.default_rng(seed_of(config.seed, f"held out {here.one.name} {here.reading.layer}"))
    for space in SPACES:
        output, parts = arrays(here, space)
        for scope in SCOPES:
            code = topics if scope == "within" else None
            m, a = (about(output, code), about(parts, code)) if scope == "within" else (output, parts)
            a = a * alive(here, scope, space)
            for split, left in (("topics", topics), ("templates", templates)):
                if len(np.unique(left)) < FEWEST or not (m**2).sum() > 0:
                    continue
                models = {"ols": ((0.0,), a), "ridge": (PENALTIES, a)}
                if scope == "pooled" and split == "topics":
                    models |= {"shuffled": ((0.0,), _shuffled(a, topics, templates, rng))}
                    models |= {"random": ((0.0,), _random(a, rng))}
                for model, (penalties, regressors) in models.items():
                    error, base = held_out(m, regressors, left, rng=rng, penalties=penalties)
                    rows += _errors(here, (scope, space, split, model), np.unique(left), error, base)
        rows += [*_low_rank(here, space, topics, rng), *_jacobian(here, space, topics)]
    return rows


def _errors(
    here: Situation,
    place: tuple[str, ...],
    left: np.ndarray,
    error: np.ndarray,
    base: np.ndarray,
    rank: np.ndarray | None = None,
) -> Rows:
    names = dict(zip(("scope", "space", "split", "model"), place, strict=True))
    same = {"relation": here.one.name, "layer": here.reading.layer, **names}
    ranks = np.full(len(left), np.nan) if rank is None else rank
    return [
        {**same, "unit": str(unit), "error": float(e), "base": float(b), "rank": float(r)}
        for unit, e, b, r in zip(left, error, base, ranks, strict=True)
    ]


def _low_rank(here: Situation, space: str, topics: np.ndarray, rng: np.random.Generator) -> Rows:
    """Every part has a matrix of its own, all of them together of small rank; parts at unit root mean square (B6.5)."""
    output, parts = arrays(here, space)
    parts = about(parts, None) * alive(here, "pooled", space)
    if len(np.unique(topics)) < FEWEST or not (about(output, None) ** 2).sum() > 0:
        return []
    size = np.sqrt((parts**2).mean(axis=(1, 2), keepdims=True))
    inputs = np.concatenate(list(parts / np.where(size > 0, size, 1.0)), axis=1)
    error, base, rank = held_out_rank(output, inputs, topics, rng=rng)
    return _errors(here, ("pooled", space, "topics", "low_rank"), np.unique(topics), error, base, rank)


def _shuffled(a: Parts, topics: np.ndarray, templates: np.ndarray, rng: np.random.Generator) -> Parts:
    """Inputs of other topics in the same template: one permutation of the topics without fixed points."""
    names = np.unique(topics)
    order = rng.permutation(len(names))
    of = dict(zip(names[order], names[np.roll(order, 1)], strict=True))
    where = {(t, k): i for i, (t, k) in enumerate(zip(topics, templates, strict=True))}
    return a[:, [where[of[t], k] for t, k in zip(topics, templates, strict=True)]]


def _random(a: Parts, rng: np.random.Generator) -> Parts:
    """Random directions, each as long as the deviation it stands for."""
    length = np.linalg.norm(about(a, None), axis=-1, keepdims=True)
    drawn = rng.standard_normal(a.shape)
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True) * length


def _jacobian(here: Situation, space: str, topics: np.ndarray) -> Rows:
    """m(mean) + J (x - mean) against the outputs: no fit, so nothing is left out."""
    output, _ = arrays(here, space)
    whole = here.answered.whole.double()
    if space == "answers":
        whole = whole @ here.rows.double().T.to(whole.device)
    m, predicted = about(output, None), about(whole.cpu().numpy(), None)
    names = np.unique(topics)
    error = np.array([((m - predicted)[topics == u] ** 2).sum() for u in names])
    base = np.array([(m[topics == u] ** 2).sum() for u in names])
    return _errors(here, ("pooled", space, "topics", "jacobian"), names, error, base)
