"""C2.7 through the whole study, where the truth is planted: facts lose in the last layer what equally sure words keep, or not."""

import json
from dataclasses import asdict

import polars as pl
import pytest

SIZES = {"topics": 12, "relations": 2, "templates": 3, "distractors": 3}


def studied(folder, **sizes):
    """The planted model and its finished run."""
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.runner import run

    made = planted("recall", noise=0.0, **SIZES, **sizes)
    path = folder / "facts.jsonl"
    path.write_text("\n".join(json.dumps(asdict(p)) for p in made.prompts) + "\n")
    lm = view(made.model, made.tokenizer, name="planted")
    return made, run("recall", lm, out=folder / "run", quiet=True, threads=1, data=str(path), templates=1)


def sides(done):
    """Side -> mean drop (logits) on prompts whose answer stood on top before the last layer; and the row of C2.7."""
    rows = done.tables["last_layer"].filter(
        (pl.col("copy") == "trained") & (pl.col("condition") == "top_before") & (pl.col("quantity") == "drop")
    )
    claim = done.tables["claims"].filter(pl.col("claim").str.starts_with("C2.7")).row(0, named=True)
    return dict(rows.select("side", "estimate").iter_rows()), claim


@pytest.mark.slow
def test_facts_that_lose_more_than_plain_text_support_the_claim(tmp_path):
    made, done = studied(tmp_path)
    found, claim = sides(done)
    said = made.truth.facts["suppression"]["centred_logits"]
    assert claim["verdict"] == "supported"
    assert claim["n_units"] == SIZES["topics"]
    assert found["facts"] == pytest.approx(said, rel=0.05)
    assert found["neutral"] == pytest.approx(0, abs=0.01)
    assert found["difference"] == pytest.approx(claim["estimate"])


@pytest.mark.slow
def test_a_last_layer_that_takes_from_everything_sure_contradicts_it(tmp_path):
    """The twin: the same drop on facts, and none of it is theirs."""
    made, done = studied(tmp_path, alike=True)
    found, claim = sides(done)
    said = made.truth.facts["suppression"]["centred_logits"]
    assert claim["verdict"] == "contradicted"
    assert found["facts"] == pytest.approx(said, rel=0.05)
    assert found["neutral"] == pytest.approx(said, rel=0.05)
