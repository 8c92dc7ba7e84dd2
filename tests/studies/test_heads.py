"""The heads study where the truth is known: a planted induction head is found, and found to matter."""

import numpy as np
import polars as pl
import pytest


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def run(request, tmp_path_factory):
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.runner import run

    made = planted("induction", family=request.param, noise=0.0)
    lm = view(made.model, made.tokenizer, name=f"planted-{request.param}")
    out = tmp_path_factory.mktemp("run") / "heads"
    brief = {
        "redraws": 1,
        "group_tasks": ("binary_fruit_month",),
        "group_sets": 1,
        "group_texts": 1,
    }  # not looked at here
    result = run("heads", lm, out=out, quiet=True, limit=6, distinct=10, copies=3, text_tokens=16, threads=1, **brief)
    return made, result


def truth(made, kind):
    return {(head["layer"], head["head"]) for head in made.truth.to_json()["heads"] if head["kind"] == kind}


def scores(run, score):
    rows = run.tables["heads"].filter(
        (pl.col("score") == score) & (pl.col("corpus") == "random") & (pl.col("copy") == "trained")
    )
    return {(row["layer"], row["head"]): row for row in rows.iter_rows(named=True)}


def test_the_planted_heads_are_found_and_their_decoys_are_not(run):
    made, result = run
    (induction,) = truth(made, "induction")
    (previous,) = truth(made, "previous_token")
    matching, copying = scores(result, "prefix_matching"), scores(result, "copying_contextual")
    assert matching[induction]["estimate"] > 0.8 > matching[induction]["chance"]
    assert matching[induction]["low"] > 0.5  # a perfect score has an interval too
    assert copying[induction]["estimate"] > 0.8
    for place in truth(made, "matches_never_copies"):
        assert not copying[place]["estimate"] > 0.5
    for place in truth(made, "copies_never_matches"):
        assert matching[place]["estimate"] < 0.1
    before = scores(result, "previous_token")
    assert max(before, key=lambda place: before[place]["estimate"]) == previous


def test_the_cause_stands_beside_the_score(run):
    made, result = run
    (induction,) = truth(made, "induction")
    effect = {place: row["estimate"] for place, row in scores(result, "ablation_loss").items()}
    assert effect[induction] > 1.0
    for place in truth(made, "matches_never_copies") | truth(made, "idle"):
        assert abs(effect[place]) < 0.1  # what only looks is not missed
    assert result.tables["verification"]["ok"].all()


def test_claims_follow_their_rules(run):
    _, result = run
    claims = result.tables["claims"].filter(pl.col("claim").str.starts_with("H"))  # the others: test_heads_relations.py
    assert claims["verdict"].to_list() == ["supported", "supported"]
    assert (claims["n_units"] >= 3).all()


def test_estimates_are_means_over_sequences(run):
    _, result = run
    raw = result.tables["head_sequences"].filter((pl.col("score") == "duplicate_token") & (pl.col("copy") == "trained"))
    mean = raw.group_by("corpus", "layer", "head").agg(pl.col("value").mean())
    joined = (
        result.tables["heads"]
        .join(mean, on=["corpus", "layer", "head"])
        .filter((pl.col("score") == "duplicate_token") & (pl.col("copy") == "trained"))
    )
    assert joined.height > 0
    assert np.allclose(joined["estimate"].to_numpy(), joined["value"].to_numpy(), equal_nan=True)


def test_own_texts_and_texts_that_are_too_short(tmp_path):
    from mnemoscope.errors import DataError
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.heads.config import Config
    from mnemoscope.studies.heads.prompts import plan, sequences

    made = planted("induction", noise=0.0)
    lm = view(made.model, made.tokenizer)
    words = made.prompts[0].text.split()[:12]
    texts = tmp_path / "texts.jsonl"
    texts.write_text(3 * f'{{"text": "{" ".join(words)}"}}\n')
    config = Config(limit=3, text_tokens=8, data=str(texts))
    assert sequences(lm, config, "text", 0, 3).shape == (3, 8)
    with pytest.raises(DataError, match="0 usable sequences"):
        sequences(lm, Config(limit=3, text_tokens=100, data=str(texts)), "text", 0, 3)
    with pytest.raises(DataError, match="0 usable sequences"):
        plan(Config(limit=3, text_tokens=100, data=str(texts)), lm)  # before anything is run
    a, b = words[1], words[2]
    texts.write_text(f'{{"text": "{a} {b}", "triples": [["{a}", "r", "{b}"]]}}\n')
    jobs = plan(Config(limit=3, text_tokens=100, data=str(texts)), lm)
    assert {job.args["corpus"] for job in jobs if job.args["kind"] == "scores"} == {"random"}
    assert any(job.args["kind"] == "relations" for job in jobs)
