"""The scoring harness against counting pairs by hand, and its rules for what is not scored."""

import math

import numpy as np
import pytest

from mnemoscope.errors import InputError
from mnemoscope.reference.planting.truth import HeadTruth, MlpTruth, Signature, Truth
from mnemoscope.reference.scoring import MLP, auroc, cells

YES, NO, FREE = Signature(seen=("m",)), Signature(unseen=("m",)), Signature()


def truth(*heads, mlps=()):
    return Truth(
        kind="toy",
        family="gpt2",
        seed=0,
        noise=0.0,
        options={},
        heads=tuple(
            HeadTruth(layer=0, head=i, kv_head=i, kind="k", relation=r, signature=s) for i, (r, s) in enumerate(heads)
        ),
        mlps=mlps,
    )


def by_hand(labels, values):
    """Share of (positive, negative) pairs in the right order, ties half."""
    pairs = [
        (p, n) for p, y in zip(values, labels, strict=True) if y for n, z in zip(values, labels, strict=True) if not z
    ]
    return np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs])


def test_auroc_counts_pairs_over_all_models():
    rng = np.random.default_rng(0)
    models, labels, values = [], [], []
    for _ in range(3):
        one = truth(*[("r", YES)] * 3, *[("r", NO)] * 7)
        drawn = rng.integers(0, 4, 10).astype(float)
        models.append((one, {(0, i, "r"): float(v) for i, v in enumerate(drawn)}))
        labels += [True] * 3 + [False] * 7
        values += list(drawn)
    score = auroc("m", models)
    assert score.auroc == pytest.approx(by_hand(labels, values))
    assert (score.n_positive, score.n_negative, score.n_models, score.unscored) == (9, 21, 3, 0)


def test_unscored_cells_take_the_worst_rank():
    one = truth(("r", YES), ("r", YES), ("r", NO), ("r", NO))
    score = auroc("m", [(one, {(0, 0, "r"): 1.0, (0, 1, "r"): math.nan, (0, 2, "r"): -5.0})])
    assert score.unscored == 2
    assert score.auroc == pytest.approx(by_hand([True, True, False, False], [1.0, -9.0, -5.0, -9.0]))
    assert auroc("m", [(one, {})]).auroc == 0.5


def test_heads_count_on_their_own_relation_and_general_decoys_on_each():
    one = truth(("a", YES), ("b", YES), ("", NO), ("a", FREE))
    assert cells(one, "m") == {(0, 0, "a"): True, (0, 1, "b"): True, (0, 2, "a"): False, (0, 2, "b"): False}
    mlps = (MlpTruth(layer=0, signature=YES), MlpTruth(layer=1, signature=NO))
    found = cells(truth(("a", YES), ("", NO), mlps=mlps), "m", relations=False)
    assert found == {(0, 0, ""): True, (0, 1, ""): False, (0, MLP, ""): True, (1, MLP, ""): False}


def test_layers_restrict_and_an_empty_side_is_undefined():
    mlps = (MlpTruth(layer=0, signature=YES), MlpTruth(layer=1, signature=NO))
    score = auroc("m", [(truth(mlps=mlps), {(1, MLP, ""): 1.0})], relations=False, layers=(1,))
    assert math.isnan(score.auroc)
    assert score.reason == "no cell that the measure must see"
    assert score.n_negative == 1


@pytest.mark.parametrize("bad", [{(9, 0, "r"): 1.0}, {(0, 0, "x"): 1.0}, {(0, 0, "r"): math.inf}])
def test_scores_of_another_model_are_refused(bad):
    with pytest.raises(InputError, match="does not have"):
        auroc("m", [(truth(("r", YES), ("r", NO)), bad)])
