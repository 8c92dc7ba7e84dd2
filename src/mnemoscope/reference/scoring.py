"""How well a measure finds what was planted: AUROC against the decoys (methods.md B8).

Cells are (head, relation) of one planted model; models of several seeds are pooled. A cell is positive if the measure must
see it, negative if it must not; cells that the truth leaves open, and a head's cells on relations that it does not serve,
are left out: they would only flatter. A cell that the measure could not score (absent or nan) takes the worst rank.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from sklearn.metrics import roc_auc_score

from mnemoscope.errors import InputError, listed
from mnemoscope.reference.planting.truth import Truth

MLP = -1  # in place of a head's number: the layer's MLP
Cell = tuple[int, int, str]  # layer, head or MLP, relation ("" where the measure knows no relations)


@dataclass(frozen=True, kw_only=True)
class Score:
    """An AUROC with the counts behind it; nan with a reason where one side is empty.

    auroc      probability that a random positive cell outranks a random negative one, ties half; chance .5
    unscored   cells of either side that had no value
    """

    measure: str
    auroc: float
    n_positive: int
    n_negative: int
    unscored: int
    n_models: int
    reason: str = ""


def cells(truth: Truth, measure: str, *, relations: bool = True) -> dict[Cell, bool]:
    """Cells that must be seen (True) or must not be seen (False) by a measure.

    With relations, heads that serve one count on that one alone, and heads that serve none on each. Without, every head and
    every MLP is one cell, with relation "".
    """
    found: dict[Cell, bool] = {}
    everything = truth.relations() if relations and truth.relations() else ("",)
    for head in truth.heads:
        label = head.signature.of(measure)
        own = (head.relation,) if head.relation and relations else everything
        found |= {(head.layer, head.head, r): label for r in own} if label is not None else {}
    if not relations:
        labels = {(mlp.layer, MLP, ""): mlp.signature.of(measure) for mlp in truth.mlps}
        found |= {cell: label for cell, label in labels.items() if label is not None}
    return found


def auroc(
    measure: str,
    models: Iterable[tuple[Truth, Mapping[Cell, float]]],
    *,
    relations: bool = True,
    layers: Iterable[int] = (),
) -> Score:
    """Pooled AUROC of a measure's values over planted models; `layers` restricts to some layers (default: all).

    Ranks are compared across models: values must be in one unit. Raises InputError for values of heads or relations that
    the model does not have, since then the two do not belong together.
    """
    labels: list[bool] = []
    values: list[float] = []
    wanted, n_models = set(layers), 0
    for truth, scores in models:
        _check(truth, scores)
        chosen = {c: y for c, y in cells(truth, measure, relations=relations).items() if not wanted or c[0] in wanted}
        labels += chosen.values()
        values += [float(scores.get(cell, nan)) for cell in chosen]
        n_models += 1
    return _score(measure, np.array(labels, dtype=bool), np.array(values), n_models)


def _score(measure: str, labels: np.ndarray, values: np.ndarray, n_models: int) -> Score:
    missing = np.isnan(values)
    yes, no = int(labels.sum()), int((~labels).sum())
    finite = values[~missing]
    worst = (finite.min() - 1.0) if len(finite) else 0.0
    return Score(
        measure=measure,
        auroc=float(roc_auc_score(labels, np.where(missing, worst, values))) if yes and no else nan,
        n_positive=yes,
        n_negative=no,
        unscored=int(missing.sum()),
        n_models=n_models,
        reason="" if yes and no else f"no cell that the measure {'must not' if yes else 'must'} see",
    )


def _check(truth: Truth, scores: Mapping[Cell, float]) -> None:
    heads = {(head.layer, head.head) for head in truth.heads} | {(mlp.layer, MLP) for mlp in truth.mlps}
    names = {*truth.relations(), ""}
    bad = [str(cell) for cell in scores if cell[:2] not in heads or cell[2] not in names]
    bad += [f"{cell}: {value}" for cell, value in scores.items() if not isfinite(value) and value == value]
    if bad:
        raise InputError(
            f"{len(bad)} scored cells that a planted {truth.kind!r} model does not have, or that are infinite",
            found=listed(bad),
            allowed=f"(layer, head or {MLP} for the MLP, relation): relations {', '.join(sorted(names))}; finite or nan",
        )
