"""Sufficient statistics of the relation index: against sums written out event by event, and on a model whose truth is planted."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch


@pytest.fixture(scope="module")
def zoo():
    """A planted zoo without noise: the lm, its texts and its truth."""
    from mnemoscope.measures.relation_texts import relation_text
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted

    made = planted("semantic", noise=0.0, kv_group=2, documents=4)
    lm = view(made.model, made.tokenizer)
    return lm, [relation_text(lm, document) for document in made.corpus.documents], made.truth


@pytest.fixture(scope="module")
def statistics(zoo):
    from mnemoscope.measures.relation_documents import relation_statistics

    lm, texts, _ = zoo
    drawn = [replace(one, document=replace(one.document, labels={"letters": "drawn"})) for one in texts]
    return relation_statistics(lm, drawn, draws=3)


def test_tails_are_redrawn_only_where_no_word_is_a_tail_twice(zoo, statistics):
    from mnemoscope.measures.relation_documents import relation_statistics

    lm, texts, _ = zoo
    found = relation_statistics(lm, texts[:1], draws=3).triples
    assert set(found["redrawn"].list.len()) == {0}
    assert found["together"].to_list() == [f"tail {tail}" for tail in found["tail"]]
    assert statistics.triples["together"].to_list() == statistics.triples["document"].to_list()


@pytest.fixture(scope="module")
def documents(statistics):
    from mnemoscope.measures.relation_cells import Documents

    return Documents.of(statistics.documents, statistics.opportunities)


def written_out(measured, relation, layer, head, variant, tau):
    """Event by event: (index, null, percentile) averaged within triple, triples within document; and per opportunity."""
    kinds = measured.events.stratum()
    conditional, per_opportunity, rates = [], [], []
    share, ratio = measured.layers[layer].shares[variant], measured.layers[layer].gate.ratio[head]
    for t, name in enumerate(measured.text.relations):
        mine = [e for e in range(len(kinds)) if int(measured.events.triple[e]) == t and kinds[e] == "other"]
        if name != relation or not mine:
            continue
        passing = [e for e in mine if float(ratio[e]) > tau]
        values = [[float(x[head, e]) for x in (share.index, share.null, share.percentile)] for e in passing]
        defined = [v for v in values if not math.isnan(v[0] + v[1])]
        rates.append(len(passing) / len(mine))
        chances = len(mine) - (len(passing) - len(defined))
        per_opportunity.append(sum(v[0] for v in defined) / max(1, chances))
        if defined:
            conditional.append(np.nanmean(np.array(defined), axis=0))
    mean = np.mean(conditional, axis=0) if conditional else np.full(3, np.nan)
    return mean, np.mean(per_opportunity), np.mean(rates)


def test_documents_are_means_of_means(zoo, statistics):
    from mnemoscope.measures.relation_pass import measure_texts

    lm, texts, truth = zoo
    with torch.no_grad():
        found = measure_texts(lm, texts[:2])
    heads = [
        (one.layer, one.head) for one in truth.heads if one.kind in ("semantic", "alphabet_successor", "distractor")
    ]
    compared = 0
    for one in found:
        for slice_, tau in (("tau", 2.2), ("argmax", 1.0), ("free", -1.0)):
            for layer, head in heads[:6]:
                mean, per_opportunity, rate = written_out(one, "relation0", layer, head, "out", tau)
                row = statistics.documents.filter(
                    (pl.col("document") == one.text.document.unit)
                    & (pl.col("relation") == "relation0")
                    & (pl.col("slice") == slice_)
                    & (pl.col("variant") == "out")
                    & (pl.col("layer") == layer)
                    & (pl.col("head") == head)
                )
                if not row.height:
                    assert rate == 0
                    continue
                compared += 1
                assert np.allclose(row.select("index", "null").row(0), mean[:2], atol=1e-5, equal_nan=True)
                assert abs(row["per_opportunity"][0] - per_opportunity) < 1e-5
                assert abs(row["pass_rate"][0] - rate) < 1e-9
    assert compared > 20


def test_redrawn_tails_average_to_nothing(statistics):
    """Of many triples and heads: a drawn tail is on average as good as its rivals, the true one of planted heads is not."""
    rows = statistics.triples.filter(pl.col("variant") == "out")
    redrawn = np.array(rows["redrawn"].to_list())
    assert redrawn.shape[1] == 3
    assert np.isfinite(redrawn).all()
    assert (np.abs(redrawn) <= 1 + 1e-6).all()


SEEN = {  # measure of the truth -> variant, slice, quantity
    "ri_lit": ("lit", "tau", "excess"),
    "ri_src": ("src", "tau", "excess"),
    "ri_ctx_src": ("ctx_src", "tau", "excess"),
    "ri_out": ("out", "tau", "excess"),
    "ri_lit_at_source": ("lit", "at_source", "excess"),
    "ri_reverse": ("out", "reverse", "excess"),
    "ov_gate_free": ("ctx_src", "free", "excess"),
    "over_same_type": ("out", "tau", "excess"),
}


def test_every_cell_of_the_planted_table(zoo, documents):
    """methods.md B8: what each variant must and must not see; unscored counts as not seen."""
    truth, heads = zoo[2], list(documents.heads.iter_rows())
    checked = 0
    for relation in documents.relations:
        for measure, (variant, slice_, quantity) in SEEN.items():
            values = documents.mean(quantity, slice=slice_, variant=variant, relation=relation).estimate
            for head in truth.heads:
                expected = head.signature.of(measure)
                if expected is None or head.relation not in ("", relation) or head.kind in ("idle", "distractor"):
                    continue
                place = (head.layer, head.head)
                value = values[heads.index(place)] if place in heads else math.nan
                checked += 1
                if expected:
                    assert value > 0.2, (head.kind, measure, value)
                else:
                    assert not value > 0.1, (head.kind, measure, value)
    assert checked > 80


def test_fake_targets_are_not_promoted(documents, zoo):
    for head in zoo[2].of_kind("semantic"):
        cell = list(documents.heads.iter_rows()).index((head.layer, head.head))
        fake = documents.mean("index", slice="fake", variant="out", relation=head.relation).estimate[cell]
        assert fake < 0.05


def test_drawn_positions_are_some_of_all_opportunities(zoo):
    from mnemoscope.measures.relation_documents import drawn_positions, relation_statistics

    lm, texts, _ = zoo
    drawn = drawn_positions(texts[0], 5, 0)
    assert (drawn == drawn_positions(texts[0], 5, 0)).all()
    assert (drawn[:, 0] == texts[0].pairs.amax(-1)).all()
    some = relation_statistics(lm, texts[:1], positions=5).opportunities
    every = relation_statistics(lm, texts[:1]).opportunities
    assert (some["other"] <= every["other"]).all()
    assert int(some.select(pl.sum_horizontal("other", "at_source", "at_target")).sum().item()) <= 5 * len(
        texts[0].pairs
    )


def test_held_events_are_the_same_whatever_the_head_does(zoo):
    from mnemoscope.measures.relation_documents import attending, relation_statistics

    lm, texts, _ = zoo
    held = attending(lm, texts[:2])
    found = relation_statistics(lm, texts[:2], held=held).documents
    keys = ["document", "relation", "layer", "head", "variant"]
    one, other = (found.filter(pl.col("slice") == name).sort(keys) for name in ("held", "argmax"))
    assert one.drop("slice").equals(other.drop("slice"))  # held by the model itself: the events are its own


def test_tau_star_is_exceeded_by_one_ratio_in_twenty(zoo):
    from mnemoscope.measures.relation_documents import tau_star
    from mnemoscope.measures.relation_pass import measure_texts

    lm, texts, _ = zoo
    star = tau_star(lm, texts)
    with torch.no_grad():
        found = measure_texts(lm, texts)
    ratios = torch.cat([layer.gate.dominance.flatten() for one in found for layer in one.layers.values()])
    assert abs(float((ratios[~ratios.isnan()] > star).float().mean()) - 0.05) < 0.01
    assert math.isnan(tau_star(lm, []))


def test_pass_rates_of_planted_heads_beside_what_their_distances_give(zoo):
    """methods.md B8: heads that answer the cue are above it, heads that follow distance or rest are not."""
    from mnemoscope.measures.relation_documents import relation_statistics

    lm, texts, truth = zoo
    found = relation_statistics(lm, texts, attending_rates=True)
    keys = ["document", "relation", "slice", "layer", "head"]
    both = found.documents.filter(pl.col("variant") == "out").join(found.rates, on=keys, suffix="_again")
    assert set(both["slice"]) == {"argmax", "tau"}
    assert np.allclose(both["pass_rate"], both["pass_rate_again"])
    above = found.rates.with_columns(excess=pl.col("pass_rate") - pl.col("null_pass_rate"))
    seen = set()
    for head in truth.heads:
        rows = above.filter(
            (pl.col("layer") == head.layer) & (pl.col("head") == head.head) & (pl.col("slice") == "tau")
        )
        if head.relation:
            rows = rows.filter(pl.col("relation") == head.relation)
        rate, excess = rows["pass_rate"].mean(), rows["excess"].mean()
        if head.kind in ("semantic", "contextual"):
            assert excess > 0.8 * rate > 0, head
            seen.add(head.kind)
        if head.kind in ("previous_token", "sink"):
            assert abs(excess) < 1e-6, (head, rate, excess)
            seen.add(head.kind)
    assert seen == {"semantic", "contextual", "previous_token", "sink"}
