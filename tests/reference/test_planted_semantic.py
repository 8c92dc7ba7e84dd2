"""The zoo of methods.md B8, cell by cell, by plain hooks: attention, attribution of real outputs, weights, and cause."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mnemoscope.reference.scoring import auroc

SIZES = {"pairs": 6, "triples": 3, "fillers": 4, "documents": 4, "distractors": 3}
PUSH = 3.0  # logits; a planted write is worth 6
NIL = 0.12
TAU = 2.2


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def zoo(request, plant, probe, shares):
    group = 2 if request.param == "llama" else 1
    return measured(probe(plant("semantic", family=request.param, noise=0.0, kv_group=group, **SIZES)), shares)


def measured(looked, shares):
    """Every measure of every head on the questions of its relation (of every relation for heads that serve none)."""
    relations = np.array([p.labels["relation"] for p in looked.prompts])
    table = {}
    for head in looked.truth.heads:
        if head.kind == "idle":
            continue
        values = at_the_cue(looked, head, shares)
        for relation in [head.relation] if head.relation else looked.truth.relations():
            own = relations == relation
            for measure, value in values.items():
                table.setdefault(measure, {})[head.layer, head.head, relation] = mean(value[own])
    return SimpleNamespace(looked=looked, table=table)


def mean(values):
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def at_the_cue(looked, head, shares):
    """RI variants (excess over other entities of the document), cause, gate-free score; nan where the gate fails."""
    gates = {role: gate(looked, head, role) for role in ("head", "tail")}
    found = {
        name: [] for name in ("ri_lit", "ri_src", "ri_ctx_src", "ri_out", "ri_reverse", "over_visible", "ov_gate_free")
    }
    s, o = (torch.tensor([looked.places(i, role)[0] for i in looked.rows]) for role in ("head", "tail"))
    ids = {"current": looked.ids[looked.rows, looked.last], "source": looked.ids[looked.rows, s]}
    vectors = {
        "ri_lit": looked.W_E[ids["current"]],
        "ri_src": looked.W_E[ids["source"]],
        "ri_ctx_src": looked.norms[head.layer][0](looked.stream[head.layer][looked.rows, s]),
    }
    logits = {name: vector @ looked.W_OV(head) @ looked.W_U for name, vector in vectors.items()}
    logits["ri_out"] = looked.z_of(head) @ looked.W_O(head) @ looked.W_U
    for i, prompt in enumerate(looked.prompts):
        visible, source, tail = looked.ids[i, 1 : looked.last[i] + 1], ids["source"][i], looked.ids[i, o[i]]
        same = looked.tokens(prompt.foils)
        share = {name: shares(z[i], visible) for name, z in logits.items()}
        excess = {name: (q[tail] - q[same].mean()).item() for name, q in share.items()}
        for name in logits:
            found[name].append(excess[name] if gates["head"][i] else np.nan)
        real = share["ri_out"]
        found["over_visible"].append(real[tail].item() - 1 / len(visible.unique()) if gates["head"][i] else np.nan)
        found["ri_reverse"].append((real[source] - real[same].mean()).item() if gates["tail"][i] else np.nan)
        found["ov_gate_free"].append(excess["ri_ctx_src"])
    found["cause"] = looked.cause(head).numpy()
    found["over_same_type"] = found["ri_out"]
    return {name: np.array(values, dtype=float) for name, values in found.items()}


def gate(looked, head, role):
    """Whether attention at the cue is largest on the role's token, by a factor of tau."""
    passed = []
    for i, last in enumerate(looked.last.tolist()):
        A = looked.attention[head.layer][i, head.head, last, : last + 1]
        place = looked.places(i, role)[0]
        others = torch.cat([A[:place], A[place + 1 :]]).max()
        passed.append(bool(A[place] > TAU * others))
    return np.array(passed)


def test_the_zoo_answers(zoo):
    assert zoo.looked.accuracy() == 1.0
    assert zoo.looked.margin(zoo.looked.logits).min() > 2 * PUSH


def test_every_cell_of_the_table(zoo):
    """Shares: seen above .3 excess, not seen below .05 or unscored. Cause: above 3 logits, below .12."""
    checked = 0
    for head in zoo.looked.truth.heads:
        for measure, cells in zoo.table.items():
            expected = head.signature.of(measure)
            for cell, value in cells.items():
                if cell[:2] != (head.layer, head.head) or expected is None:
                    continue
                checked += 1
                if head.kind == "type_promoter" and measure == "over_visible":
                    assert value > 0.02, (head, value)  # 1 / entities against 1 / visible words
                elif expected:
                    assert value > (PUSH if measure == "cause" else 0.3), (head, measure, value)
                else:
                    assert not value > (NIL if measure == "cause" else 0.05), (head, measure, value)
    assert checked > 150


def test_erased_writes_come_and_go(zoo):
    """The erased head's push on the tail is there where it is written and gone at the end."""
    looked = zoo.looked
    for head in looked.truth.of_kind("erased"):
        own = [i for i, p in enumerate(looked.prompts) if p.labels["relation"] == head.relation]
        written = looked.margin(looked.z_of(head) @ looked.W_O(head) @ looked.W_U)[own]
        assert written.min() > PUSH
        assert looked.cause(head)[own].abs().max() < NIL
        at = looked.mlp[looked.truth.mlps[-1].layer][looked.rows, looked.last] @ looked.W_U
        torch.testing.assert_close(looked.margin(at)[own], -written, atol=NIL, rtol=0)


def at_the_source(looked, head, shares):
    """RI-lit at j = s, where the tail stands before: excess over other entities seen so far; [] where the gate never opens."""
    found = []
    for i, prompt in enumerate(looked.prompts):
        s, o = (looked.places(i, role)[0] for role in ("head", "tail"))
        A = looked.attention[head.layer][i, head.head, s, : s + 1]
        visible = looked.ids[i, 1 : s + 1]
        same = [t for t in looked.tokens(prompt.foils).tolist() if t in visible]
        if (head.relation and prompt.labels["relation"] != head.relation) or o > s or len(same) < 2:
            continue
        if A[s] > TAU * A[:s].max():
            share = shares(looked.W_E[looked.ids[i, s]] @ looked.W_OV(head) @ looked.W_U, visible)
            found.append((share[looked.ids[i, o]] - share[same].mean()).item())
    return np.array(found)


def test_at_the_source_itself_the_literal_index_sees_the_semantic_head(zoo, shares):
    """j = s: the current token is the attended one, so RI-lit and RI-src are one and the same; of the others only cells of
    the table are asked."""
    for head in zoo.looked.truth.heads:
        expected = head.signature.of("ri_lit_at_source")
        if expected is None or head.kind == "idle":
            continue
        found = at_the_source(zoo.looked, head, shares)
        if expected:
            assert len(found) >= 5
            assert found.mean() > 0.9
        else:
            assert not mean(found) > 0.05, (head, found)


@pytest.mark.slow
def test_measures_find_what_was_planted_at_the_default_noise(plant, probe, shares):
    """AUROC against the decoys, pooled over seeds; issue 6 asks for .95 here. The whole curve is in benchmarks/."""
    sizes = {**SIZES, "pairs": 12, "documents": 3, "kv_group": 2}
    zoos = [measured(probe(plant("semantic", noise=0.5, seed=seed, **sizes)), shares) for seed in (0, 1)]
    for measure in ("ri_src", "ri_ctx_src", "ri_out", "cause"):
        score = auroc(measure, [(zoo.looked.truth, zoo.table[measure]) for zoo in zoos])
        assert score.n_models == 2
        assert score.n_negative > 20
        assert score.auroc >= 0.95, score


def test_the_corpus_says_where_everything_is(plant):
    made = plant("semantic", noise=0.0, kv_group=2, **SIZES)
    pairs = {relation: {row[0]: row for row in rows} for relation, rows in made.truth.facts["pairs"].items()}
    for document in made.corpus.documents:
        for triple in document.triples:
            head, tail = document.surface(triple.head), document.surface(triple.tail)
            assert pairs[triple.relation][head][1] == tail
            assert document.text.split().count(head) == document.text.split().count(tail) == 1
            assert document.surface(triple.head - 1) == pairs[triple.relation][head][3]
    sides = [t.head < t.tail for d in made.corpus.documents for t in d.triples]
    assert 0.2 < np.mean(sides) < 0.8
    for prompt in made.prompts:
        ((head,), (tail,), (cue,)) = (prompt.part(role) for role in ("head", "tail", "cue"))
        row = pairs[prompt.labels["relation"]][head]
        assert (row[1], row[2]) == (tail, cue)
        assert prompt.text.endswith(cue)
        assert prompt.answer == f" {tail}"
