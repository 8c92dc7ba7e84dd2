"""Planted curves end to end through `summarise`: onsets, order, coincidence, specificity, persistence. No model in here."""

import numpy as np
import polars as pl
import pytest

from mnemoscope.results.schema.emergence import HEAD_UNITS, LEVEL_UNITS, PASS_UNITS, RELATION_UNITS, TABLES
from mnemoscope.results.schema.shared import TABLES as SHARED
from mnemoscope.results.schema.table import validate
from mnemoscope.studies.emergence.config import Config
from mnemoscope.studies.emergence.summarise import summarise

STEPS = (0, *(2**k for k in range(15)))
HEADS = tuple((layer, head) for layer in range(4) for head in range(4))
UNITS = 12
SEMANTIC, INDUCTION, RECENT = ((1, 2), (3, 0)), ((2, 1), (2, 3)), ((0, 1),)
ONSET = {"loss_reduction": 3, "format": 6, "pattern": 10, "induction": 5, "passing": 10, "recency": 4}


def sigmoid(place, onset, slope=4.0):
    """A curve that passes a quarter of its height at `onset`."""
    return 1 / (1 + np.exp(-slope * (place - onset) - np.log(1 / 3)))


def series(name, seed, *, shift=0, writes=None, copy="trained"):
    """Rows of one training run; `writes`: at which checkpoint what semantic heads write begins to rise (None: it never changes)."""
    rng = np.random.default_rng(seed)
    level, head, relation, passing = [], [], [], []
    for i, step in enumerate(STEPS if copy == "trained" else (-1,)):
        grown = {key: sigmoid(i - shift, at) if copy == "trained" else 0.0 for key, at in ONSET.items()}
        point = {"copy": copy, "series": name, "step": step}
        for unit in range(UNITS):
            drop = 0.4 * grown["loss_reduction"] + rng.normal(0, 0.02)
            for quantity, value, chance in (("loss", 5 - drop, 6.0), ("loss_reduction", -drop, 0.0)):
                level.append({**point, "quantity": quantity, "task": "text", "shots": -1, "unit": f"text:{unit:04d}",
                              "value": value, "chance": chance, "n": 100})  # fmt: skip
            for task in ("a", "b"):
                for shots in (0, 20):
                    learns = {"format": 0.9 * grown["format"], "pattern": 0.25 + 0.6 * grown["pattern"]}
                    for quantity, p in learns.items():
                        chance = 0.25 if quantity == "pattern" else 0.0
                        value = rng.binomial(8, p if shots else chance) / 8
                        level.append({**point, "quantity": quantity, "task": task, "shots": shots, "unit": f"{task}:{unit:04d}",
                                      "value": value, "chance": chance, "n": 8})  # fmt: skip
            for layer, h in HEADS:
                strength = 0.8 * grown["induction"] if (layer, h) in INDUCTION else 0.0
                head.append({**point, "layer": layer, "head": h, "score": "prefix_matching", "unit": f"random:{unit:04d}",
                             "value": 0.02 + strength + rng.normal(0, 0.005), "chance": 0.02, "n": 75})  # fmt: skip
        for unit in range(UNITS):
            for layer, h in HEADS:
                semantic = (layer, h) in SEMANTIC
                recent = 0.3 if (layer, h) in RECENT else 0.0
                passes = 0.02 + (0.5 * grown["passing"] if semantic else 0.0) + recent * grown["recency"]
                rises = 0.4 if writes is None or copy != "trained" else 0.4 * sigmoid(i - shift, writes)
                for gate, rate in (
                    ("argmax", passes),
                    ("tau", passes / 2),
                    ("free", 1.0),
                    ("held", 0.5 if semantic else 0.02),
                ):
                    if gate in ("argmax", "tau"):
                        passing.append({**point, "corpus": "letters", "relation": "all", "layer": layer, "head": h, "slice": gate,
                                        "unit": f"doc:{unit:02d}", "n": 10, "pass_rate": rate + rng.normal(0, 0.002),
                                        "null_pass_rate": 0.02 + recent * grown["recency"]})  # fmt: skip
                    for variant in ("lit", "src", "ctx_src", "out"):
                        null = 0.1 + rng.normal(0, 0.01)
                        index = (
                            null + (rises if semantic and variant in ("ctx_src", "out") else 0.0) + rng.normal(0, 0.02)
                        )
                        relation.append({**point, "corpus": "letters", "relation": "all", "layer": layer, "head": h, "slice": gate,
                                         "variant": variant, "unit": f"doc:{unit:02d}", "n": 10,
                                         "index": index, "null": null, "percentile": 0.5, "per_opportunity": rate * index,
                                         "null_per_opportunity": rate * null})  # fmt: skip
    return {
        "level_units": pl.DataFrame(level, schema=LEVEL_UNITS.schema),
        "head_units": pl.DataFrame(head, schema=HEAD_UNITS.schema),
        "relation_units": pl.DataFrame(relation, schema=RELATION_UNITS.schema),
        "pass_units": pl.DataFrame(passing, schema=PASS_UNITS.schema),
    }


def together(*parts):
    return {name: pl.concat([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def one():
    raw = together(series("run", 0), series("run", 1, copy="reinitialised"))
    return raw, summarise(raw, Config())


def place(found, quantity, scope):
    rows = found["onsets"].filter((pl.col("quantity") == quantity) & (pl.col("scope") == scope))
    return rows.row(0, named=True)


def test_every_table_is_as_declared(one):
    raw, found = one
    declared = {**SHARED, **TABLES}
    for name, frame in {**raw, **found}.items():
        validate(name, declared[name], frame)


def test_planted_onsets_are_found(one):
    _, found = one
    for quantity, scope, truth in (
        ("loss_reduction", "text", ONSET["loss_reduction"]),
        ("format", "all tasks/20", ONSET["format"]),
        ("pattern", "all tasks/20", ONSET["pattern"]),
        ("prefix_matching", "random/followed heads", ONSET["induction"]),
        ("excess_pass_rate:argmax", "letters/followed heads", ONSET["passing"]),
        ("excess_per_opportunity:ctx_src:argmax", "letters/followed heads", ONSET["passing"]),
    ):
        row = place(found, quantity, scope)
        assert abs(row["place"] - truth) <= 1, (quantity, row)
        assert row["low"] <= STEPS[truth] <= row["high"]
    flat = place(found, "excess:ctx_src:held", "letters/followed heads")
    assert flat["censored"] == "already there"


def test_the_levels_appear_in_order_and_one_run_settles_no_coincidence(one):
    _, found = one
    verdicts = {row["claim"]: row for row in found["claims"].iter_rows(named=True)}
    order = verdicts["C1.5 levels appear in the order loss, format, pattern"]
    coincide = verdicts["C1.6 semantic heads form when pattern discovery appears"]
    rises = verdicts["C1.6 what semantic heads write rises with pattern discovery"]
    lasts = verdicts["C1.6 the heads of the onset are the heads of the end"]
    assert order["verdict"] == "supported"
    assert coincide["verdict"] == "undetermined"
    assert "one run" in coincide["reason"]
    assert rises["verdict"] == "contradicted"  # they write the same all along
    assert lasts["verdict"] in ("supported", "undetermined")
    assert found["headlines"].height >= 6


def test_followed_heads_are_the_planted_ones_chosen_on_other_documents(one):
    raw, found = one
    rows = found["followed"]
    for score, truth in (("ctx_src", SEMANTIC), ("prefix_matching", INDUCTION)):
        mine = rows.filter(pl.col("score") == score).select("layer", "head")
        assert set(mine.iter_rows()) == set(truth)
    curve = found["curves"].filter(
        (pl.col("quantity") == "excess:ctx_src:argmax") & (pl.col("scope") == "letters/followed heads")
    )
    assert set(curve.filter(pl.col("copy") == "trained")["n_units"]) == {UNITS // 2}  # the other half chose them
    expected = (
        raw["relation_units"]
        .filter(
            (pl.col("copy") == "trained")
            & (pl.col("slice") == "argmax")
            & (pl.col("variant") == "ctx_src")
            & (pl.col("step") == STEPS[-1])
            & pl.struct("layer", "head").is_in([{"layer": a, "head": b} for a, b in SEMANTIC])
            & (pl.col("unit").str.slice(-1).cast(pl.Int64) % 2 == 1)
        )
        .select((pl.col("index") - pl.col("null")).mean())
        .item()
    )
    shares = found["curves"].filter(
        (pl.col("quantity") == "index:ctx_src:argmax") & (pl.col("scope") == "letters/followed heads")
    )
    both = curve.join(shares, on=["copy", "series", "step"], suffix="_index")
    assert np.allclose(
        both["estimate_index"] - both["chance_index"], both["estimate"]
    )  # the null of the same heads and units
    last = curve.filter((pl.col("step") == STEPS[-1]) & (pl.col("copy") == "trained"))
    assert last["estimate"].item() == pytest.approx(expected)


def test_specificity_counts_all_heads(one):
    _, found = one
    rows = found["specificity"].filter(pl.col("level") == "pattern")
    share = {row["score"]: row["estimate"] for row in rows.iter_rows(named=True)}
    assert share["excess_per_opportunity:ctx_src"] == pytest.approx(len(SEMANTIC) / len(HEADS))
    assert share["prefix_matching"] == 0
    assert 0 < share["all scores"] < share["excess_per_opportunity:ctx_src"]
    onsets = found["head_onsets"].filter(pl.col("score") == "prefix_matching")
    assert set(onsets.filter(pl.col("place") >= 0).select("layer", "head").iter_rows()) == set(INDUCTION)


def test_attending_by_distance_has_no_onset(one):
    _, found = one
    onsets = found["head_onsets"].filter((pl.col("score") == "excess_pass_rate:argmax") & (pl.col("place") >= 0))
    assert set(onsets.select("layer", "head").iter_rows()) == set(SEMANTIC)
    drawn = found["curves"].filter(
        (pl.col("quantity") == "pass_rate:argmax") & pl.col("scope").str.ends_with("all heads")
    )
    above = found["curves"].filter(
        (pl.col("quantity") == "excess_pass_rate:argmax") & pl.col("scope").str.ends_with("all heads")
    )
    assert np.allclose(drawn["estimate"] - drawn["chance"], above["estimate"])
    assert drawn.filter(pl.col("step") == STEPS[-1])["chance"].item() > 0.03  # the recent head's own distances


def test_maps_are_compared_on_different_documents(one):
    _, found = one
    rows = found["persistence"].filter(pl.col("score") == "excess_per_opportunity:ctx_src")
    kept = {(row["first"], row["second"]): row["kept"] for row in rows.iter_rows(named=True)}
    last = STEPS[-1]
    assert kept[last, last] == 1.0
    assert kept[STEPS[12], last] == 1.0
    assert kept[STEPS[12], last] == kept[last, STEPS[12]]
    assert len(kept) == len(STEPS) ** 2


def test_three_runs_settle_a_coincidence_and_a_late_one_contradicts_it():
    parts = [series(f"seed{i}", i, writes=ONSET["passing"], shift=shift) for i, shift in enumerate((0, 1, -1))]
    found = summarise(together(*parts), Config())
    verdicts = dict(found["claims"].select("claim", "verdict").iter_rows())
    assert verdicts["C1.6 semantic heads form when pattern discovery appears"] == "supported"
    assert verdicts["C1.6 what semantic heads write rises with pattern discovery"] == "supported"
    assert verdicts["C1.5 levels appear in the order loss, format, pattern"] == "supported"
    assert found["onsets"]["series"].n_unique() == 3


def test_few_checkpoints_and_missing_measures_are_said():
    raw = series("run", 0)
    short = {name: frame.filter(pl.col("step") <= 1) for name, frame in raw.items()}
    found = summarise(short, Config())
    assert set(found["claims"]["verdict"]) == {"not testable"}
    assert "2 checkpoints" in found["claims"]["reason"][0]
    few = {
        name: frame.filter(pl.col("unit").str.slice(-2).cast(pl.Int64) < 4) if name != "level_units" else frame
        for name, frame in raw.items()
    }
    text = " ".join(summarise(few, Config())["headlines"]["text"])
    assert "16 checkpoints" in text
    assert "pattern discovery appears at step" in text
    assert "prefix matching: too few sequences that did not choose the heads (2, 3 needed; raise the limit)" in text
    assert "checkpoints with every measure" not in text
    without = {**raw, **{name: raw[name].clear() for name in ("relation_units", "pass_units")}}
    verdicts = dict(summarise(without, Config())["claims"].select("claim", "verdict").iter_rows())
    assert verdicts["C1.5 levels appear in the order loss, format, pattern"] == "supported"
    assert verdicts["C1.6 semantic heads form when pattern discovery appears"] == "not testable"


def test_the_page_shows_what_the_tables_hold(one):
    from mnemoscope.report.emergence import section
    from mnemoscope.report.section import Figure

    _, found = one
    shown = section(found)
    figures = {block.id: block for block in shown.blocks if isinstance(block, Figure)}
    assert set(figures) == {"levels", "losses", "relations", "induction", "onsets", "windows", "persistence"}
    for figure in figures.values():
        assert figure.chart["$schema"].endswith(".json")  # altair has checked it against the schema
        assert figure.data.height
    drawn = figures["levels"].data
    kept = drawn.filter((pl.col("task") == "all tasks") & (pl.col("quantity") == "pattern"))
    assert set(kept["onset"]) == {place(found, "pattern", "all tasks/20")["estimate"]}
    assert (kept["control"] < 0.4).all()
    assert section({}).blocks  # nothing measured: it says so
