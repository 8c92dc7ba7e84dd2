"""Prescribed attention ratios and geometry, recovered by plain means; the twin holds as much structure, of no use."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

SIZES = {"draws": 1}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def pair(request, plant, probe):
    sizes = {"kv_group": 2, "distractors": 4} if request.param == "llama" else {}
    return {
        kind: probe(plant(kind, family=request.param, noise=0.0, **sizes, **SIZES))
        for kind in ("geometry", "geometry_twin")
    }


def labels(looked, name):
    return np.array([p.labels[name] for p in looked.prompts])


def log_ratio(looked, row, pattern):
    t, s = (pattern[looked.places(row, role)].mean() for role in ("relevant", "distractor"))
    return torch.log(t / s).item()


def alignment(looked, layer, example, hypothesis):
    """Spearman between similarities at "?" and the hypothesis, over pairs of different items (methods.md P3.2, B7.1)."""
    own = labels(looked, "example") == example
    E = looked.stream[layer + 1][looked.rows, looked.last].double().numpy()[own]
    E = (E - E.mean(0)) / E.std(0)
    E /= np.linalg.norm(E, axis=1, keepdims=True)
    item, group = labels(looked, "item")[own], labels(looked, hypothesis)[own]
    i, j = np.triu_indices(len(E), 1)
    other = item[i] != item[j]
    return spearmanr((E @ E.T)[i, j][other], (group[i] == group[j])[other])[0]


def test_ratios_are_the_prescribed_ones(pair):
    looked = pair["geometry"]
    low, high = looked.truth.facts["log_ratio"]
    (layer,) = {head.layer for head in looked.truth.of_kind("ratio")}
    patterns = looked.attention[layer]
    for row, p in enumerate(looked.prompts):
        wanted = high if p.labels["example"] else low
        rows = [*patterns[row, :, looked.last[row]], patterns[row, :, looked.last[row]].mean(0)]
        for pattern in rows:
            assert log_ratio(looked, row, pattern) == pytest.approx(wanted, rel=0.01)


def test_geometry_follows_the_hypothesis_and_the_twin_does_not(pair):
    """With 5 clusters of 5, a co-membership design of perfect separation has Spearman .65; the twin has none."""
    for layer in pair["geometry"].truth.facts["geometry_layers"]:
        for example in (False, True):
            assert alignment(pair["geometry"], layer, example, "activity") > 0.6
            for hypothesis in ("name", "activity"):
                assert abs(alignment(pair["geometry_twin"], layer, example, hypothesis)) < 0.05
            assert alignment(pair["geometry_twin"], layer, example, "cluster") > 0.6


def test_an_example_gives_the_format_and_the_twin_answers_by_cluster(pair):
    for kind, looked in pair.items():
        example = labels(looked, "example")
        activities = looked.truth.facts["activities"]
        top = looked.logits.argmax(-1)
        assert (top[torch.tensor(~example)] == looked.token("hm")).all()
        expected = looked.tokens(activities[c] for c in labels(looked, "cluster")[example])
        assert (top[torch.tensor(example)] == expected).all()
        right = (expected == looked.tokens(p.answer for p in looked.prompts if p.labels["example"])).float().mean()
        assert (right == 1) if kind == "geometry" else (right < 0.5)


def test_only_the_mover_matters(pair):
    looked = pair["geometry"]
    (mover,) = looked.truth.of_kind("mover")
    assert looked.cause(mover).abs().mean() > 1
    for head in (*looked.truth.of_kind("ratio"), *looked.truth.of_kind("distractor")):
        assert looked.cause(head).abs().max() < 0.01


def test_distractors_do_something_but_not_where_the_geometry_is_prescribed(pair):
    looked = pair["geometry"]
    for head in looked.truth.of_kind("distractor"):
        rows = [looked.attention[head.layer][b, head.head, : last + 1] for b, last in enumerate(looked.last.tolist())]
        assert min(A[-1, 0].item() for A in rows) > 0.98
        assert min(A[1:-1, 0].min().item() for A in rows) < 0.1


@pytest.mark.parametrize(("hypothesis", "distractors"), [("activities", 0), ("names", 3)])
def test_states_are_the_realised_codes(hypothesis, distractors, plant, probe):
    """At the default noise the states at "?" differ between items by exactly the codes in the truth."""
    looked = probe(plant("geometry", noise=0.5, hypothesis=hypothesis, distractors=distractors, **SIZES))
    items = [f"{name}/{activity}" for name, activity, _ in looked.truth.facts["items"]]
    for example, key in ((False, "without"), (True, "with")):
        codes = np.array(looked.truth.facts["item_codes"][key])
        own = np.flatnonzero(labels(looked, "example") == example)
        order = [items.index(looked.prompts[i].labels["item"]) for i in own]
        states = looked.stream[3][looked.rows, looked.last].double().numpy()[own]
        # same question mark at other positions: Llama has none in the stream
        found, wanted = (x - x.mean(0) for x in (states, codes[order]))
        np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=0.03)


def test_twins_differ_only_in_clusters(plant):
    one, two = (plant(kind, noise=0.0, **SIZES) for kind in ("geometry", "geometry_twin"))
    assert [p.text for p in one.prompts] == [p.text for p in two.prompts]
    sizes = np.bincount([c for _, _, c in two.truth.facts["items"]])
    assert (sizes == sizes[0]).all()
