"""Semantic induction heads where the truth is known: the study recovers what was planted, through its own tables."""

import json

import numpy as np
import polars as pl
import pytest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole study on a planted zoo, from a file of its documents."""
    from mnemoscope.data import jsonl
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.runner import run

    folder = tmp_path_factory.mktemp("zoo")
    made = planted("semantic", noise=0.0, kv_group=2, documents=12)
    jsonl.write(folder / "zoo.jsonl", made.corpus.documents)
    lm = view(made.model, made.tokenizer, name="zoo")
    options = {"limit": 12, "distinct": 10, "copies": 2, "text_tokens": 16, "threads": 1, "quiet": True}
    return made.truth, run("heads", lm, out=folder / "run", data=str(folder / "zoo.jsonl"), **options)


def cells(table, **where):
    kept = table
    for column, value in where.items():
        kept = kept.filter(pl.col(column) == value)
    return {(row["layer"], row["head"]): row for row in kept.iter_rows(named=True)}


@pytest.mark.slow
def test_planted_heads_are_found_with_interval_and_corrected_p(run):
    truth, result = run
    for relation in truth.relations():
        found = cells(result.tables["relations"], copy="trained", variant="out", relation=relation)
        for head in truth.heads:
            row = found.get((head.layer, head.head))
            if head.kind in ("semantic", "contextual", "erased") and head.relation == relation:
                assert row["supported"]
                assert row["estimate"] > 0.5
                assert row["low"] > 0.2  # a head that never fails has an interval too
                assert row["p_maxt"] < 0.01  # pairs recur in this corpus: tails are redrawn alike in all documents
                assert row["index"] - row["null"] == pytest.approx(row["estimate"], abs=0.02)
            elif row is not None and row["supported"]:
                assert not row["estimate"] > 0.2, head


@pytest.mark.slow
def test_cause_tells_the_erased_head_from_the_semantic_one(run):
    truth, result = run
    effect = cells(result.tables["relation_effects"], copy="trained", pairing="passing")
    for head in truth.heads:
        row = effect[head.layer, head.head]
        if head.kind in ("semantic", "contextual"):
            assert row["estimate"] > 1.0
        elif head.kind in ("erased", "cue_keyed", "sink", "type_promoter"):
            assert not abs(row["estimate"]) > 0.3, head
    assert result.tables["verification"]["ok"].all()


@pytest.mark.slow
def test_claims_follow_from_the_truth(run):
    _, result = run
    verdicts = dict(result.tables["claims"].select("claim", "verdict").iter_rows())
    assert verdicts["C1.1 a few heads promote the tail (data, RI-out)"] == "supported"
    assert verdicts["C1.1 a few heads promote the tail (data, RI-ctx-src)"] == "supported"
    (specific,) = result.tables["claims"].filter(pl.col("claim").str.starts_with("C1.3")).iter_rows(named=True)
    assert specific["estimate"] > 0.8
    assert specific["verdict"] != "contradicted"  # six documents that all agree leave a wide exact bound
    assert verdicts["C1.4 the map hardly depends on tau (data)"] != "contradicted"
    assert verdicts["C1.7 semantic heads matter for in-context learning (k = 4)"] == "not testable"


@pytest.mark.slow
def test_literal_index_follows_the_cue_and_the_control_is_at_its_null(run):
    truth, result = run
    table = result.tables["relations"]
    for head in truth.of_kind("cue_keyed"):
        assert (
            cells(table, copy="trained", variant="lit", relation=head.relation)[head.layer, head.head]["estimate"] > 0.5
        )
        assert (
            not cells(table, copy="trained", variant="out", relation=head.relation)[head.layer, head.head]["estimate"]
            > 0.1
        )
    control = table.filter((pl.col("copy") == "reinitialised") & pl.col("supported"))
    assert not control.height or (control["low"] > 0.2).sum() == 0


@pytest.mark.slow
def test_shown_in_the_terminal_and_on_the_page(run):
    from typer.testing import CliRunner

    from mnemoscope.cli.main import app

    truth, result = run
    asked = ["show", str(result.path), "heads", "--relation", "relation0", "--top", "10", "--json"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    rows = json.loads(said.stdout)["heads"]
    assert len(rows) == 10
    assert {row["relation"] for row in rows} == {"relation0"}
    kinds = ("semantic", "contextual", "erased")
    planted = {(h.layer, h.head) for h in truth.heads if h.kind in kinds and h.relation == "relation0"}
    assert {(row["layer"], row["head"]) for row in rows[:3]} == planted
    page = result.report().read_text()
    for title in (
        "Semantic induction heads, ranked",
        "Do heads know which relation it is?",
        "Does the relation index predict",
    ):
        assert title in page
    events = result.tables["shown_events"].filter(pl.col("rank") == 0)
    semantic = truth.of_kind("semantic")[0]
    own = events.filter((pl.col("layer") == semantic.layer) & (pl.col("head") == semantic.head))
    assert "promotes" in own["title"][0]
    assert own["title"][0].startswith("relation")


def test_groups_take_at_most_a_quarter_of_a_layer_and_no_head_that_does_nothing():
    from mnemoscope.studies.heads.groups import chosen_groups, top

    scores = {(layer, head): 1.0 - 0.1 * layer - 0.01 * head for layer in range(3) for head in range(8)}
    assert top(scores, 4, 8) == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert top({(0, 0): 0.0, (0, 1): -1.0}, 2, 8) == ()
    groups = chosen_groups(scores, {(0, 0): 5.0, (1, 1): 4.0}, 2, 8)
    assert groups["ordinary"] == ((0, 0), (1, 1))
    assert not set(groups["semantic_not_ordinary"]) & set(groups["ordinary"])


def group_rows(shift, noise, seed=0):
    """One level of 12 items in 6 units: the whole model, a group that loses `shift`, and 19 random sets that lose nothing."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=12)
    place = {"k": 4, "op": "mean", "complete": False, "level": "right", "chance": 0.5}
    rows = []
    for group, number, loss in [
        ("none", 0, 0.0),
        ("semantic", 0, shift),
        *(("random_semantic", i, 0.0) for i in range(19)),
    ]:
        for item in range(12):
            value = base[item] - loss + (0 if group == "none" else noise * rng.normal())
            own = {
                "group": group,
                "set": number,
                "unit": f"u{item // 2}",
                "item": item,
                "value": value,
                "heads": "L0H1 L1H2",
            }
            rows.append({**place, **own})
    from mnemoscope.results.schema.relation_cause import RELATION_GROUPS

    return pl.DataFrame(rows).select(list(RELATION_GROUPS.schema)).cast(RELATION_GROUPS.schema)


def test_group_effects_have_their_random_counterparts():
    from mnemoscope.studies.heads.group_inference import group_effects

    found = group_effects(group_rows(0.3, 0.01))
    (beyond,) = found.filter(pl.col("against") == "random heads").iter_rows(named=True)
    assert beyond["estimate"] == pytest.approx(-0.3, abs=0.02)
    assert beyond["low"] < -0.3 < beyond["high"] or abs(beyond["estimate"] + 0.3) < 0.02
    assert beyond["p_sets"] == beyond["smallest_p"] == pytest.approx(1 / 20)
    nothing = group_effects(group_rows(0.0, 0.01))
    assert nothing.filter(pl.col("against") == "nothing")["p_sets"][0] > 0.05


def test_groups_chosen_on_too_few_documents_say_nothing_about_semantic_heads():
    from mnemoscope.studies.heads.group_claims import needed
    from mnemoscope.studies.heads.group_inference import group_effects
    from mnemoscope.studies.heads.relation_claims import PROMOTES

    raw = group_rows(0.0, 0.001).with_columns(value=pl.col("value") + 3.0)  # the whole model does the task
    tables = {"relation_groups": raw, "relation_group_effects": group_effects(raw)}
    enough, few = (needed(tables, n)[0] for n in (PROMOTES.min_units, PROMOTES.min_units - 1))
    assert enough["verdict"] == "contradicted"
    assert few["verdict"] == "not testable"
    assert few["reason"].startswith("the heads were chosen on 4 documents, the rule needs 5")


@pytest.mark.slow
def test_a_treebank_and_stories_run_end_to_end(shared, stories, tmp_path):
    from mnemoscope.runner import run

    options = {"limit": 3, "distinct": 8, "copies": 2, "text_tokens": 32, "threads": 1, "quiet": True}
    bank = shared / "ud" / "ewt" / "en_ewt-ud-dev.conllu"
    result = run("heads", str(stories), out=tmp_path / "ud", data=str(bank), **options)
    assert set(result.tables["relations"]["relation"]) == {"subj", "obj", "mod"}
    assert result.tables["relation_opportunities"]["document"].n_unique() == 3
    (needed,) = result.tables["claims"].filter(pl.col("claim").str.starts_with("C1.7 semantic"))["reason"]
    assert needed.startswith("the heads were chosen on 2 documents")
    assert result.tables["verification"]["ok"].all()
    texts = shared / "corpora" / "tinystories_samples" / "tinystories_10.json"
    plain = run("heads", str(stories), out=tmp_path / "ts", data=str(texts), **options)
    assert plain.tables["relations"].height == 0
    assert plain.tables["heads"].height


def test_without_a_relational_corpus_every_claim_says_so():
    from mnemoscope.studies.heads.relation_claims import claims

    found = claims((), {}, "stories.txt holds no triples")
    assert set(found["verdict"]) == {"not testable"}
    assert [name.split()[0] for name in found["claim"]] == ["C1.1", "C1.2", "C1.3", "C1.4", "C1.7", "C1.8"]
    assert found["reason"].str.contains("holds no triples").all()


def test_reasons_say_what_is_lacking_and_not_what_was_found():
    from mnemoscope.studies.heads.config import Config
    from mnemoscope.studies.heads.group_claims import unable
    from mnemoscope.studies.heads.summarise import _no_relations

    base = group_rows(0.0, 0.0).filter(pl.col("group") == "none")
    assert "above chance -0." in unable(base)
    alone = unable(base.with_columns(unit=pl.lit("u0")))
    assert alone.endswith("above chance fewer than 2 independent units")
    own = Config(data="some/file.jsonl")
    assert _no_relations(own, asked=True).startswith("no triple of file.jsonl can be used")
    assert _no_relations(own, asked=False).startswith("file.jsonl holds no triples")


def test_a_file_without_a_tokenizer_is_refused(tmp_path):
    from mnemoscope.errors import UnsupportedError
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny
    from mnemoscope.studies.heads.config import Config
    from mnemoscope.studies.heads.prompts import plan

    lm = view(tiny("llama"), None, name="t")
    assert plan(Config(limit=2), lm)
    with pytest.raises(UnsupportedError, match="without a tokenizer"):
        plan(Config(limit=2, data=str(tmp_path / "any.txt")), lm)


def test_a_corpus_that_cannot_be_read_is_no_thing_that_was_left_out():
    from mnemoscope.results.schema.relations import RELATION_LEFT_OUT, RELATIONS
    from mnemoscope.studies.heads.relation_headlines import headlines

    rows = [
        {"corpus": "letters", "part": part, "reason": reason, "n": n, "example": ""}
        for part, reason, n in (
            ("corpus", "letter is not one token of its own", 6),
            ("not testable", "too few letters", 1),
        )
    ]
    left = pl.DataFrame(rows, schema=RELATION_LEFT_OUT.schema)
    assert headlines({"relations": RELATIONS.empty(), "relation_left_out": left}) == [
        "letters: not measured: too few letters.",
        "Left out of the relational corpora: 6 things (6 letter is not one token of its own).",
    ]


def test_a_headline_says_when_a_strongest_head_is_no_finding():
    from mnemoscope.studies.heads.summarise import _told_apart

    row = {"score": "prefix_matching", "n_units": 6, "p_maxt": 0.0781}
    assert _told_apart(row) == "p 0.0781 (max-T): not told apart from chance"
    assert _told_apart(row | {"n_units": 1, "p_maxt": float("nan")}) == "too few for an interval or a p"
    assert _told_apart(row | {"p_maxt": 0.0156}) == "p 0.0156 (max-T)"
    assert _told_apart(row | {"n_units": 4, "p_maxt": 0.0625}).endswith(": 4 sequences cannot give less than 0.0625")
    assert "cannot give less than 0.0625" in _told_apart({"score": "ablation_loss", "n_units": 5, "p_maxt": 0.0625})
