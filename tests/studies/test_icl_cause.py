"""The causal part of the icl study: planted effects come back from its tables, and planted heads from its interventions."""

import math

import numpy as np
import polars as pl
import pytest

ITEMS = 24


def keys(i):
    return {"copy": "trained", "task": "t", "item": f"i{i}", "unit": f"i{i}", "draw": 0}


def transplant_tables(rng, *, gain, same, neutral, layers=6):
    """Runs whose gain is `gain`, of which sources bring a share behind block 2 and later, with noise per item."""
    from mnemoscope.results.schema.icl_cause import CONTEXT_RUNS, PLACES, TRANSPLANTS

    runs, patched = [], []
    for i in range(ITEMS):
        before = rng.normal()
        own = gain + rng.normal(scale=0.3)
        values = {"before": before, "same item": before + own, "shuffled answers": before, "neutral prefix": before}
        more = {"shared": 3, "padded": False}
        runs += [{**keys(i), "run": r, "logprob": v, "margin": math.nan, **more} for r, v in values.items()]
        for source, share in {"same item": same, "neutral prefix": neutral, "shuffled answers": 0.0}.items():
            for place in PLACES:
                for layer in range(layers):
                    value = before + (share * own if layer >= 2 else 0) + rng.normal(scale=0.05)
                    row = {"source": source, "place": place, "layer": layer, "logprob": value, "margin": math.nan}
                    patched.append({**keys(i), **row})
    return {
        "icl_context_runs": pl.DataFrame(runs, schema=CONTEXT_RUNS.schema),
        "icl_transplants": pl.DataFrame(patched, schema=TRANSPLANTS.schema),
    }


def recovered(**planted):
    from mnemoscope.results.schema.icl_cause import RECOVERY
    from mnemoscope.results.schema.table import validate
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.recovery_summary import recovery, recovery_claims

    tables = transplant_tables(np.random.default_rng(0), **planted)
    found = validate("icl_recovery", RECOVERY, recovery(tables, Config()))
    claims = recovery_claims({**tables, "icl_recovery": found}, {"t": ""})
    return found, {one.name[:5]: one for one in claims}


def test_a_planted_recovery_comes_back_above_the_neutral_prefix():
    found, claims = recovered(gain=2.0, same=0.8, neutral=0.1)
    assert [one.judged.verdict for one in claims.values()] == ["supported", "supported"]
    over = found.filter((pl.col("layer") == -1) & (pl.col("source") == "same item"))
    assert over["estimate"].to_list() == pytest.approx([0.7, 0.7], abs=0.03)
    assert over["recovery"].to_list() == pytest.approx([0.8, 0.8], abs=0.03)
    early = found.filter((pl.col("layer") == 0) & (pl.col("source") == "same item"))
    assert early["estimate"].abs().max() < 0.03
    last = found.filter(pl.col("ceiling"))
    assert set(last["layer"]) == {5}
    assert last["p_maxt"].is_nan().all()  # a ceiling is not tested
    late = found.filter((pl.col("layer") == 3) & (pl.col("source") == "same item"))
    assert late["p_maxt"].max() < 0.05


def test_without_a_gain_there_is_nothing_to_recover():
    found, claims = recovered(gain=0.0, same=0.8, neutral=0.1)
    assert found["estimate"].is_nan().all()
    assert {one.judged.verdict for one in claims.values()} == {"not testable"}
    assert all("examples gain nothing" in one.text for one in claims.values())


def test_neutral_text_that_does_harm_is_no_recovery():
    """The item's own state brings nothing, the neutral one takes away half the gain: the difference alone would be .5."""
    found, claims = recovered(gain=2.0, same=0.0, neutral=-0.5)
    over = found.filter((pl.col("layer") == -1) & (pl.col("source") == "same item"))
    assert over["estimate"].to_list() == pytest.approx([0.5, 0.5], abs=0.05)
    assert {one.judged.verdict for one in claims.values()} == {"contradicted"}


def test_the_upper_half_is_without_the_last():
    from mnemoscope.studies.icl.recovery_summary import inner

    assert [list(inner(n)) for n in (1, 2, 4, 5, 8)] == [[], [0], [1, 2], [2, 3], [3, 4, 5, 6]]


def ablation_tables(rng, *, chosen, random, n_sets):
    from mnemoscope.results.schema.icl_cause import ABLATIONS, HEAD_GAINS

    rows = []
    for i in range(ITEMS):
        for number in range(n_sets + 1):
            mean = chosen if number == 0 else random + rng.normal(scale=0.05)
            more = {"run": "after", "set": number, "heads": f"L1H{number}", "op": "mean", "judging": i % 2 == 1}
            value = mean + rng.normal(scale=0.1)
            rows.append({**keys(i), **more, "complete": True, "logprob": value, "margin": value})
    head = {"copy": "trained", "task": "t", "layer": 1, "head": 0, "choosing": 1.0, "judging": 1.0, "chosen": True}
    return {
        "icl_ablations": pl.DataFrame(rows, schema=ABLATIONS.schema),
        "icl_head_gains": pl.DataFrame([{**head, "logprob": chosen, "margin": chosen}], schema=HEAD_GAINS.schema),
    }


@pytest.mark.parametrize(
    ("chosen", "random", "n_sets", "word"),
    [
        (-1.0, 0.0, 40, "supported"),
        (-1.0, -1.0, 40, "contradicted"),  # needed, but no more than any other heads
        (-1.0, 0.0, 7, "not testable"),  # too few sets for any p below .05: said so
        (-1.0, -1.0, 7, "not testable"),  # whichever way the interval lies
    ],
)
def test_ablations_are_judged_against_random_sets(chosen, random, n_sets, word):
    from mnemoscope.studies.icl.ablation_summary import ablation, ablation_claims

    tables = ablation_tables(np.random.default_rng(0), chosen=chosen, random=random, n_sets=n_sets)
    found = ablation(tables)
    (claim,) = ablation_claims({**tables, **found}, {"t": ""})
    assert claim.judged.verdict == word
    if n_sets == 7:
        assert claim.judged.reason.endswith("the smallest possible 0.125")
    row = found["icl_ablation"].filter((pl.col("against") == "random heads") & (pl.col("measure") == "margin"))
    assert row["estimate"][0] == pytest.approx(chosen - random, abs=0.1)
    assert row["smallest_p"][0] == pytest.approx(1 / (n_sets + 1))
    assert row["n"][0] == ITEMS // 2  # the judging half
    (blocked,) = ablation_claims({**tables, **found}, {"t": "no gain in context"})
    assert (blocked.judged.verdict, blocked.judged.reason) == ("not testable", "no gain in context")


def test_ranks_of_rise_and_loss_within_layers():
    from mnemoscope.studies.icl.ablation_summary import gain_and_loss

    layers = np.repeat(np.arange(3), 6)
    rise = np.tile(np.arange(6.0), 3) + 100 * layers
    assert gain_and_loss(rise, rise - 200 * layers, layers)[0] == pytest.approx(1)  # layers' levels do not count
    r, p = gain_and_loss(rise, -rise, layers)
    assert r == pytest.approx(-1)
    assert p > 0.9
    assert math.isnan(gain_and_loss(rise, np.ones(18), layers)[0])


def test_dose_slopes_are_those_planted_and_the_layer_is_chosen_elsewhere():
    from mnemoscope.results.schema.icl_cause import SHARPENING
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.dose_summary import dose_claims, doses

    rng, rows = np.random.default_rng(0), []
    slope = {(1, "relevant"): 0.4, (1, "distractor"): -0.1}
    for i in range(ITEMS):
        for layer in range(3):
            for sentence in ("relevant", "distractor"):
                for g in (0.25, 0.5, 2.0, 4.0):
                    value = slope.get((layer, sentence), 0.0) * math.log2(g) + rng.normal(scale=0.1)
                    more = {"run": "after", "layer": layer, "heads": "all", "sentence": sentence, "g": g}
                    rows.append({**keys(i), **more, "attention": 0.2, "logprob": value, "margin": value})
    tables = {"icl_sharpening": pl.DataFrame(rows, schema=SHARPENING.schema)}
    found = doses(tables, Config())
    own = found["icl_dose_slopes"].filter((pl.col("sentence") == "difference") & (pl.col("measure") == "margin"))
    assert own.sort("layer")["estimate"].to_list() == pytest.approx([0, 0.5, 0], abs=0.04)
    after, before = dose_claims({**tables, **found}, {"t": ""}, Config())
    assert after.judged.verdict == "supported"
    assert after.found.n == ITEMS // 2
    assert "(layer 1)" in after.text
    assert before.judged.verdict == "not testable"  # that run was not measured


def test_a_gain_without_an_interval_is_told_by_its_reason():
    from mnemoscope.studies.icl.cause_summary import no_gain
    from mnemoscope.studies.icl.design import Design
    from mnemoscope.studies.icl.frames import Task

    design = Design(task="t", before="none", after="example", conditions=("none", "example"), contrasts=())
    task = Task(name="t", design=design, keys=pl.DataFrame(), asked={}, answers=pl.DataFrame())
    place = {"copy": "trained", "task": "t", "measure": "logprob", "condition": "example", "versus": "none"}
    for low, reason, said in ((0.1, "", ""), (-0.1, "", "0.5 [-0.1, 0.9] nats"), (math.nan, "one item", "one item")):
        numbers = {"estimate": 0.5, "low": low, "high": 0.9, "reason": reason}
        assert no_gain({"icl_behaviour": pl.DataFrame([{**place, **numbers}])}, task).endswith(said)
        assert bool(said) == bool(no_gain({"icl_behaviour": pl.DataFrame([{**place, **numbers}])}, task))


def test_links_need_more_than_two_things_that_both_rise():
    """x and y both rise by 1 with examples and are otherwise independent; then y follows x item by item."""
    from mnemoscope.studies.icl.link_summary import slopes

    rng = np.random.default_rng(0)
    units = np.tile(np.array([f"i{i}" for i in range(40)]), 2)
    rise = np.repeat([0.0, 1.0], 40)
    x, y = rise + 0.3 * rng.normal(size=80), 2 * rise + 0.3 * rng.normal(size=80)
    loose, raw = slopes(x, y, units, rng=rng, centred=False)
    strict, _ = slopes(x, y, units, rng=rng, centred=True)
    assert loose.low > 0.5
    assert raw == pytest.approx(1.7, abs=0.3)
    assert strict.low < 0.1 < 0.3 < loose.estimate
    linked, raw = slopes(x, y + 3 * (x - rise), units, rng=rng, centred=True)
    assert linked.low > 0.5
    assert raw == pytest.approx(3, abs=0.5)
    missing = x.copy()
    missing[:36] = np.nan
    assert slopes(missing, y, units, rng=rng, centred=True)[0].n == 8  # both rows of a prompt go


def test_right_or_wrong_is_predicted_within_strata_only():
    from mnemoscope.studies.icl.link_summary import correlated

    rng = np.random.default_rng(0)
    strata, clusters = np.repeat(["a", "b"], 60), np.tile(np.arange(60), 2)
    level = np.repeat([0.0, 3.0], 60)
    x, y = level + rng.normal(size=120), (level + rng.normal(size=120) > 1.5).astype(float)
    none, _ = correlated(x, y, strata, clusters, rng=rng)
    assert none.low < 0 < none.high
    some, _ = correlated(x, (x - level > 0).astype(float), strata, clusters, rng=rng)
    assert some.low > 0.6
    flat, _ = correlated(x, np.ones(120), strata, clusters, rng=rng)
    assert math.isnan(flat.estimate)
    assert "all right or all wrong" in flat.reason


@pytest.fixture(scope="module")
def asked():
    """The planted induction head answers `A B x C D x A`, and has nothing to look at in `A B x C D x E`."""
    from mnemoscope.data.prompt import Prompt, joined
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.icl.cause_items import Item
    from mnemoscope.studies.icl.design import Design

    made = planted("induction", noise=0.0, n_heads=4, distractors=0)
    lm = view(made.model, made.tokenizer, name="planted")
    w = list(made.truth.facts["words"])
    items = []
    for i in range(8):
        a, b, c, d, e, x = (w[(5 * i + k) % 40] for k in range(6))
        under = {}
        for condition, last in (("none", e), ("example", a)):
            first, second = ("informative", f"{a} {b}"), ("distractor", f"{c} {d}")
            body = (first, " ", second) if i // 2 % 2 else (second, " ", first)
            under[condition] = joined(
                [f"{x} ", *body, " ", ("last", last)], answer=f" {b}", foils=(f" {d}",), labels={}
            )
            assert isinstance(under[condition], Prompt)
        items.append(Item(key={"item": str(i), "unit": str(i), "draw": 0}, under=under))
    design = Design(task="t", before="none", after="example", conditions=("none", "example"), contrasts=())
    heads = {h["kind"]: (h["layer"], h["head"]) for h in made.truth.to_json()["heads"]}
    return lm, design, tuple(items), heads


@pytest.fixture(scope="module")
def moved(asked):
    """Items whose runs end in the same two or three tokens, with the pair in front or not."""
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.reference import planted
    from mnemoscope.studies.icl.cause_items import Item

    lm, design, _, _ = asked
    w = list(planted("induction", noise=0.0, n_heads=4, distractors=0).truth.facts["words"])
    items = []
    for i in range(8):
        a, b, c, x, y = (w[(5 * i + k) % 40] for k in range(5))
        end = f"{x} {y} {a}" if i % 3 else f"{x} {a}"
        texts = {"none": end, "example": f"{a} {b} {end}"}
        under = {name: Prompt(text=text, answer=f" {b}", foils=(f" {c}",), labels={}) for name, text in texts.items()}
        items.append(Item(key={"item": str(i), "unit": str(i // 2), "draw": 0}, under=under))
    return lm, design, tuple(items)


def of_items(kind, first, last):
    from mnemoscope.results.job import Job

    cut = {"first": first, "last": last}
    return Job(id=f"{kind}-{first}", args={"kind": kind, "copy": "trained", "task": "t", "preset": "", **cut})


def close(one, other, key):
    """The same rows, numbers up to rounding."""
    one, other = one.sort(key), other.sort(key)
    floats = [name for name, kind in one.schema.items() if kind == pl.Float64]
    assert one.drop(floats).equals(other.drop(floats))
    for name in floats:
        np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["transplant", "ablation", "sharpening"])
def test_items_cut_into_jobs_are_changed_as_in_one(asked, moved, kind):
    """Heads, sets and means are those of all items, partners and neighbours go round over all, whatever a job takes."""
    from mnemoscope.results.schema.icl_cause import TABLES
    from mnemoscope.studies.icl import cause
    from mnemoscope.studies.icl.config import Config

    lm, design, items = moved if kind == "transplant" else asked[:3]
    whole = cause.WORK[kind](of_items(kind, 0, 8), Config(), lm, design, items)
    cuts = [(0, 3), (3, 4), (4, 8)]
    parts = [cause.WORK[kind](of_items(kind, *cut), Config(), lm, design, items) for cut in cuts]
    for name in set(whole) - {"verification"}:
        frames = [part[name] for part in parts if name in part]
        assert len(frames) == (1 if name == "icl_head_rises" else 3)
        assert whole[name].height > 0
        close(pl.concat(frames), whole[name], TABLES[name].key)


def test_a_job_none_of_whose_items_can_be_transplanted_is_empty(moved, monkeypatch):
    from mnemoscope.measures import transplant_runs
    from mnemoscope.studies.icl import cause
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.recovery_summary import recovery, recovery_claims

    lm, design, items = moved
    real = transplant_runs._fitting
    monkeypatch.setattr(transplant_runs, "_fitting", lambda *given: [i for i in real(*given) if i > 3])
    tables = cause.WORK["transplant"](of_items("transplant", 0, 4), Config(), lm, design, items)
    assert [(name, frame.height) for name, frame in tables.items()] == [("icl_context_runs", 0), ("icl_transplants", 0)]
    tables = cause.WORK["transplant"](of_items("transplant", 0, 5), Config(), lm, design, items)
    assert set(tables["icl_transplants"]["item"]) == {"4"}
    monkeypatch.setattr(transplant_runs, "_fitting", lambda *_: [])
    tables = cause.WORK["transplant"](of_items("transplant", 0, 8), Config(), lm, design, items)
    found = {**tables, "icl_recovery": recovery(tables, Config())}
    claims = recovery_claims(found, {"t": ""})
    assert [(one.name[:5], one.judged.verdict) for one in claims] == [
        ("C3.8a", "not testable"),
        ("C3.8b", "not testable"),
    ]
    assert all(one.judged.reason.startswith("no item's runs fit into the context") for one in claims)


def test_distractors_go_round_over_all_items(asked):
    """Of three sentences the next for even items, the one after for odd ones: counted over the task, not over a job."""
    import torch

    from mnemoscope.data.prompt import joined
    from mnemoscope.studies.icl.cause_heads import asked_run
    from mnemoscope.studies.icl.cause_selection import forced_run

    lm, _, items, _ = asked
    w = [prompt.answer.strip() for item in items for prompt in item.under.values()]
    body = (
        ("informative", f"{w[0]} {w[2]}"),
        " ",
        ("distractor", f"{w[4]} {w[6]}"),
        " ",
        ("distractor", f"{w[8]} {w[10]}"),
    )
    same = [joined([*body, " ", ("last", w[0])], answer=f" {w[2]}", foils=(f" {w[6]}",), labels={})] * 5
    whole = asked_run(lm, same, 0)
    assert not torch.equal(whole.distractor[0], whole.distractor[1])
    assert torch.equal(whole.distractor[0], whole.distractor[2])
    for first in (1, 2):
        own = asked_run(lm, same[first:], first)
        assert torch.equal(own.distractor, whole.distractor[first:])
        assert torch.equal(own.relevant, whole.relevant[first:])
    assert torch.equal(forced_run(lm, same)[1].batch.ids, whole.forced.batch.ids)


def test_what_a_head_alone_brings_is_the_mean_over_items():
    from mnemoscope.results.schema.icl_cause import HEAD_CHANGES, HEAD_GAINS, HEAD_RISES
    from mnemoscope.results.schema.table import validate
    from mnemoscope.studies.icl.ablation_summary import head_gains

    place = {"copy": "trained", "task": "t", "layer": 0}
    rises = [{**place, "head": h, "choosing": 1.0, "judging": 0.5, "chosen": h == 1} for h in (1, 0)]
    changes = [
        {**keys(i), "layer": 0, "head": 1, "logprob": float(i), "margin": math.nan if i else -2.0} for i in range(4)
    ]
    found = head_gains(
        {
            "icl_head_rises": pl.DataFrame(rises, schema=HEAD_RISES.schema),
            "icl_head_changes": pl.DataFrame(changes, schema=HEAD_CHANGES.schema),
        }
    )
    validate("icl_head_gains", HEAD_GAINS, found)
    assert found["head"].to_list() == [1, 0]
    assert found["logprob"].to_list() == pytest.approx([1.5, math.nan], nan_ok=True)
    assert found["margin"].to_list() == pytest.approx([-2.0, math.nan], nan_ok=True)


def test_heads_that_start_to_look_are_chosen_and_those_that_matter_are_hit(asked):
    from mnemoscope.results.schema.icl_cause import TABLES
    from mnemoscope.results.schema.table import validate
    from mnemoscope.studies.icl.ablation_summary import head_gains
    from mnemoscope.studies.icl.cause_heads import ablations
    from mnemoscope.studies.icl.cause_selection import chosen_heads
    from mnemoscope.studies.icl.config import Config

    lm, design, items, heads = asked
    picked = chosen_heads(lm, design, items)
    looking = {heads[kind] for kind in ("induction", "matches_never_copies", "duplicate_token")}
    assert len(picked.heads) == 2  # one of a layer's four
    assert set(picked.heads) <= looking
    assert {head for head, (gain, _) in picked.rise.items() if gain > 1} == looking
    found = ablations(of_items("ablation", 0, 8), Config(), lm, design, items)
    rows = validate("icl_ablations", TABLES["icl_ablations"], found["icl_ablations"])
    assert found["verification"]["ok"].all()
    after = rows.filter((pl.col("run") == "after") & (pl.col("op") == "mean"))
    layer, head = heads["induction"]
    for (number, spelled), own in after.partition_by(["set", "heads"], as_dict=True).items():
        hit = f"L{layer}H{head}" in spelled.split()
        assert hit or number != 0 or heads["induction"] not in picked.heads
        assert (own["margin"].mean() < -0.5) == hit
    assert after["set"].n_unique() == 16  # one head of each layer, the chosen ones first
    before = rows.filter((pl.col("run") == "before") & (pl.col("op") == "mean"))
    assert before["margin"].abs().max() < 0.1  # there is nothing to lose without examples
    alone = {(r["layer"], r["head"]): r["margin"] for r in head_gains(found).iter_rows(named=True)}
    assert min(alone, key=alone.get) == heads["induction"]


def test_sharpening_moves_the_answer_by_the_head_that_copies(asked):
    from mnemoscope.results.schema.icl_cause import TABLES
    from mnemoscope.results.schema.table import validate
    from mnemoscope.studies.icl.cause_sharpening import sharpening
    from mnemoscope.studies.icl.config import Config

    lm, design, items, heads = asked
    found = sharpening(of_items("sharpening", 0, 8), Config(), lm, design, items)
    rows = validate("icl_sharpening", TABLES["icl_sharpening"], found["icl_sharpening"])
    at = rows.filter(
        (pl.col("heads") == "all") & (pl.col("layer") == heads["induction"][0]) & (pl.col("run") == "before")
    )
    for sentence, sign in (("relevant", 1), ("distractor", -1)):
        own = at.filter(pl.col("sentence") == sentence).sort("g").group_by("g", maintain_order=True)
        change = [sign * value for value in own.agg(pl.col("margin").mean())["margin"]]
        assert change == sorted(change)
        assert change[0] < 0 < change[-1]


@pytest.mark.slow
def test_the_jobs_of_the_bundled_model_give_valid_tables_and_claims():
    """Every raw table is as declared, every sweep is proven, and each kind of claim has a verdict with a reason."""
    import mnemoscope as ms
    from mnemoscope.results.schema.icl_cause import TABLES
    from mnemoscope.results.schema.table import validate
    from mnemoscope.studies.icl import ablation_summary, cause, dose_summary, recovery_summary
    from mnemoscope.studies.icl.config import Config

    lm, config = ms.load("reference"), Config(limit=4, tasks=("passages",))
    made = {}
    for job in cause.jobs(config, lm):
        if job.args["copy"] == "trained":
            for name, frame in cause.measure(job, config, lambda revision=None: lm).items():
                made.setdefault(name, []).append(frame)
    raw = {name: pl.concat(frames) for name, frames in made.items()}
    assert raw.pop("verification")["ok"].all()
    for name, frame in raw.items():
        assert validate(name, TABLES[name], frame).height > 0
    found = {"icl_recovery": recovery_summary.recovery(raw, config)}
    found |= ablation_summary.ablation(raw) | dose_summary.doses(raw, config)
    found["icl_head_gains"] = ablation_summary.head_gains(raw)
    for name, frame in found.items():
        validate(name, TABLES[name], frame)
    tables = {**raw, **found}
    claims = recovery_summary.recovery_claims(tables, {}) + ablation_summary.ablation_claims(tables, {})
    claims += dose_summary.dose_claims(tables, {}, config)
    assert [one.name[:5] for one in claims] == ["C3.8a", "C3.8b", "C3.9a", "C3.9b", "C3.9c"]
    assert all(one.judged.reason and one.text for one in claims)
    again = recovery_summary.recovery(raw, config)
    assert again.equals(found["icl_recovery"], null_equal=True)


def test_jobs_take_every_item_once_and_fewer_the_larger_the_model(monkeypatch):
    import mnemoscope as ms
    from mnemoscope.studies.icl import cause
    from mnemoscope.studies.icl.cause_items import items_of
    from mnemoscope.studies.icl.config import Config

    lm, config = ms.load("reference"), Config(limit=6, tasks=("passages",))
    assert len(cause.jobs(config, lm)) == 6  # one per kind and copy
    sizes = {"transplant": [], "ablation": [], "sharpening": []}
    before = cause.MINUTE
    for share in (1.0, 0.5, 0.05, 1e-9):
        monkeypatch.setattr(cause, "MINUTE", share * before)
        planned = [job.args for job in cause.jobs(config, lm) if job.args["copy"] == "trained"]
        n = len(items_of(config, lm, planned[0])[1])
        for kind, found in sizes.items():
            own = [args for args in planned if args["kind"] == kind]
            assert [i for args in own for i in range(args["first"], args["last"])] == list(range(n))
            found.append(own[0]["last"])
    for kind in cause.KINDS:
        assert sizes[kind] == sorted(sizes[kind], reverse=True)
        assert (sizes[kind][0], sizes[kind][-1]) == (36, cause.FEWEST)


@pytest.fixture
def effects():
    """The causal part as a study of its own, on the bundled model's passages."""
    from dataclasses import replace

    import mnemoscope as ms
    import mnemoscope.runner as runner
    from mnemoscope.runner.study import find
    from mnemoscope.studies.icl import cause
    from mnemoscope.studies.icl.ablation_summary import ablation, head_gains
    from mnemoscope.studies.icl.dose_summary import doses

    def plan(config, lm):
        return cause.jobs(config, lm)

    def summarise(tables, config):
        return {**ablation(tables), **doses(tables, config), "icl_head_gains": head_gains(tables)}

    study = replace(find("icl"), plan=plan, summarise=summarise)
    lm = ms.load("reference")

    def made(out):
        lm.forget("")  # as in a new process
        ask = {"limit": 4, "threads": 1, "quiet": True, "tasks": ("passages",)}
        return runner.run(study, lm, out=out, **ask)

    return made


@pytest.mark.slow
def test_effects_cut_finely_and_stopped_give_the_same_tables(effects, tmp_path, monkeypatch):
    """Stopped after every other job: byte for byte as in peace; cut otherwise: the same heads, and numbers up to rounding."""
    import mnemoscope.runner as runner
    from mnemoscope.results.schema.icl_cause import TABLES
    from mnemoscope.studies.icl import cause
    from mnemoscope.studies.icl.ablation_summary import ablation_claims
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.dose_summary import dose_claims

    coarse = effects(tmp_path / "coarse").tables
    monkeypatch.setattr(cause, "MOST", 5)
    fine = effects(tmp_path / "fine")
    real, count, stops = runner.one._kept, 0, 0

    def interrupted(*args):
        nonlocal count
        count += 1
        real(*args)
        if count % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner.one, "_kept", interrupted)
    while not (tmp_path / "stopped" / "tables").is_dir():
        try:
            effects(tmp_path / "stopped")
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 5
    for path in sorted((fine.path / "tables").iterdir()):
        assert path.read_bytes() == (tmp_path / "stopped" / "tables" / path.name).read_bytes(), path.name
    assert fine.tables["icl_head_rises"].equals(coarse["icl_head_rises"])
    for name in ("icl_context_runs", "icl_transplants", "icl_head_changes", "icl_ablations", "icl_sharpening"):
        close(fine.tables[name], coarse[name], TABLES[name].key)
    words = [
        [(one.name, one.judged.verdict) for one in (*ablation_claims(tables, {}), *dose_claims(tables, {}, Config()))]
        for tables in (coarse, fine.tables)
    ]
    assert words[0] == words[1]
    assert [name[:5] for name, _ in words[0]] == ["C3.9a", "C3.9b", "C3.9c"]
