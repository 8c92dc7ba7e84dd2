"""The blocks about MLPs, exchanges, the last layer and remedies show what the tables say."""

import math

import polars as pl


def row(table, **given):
    """A row of a table: given values, and something valid elsewhere."""
    plain = {pl.String: "", pl.Float64: 0.5, pl.Int64: 3, pl.Boolean: False}
    return {name: given.get(name, plain[dtype]) for name, dtype in table.schema.items()}


def tables():
    from mnemoscope.results.schema import recall
    from mnemoscope.results.schema import recall_application as application
    from mnemoscope.results.schema import recall_last as last
    from mnemoscope.results.schema import recall_mlp as mlp

    same = {"copy": "trained", "layer": 1, "low": 0.4, "high": 0.6}
    here = {"scope": "pooled", "space": "answers"}
    rows = {
        "mlp_weights": [
            row(mlp.MLP_WEIGHTS, **same, **here, part="L0H1", mover=True, ols=7.5, ols_low=-300.0, ols_high=300.0),
            row(mlp.MLP_WEIGHTS, **same, **here, part="remainder", estimate=math.nan),
        ],
        "mlp_fits": [
            row(mlp.MLP_FITS, **same, **here, split=split, model=model)
            for split, model in (
                ("topics", "ols"),
                ("topics", "low_rank"),
                ("topics", "jacobian"),
                ("templates", "ols"),
            )
        ],
        "mlp_intercepts": [row(mlp.MLP_INTERCEPTS, **same, intercept="gain", quantity="margin")],
        "mlp_replacements": [row(mlp.MLP_REPLACEMENTS, **same, replacement="fit", quantity="answer")],
        "application": [
            row(application.APPLICATION, **same, facts="all", exchange="movers", quantity=quantity)
            for quantity in ("flips_answers", "of_difference")
        ],
        "answer_terms": [
            row(application.ANSWER_TERMS, **same, run="plain", term=term) for term in ("attn", "mlp", "place")
        ],
        "last_layer": [row(last.LAST_LAYER, **same, condition="all", quantity="drop", side="facts")],
        "last_layer_components": [row(last.LAST_LAYER_COMPONENTS, **same, part="L3.mlp")],
        "mitigation": [row(last.MITIGATION, remedy="skip", score=score) for score in ("nll", "neutral_plain")],
        "calibration_curves": [row(last.CALIBRATION_CURVES, remedy="skip", bin=0)],
    }
    declared = recall.TABLES
    return {name: pl.DataFrame(found, schema=declared[name].schema) for name, found in rows.items()}


def test_blocks_follow_the_tables():
    from mnemoscope.report.recall_mlp import blocks

    found = {block.id: block for block in blocks(tables())}
    assert list(found) == [
        "mlp-weights",
        "mlp-fits",
        "mlp-replacements",
        "application",
        "fractions",
        "answer-terms",
        "last-layer",
        "last-layer-parts",
        "remedies",
        "calibration",
    ]
    weights = found["mlp-weights"].data
    by_name = {r["weight"]: r for r in weights.filter(pl.col("part") == "L0H1").iter_rows(named=True)}
    assert by_name["causal weight"]["estimate"] == 0.5
    assert by_name["least squares"]["estimate"] is None  # 7.5 is beyond what is drawn
    assert (by_name["least squares"]["low"], by_name["least squares"]["high"]) == (-2.0, 2.0)
    assert set(by_name["causal weight"]["head"].split()) == {"L0H1", "(mover)"}
    assert found["mlp-fits"].data.columns == [
        "layer",
        "ols",
        "templates",
        "low_rank",
        "rank",
        "jacobian",
        "condition",
        "gain",
        "gain_low",
        "gain_high",
    ]
    assert blocks({}) == ()
