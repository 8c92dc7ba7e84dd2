"""The icl study where the truth is known: planted ratios and planted geometry come back, their twin does not take it in."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest


def labelled(prompts):
    """Planted prompts as a user would label them."""
    return [
        replace(
            p,
            labels={k: v for k, v in p.labels.items() if k not in ("example", "cluster")}
            | {"condition": "example" if p.labels["example"] else "none"},
        )
        for p in prompts
    ]


def studied(kind, out, **sizes):
    from mnemoscope.data import jsonl
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.runner import run
    from mnemoscope.studies.icl import cause

    made = planted(kind, **{"noise": 0.5, "draws": 2, "people": 4, **sizes})
    file = out / f"{kind}.jsonl"
    jsonl.write(file, labelled(made.prompts))
    lm = view(made.model, made.tokenizer, name=f"planted-{kind}")
    with pytest.MonkeyPatch.context() as patch:  # the causal part has tests of its own
        patch.setattr(cause, "jobs", lambda config, lm: ())
        return made, run("icl", lm, out=out / kind, quiet=True, threads=1, data=str(file))


@pytest.fixture(scope="module")
def geometry(tmp_path_factory):
    return studied("geometry", tmp_path_factory.mktemp("icl"), spread=0.3)  # at .1 all is perfect, and has no interval


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return studied("geometry_twin", tmp_path_factory.mktemp("icl"))


def aligned(run, layer, hypothesis, condition, pooling="last", kind="spearman"):
    rows = run.tables["icl_alignment"].filter(
        (pl.col("copy") == "trained")
        & (pl.col("layer") == layer)
        & (pl.col("hypothesis") == hypothesis)
        & (pl.col("condition") == condition)
        & (pl.col("versus") == "")
        & (pl.col("pooling") == pooling)
        & (pl.col("tokens") == "all")
        & (pl.col("kind") == kind)
        & (pl.col("distance") == "cosine")
    )
    assert rows.height == 1
    return rows.row(0, named=True)


def claim(run, start):
    rows = run.tables["claims"].filter(pl.col("claim").str.starts_with(start))
    assert rows.height == 1
    return rows.row(0, named=True)


def test_planted_ratios_come_back_from_one_pass():
    """Every head of the layer, and their mean, has the prescribed logarithm of the ratio under either condition."""
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.icl.inside import inside

    for family in ("llama", "gpt2"):
        made = planted("geometry", noise=0.0, draws=1, people=3, family=family)
        lm = view(made.model, made.tokenizer)
        found = inside(lm, tokenize(lm, made.prompts), (("all", "max"),))
        (layer,) = {head.layer for head in made.truth.of_kind("ratio")}
        low, high = made.truth.facts["log_ratio"]
        ratio = np.log(found.attention[layer][:, :, 0] / found.attention[layer][:, :, 1])
        for row, prompt in enumerate(made.prompts):
            assert ratio[row] == pytest.approx(high if prompt.labels["example"] else low, abs=0.02)


def test_vectors_and_rows_are_those_of_the_trace():
    """Independent reference: the same pooled values from hidden states of transformers."""
    import torch

    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.icl.inside import inside

    made = planted("geometry", noise=0.5, draws=1, people=3, sentences=2)
    lm = view(made.model, made.tokenizer)
    batch = tokenize(lm, made.prompts[:5])
    found = inside(lm, batch, (("all", "max"), ("all", "mean"), ("all", "last"), ("relevant", "max")))
    for row in range(5):
        n = int(batch.lengths[row])
        with torch.no_grad():
            states = made.model(input_ids=batch.ids[row : row + 1, :n], output_hidden_states=True).hidden_states
        for layer in range(made.model.config.num_hidden_layers):  # transformers normalises the last one
            own = states[layer][0, 1:].numpy()  # without the start token
            np.testing.assert_allclose(found.vectors["all", "max"][layer, row], own.max(0), atol=1e-4)
            np.testing.assert_allclose(found.vectors["all", "mean"][layer, row], own.mean(0), atol=1e-4)
            np.testing.assert_allclose(found.vectors["all", "last"][layer, row], own[-1], atol=1e-4)
            chosen = found.groups.asked[row, 1:n].numpy()
            np.testing.assert_allclose(found.vectors["relevant", "max"][layer, row], own[chosen].max(0), atol=1e-4)


@pytest.mark.slow
def test_geometry_is_found_where_it_was_planted(geometry):
    _, run = geometry
    for condition in ("none", "example"):
        for level in (3, 4):  # behind blocks 2 and 3
            found = aligned(run, level, "activity", condition)
            assert (
                found["estimate"] > 0.3
            )  # its interval reaches to about 0: so near the largest value the lower end is wide
            assert found["low"] < found["estimate"] < found["high"] < 0.7
            assert found["p_maxt"] < 0.05
            assert aligned(run, level, "name", condition)["estimate"] < 0.1
        assert aligned(run, 2, "name", condition)["estimate"] > 0.2  # the asked name is held there, by construction
        assert aligned(run, 2, "activity", condition)["estimate"] < 0.1
    rows = run.tables["icl_alignment"].filter(
        (pl.col("kind") == "spearman") & (pl.col("pooling") == "last") & (pl.col("versus") == "")
    )
    at_0 = rows.filter(pl.col("layer") == 0)
    assert at_0["estimate"].is_nan().all()  # one and the same question mark
    assert (at_0["reason"] == "distances undefined or constant").all()


@pytest.mark.slow
def test_ratios_answers_and_claims_of_the_planted_model(geometry):
    made, run = geometry
    low, high = made.truth.facts["log_ratio"]
    (layer,) = {head.layer for head in made.truth.of_kind("ratio")}
    ratios = run.tables["icl_ratios"].filter((pl.col("copy") == "trained") & (pl.col("layer") == layer))
    for condition, true in (("none", low), ("example", high)):
        own = ratios.filter((pl.col("condition") == condition) & (pl.col("versus") == ""))
        assert own["ratio"].to_numpy() == pytest.approx(true, abs=0.02)
        assert (own["p_maxt"] < 0.05).all()
    change = ratios.filter((pl.col("condition") == "example") & (pl.col("versus") == "none"))
    assert (change["low"] > 1.0).all()
    quiet = run.tables["icl_ratios"].filter(
        (pl.col("copy") == "trained") & (pl.col("layer") == 3) & (pl.col("versus") == "none")
    )
    assert (quiet["estimate"].abs() < 0.01).all()
    assert claim(run, "C3.0")["verdict"] == "supported"  # the standing push breaks the format without an example
    assert claim(run, "C3.4")["verdict"] == "supported"
    assert run.tables["verification"]["ok"].all()


@pytest.mark.slow
def test_the_twin_has_geometry_of_no_use(twin):
    _, run = twin
    for hypothesis in ("activity", "name"):
        for level in (3, 4):
            found = aligned(run, level, hypothesis, "example")
            assert abs(found["estimate"]) < 0.1
            assert found["p_maxt"] > 0.05
    judged = run.tables["claims"].filter(
        pl.col("claim").str.starts_with("C3.2") | pl.col("claim").str.starts_with("C3.3")
    )
    assert not (judged["verdict"] == "supported").any()


def test_passages_are_crossed_and_balanced():
    from collections import Counter

    from mnemoscope.studies.icl import tasks
    from mnemoscope.studies.icl.config import Config

    config = Config()
    prompts = tasks.asked(config, "passages", lambda text: len(text.split()))
    before = [p for p in prompts if p.labels["condition"] == "none"]
    assert len(prompts) == 4 * len(before) == 4 * 36 * config.draws
    for name in ("position", "format"):
        for by in ("name", "activity"):
            assert set(Counter((p.labels[name], p.labels[by]) for p in before).values()) == {config.draws * 2}
    assert set(Counter((p.labels["position"], p.labels["format"]) for p in before).values()) == {8}
    people = {p.labels["name"] for p in before}
    for prompt in before:
        assert set(str(prompt.labels["names"]).split("|")) <= people  # a closed world: which of these is a question
    longer = {}
    for prompt in prompts:
        longer.setdefault((prompt.labels["item"], prompt.labels["draw"]), {})[prompt.labels["condition"]] = prompt
    for own in longer.values():
        assert own["example"].text.endswith(own["none"].text)
        assert own["neutral"].text.endswith(own["none"].text)
        assert own["shuffled"].text != own["example"].text
        assert not {n for n in people if n in own["example"].text.removesuffix(own["none"].text)}
        assert abs(len(own["neutral"].text.split()) - len(own["example"].text.split())) <= 3


def test_lines_keep_their_item_under_every_condition():
    from mnemoscope.studies.icl import tasks
    from mnemoscope.studies.icl.config import Config

    prompts = tasks.asked(Config(limit=1), "lines", lambda text: len(text), preset="decimals")
    items = {}
    for prompt in prompts:
        items.setdefault(prompt.labels["item"], {})[prompt.labels["condition"]] = prompt
    assert len(items) == 16
    for own in items.values():
        assert len({p.answer for p in own.values()}) == 1
        assert own["k8"].text.startswith(own["k2"].text.rsplit(" (", 1)[0])
        assert sorted(own["shuffled"].part("point_y")) == sorted(own["k8"].part("point_y"))
        assert own["shuffled"].part("point_x") == own["k8"].part("point_x")
        assert own["k2"].answer not in own["k2"].foils
        assert len(own["k2"].foils) >= 2
        assert abs(len(own["neutral"].text) - len(own["k8"].text)) <= 12


def test_personas_have_all_four_cells_with_and_without_example():
    from mnemoscope.studies.icl import design, tasks
    from mnemoscope.studies.icl.config import Config

    prompts = tasks.asked(Config(limit=4), "persona", len)
    cells = {p.labels["condition"] for p in prompts}
    assert cells == set(design.DESIGNS["persona"].conditions)
    assert len(cells) == 8
    lie = next(p for p in prompts if p.labels["condition"] == "truthful_deceitful+example")
    assert lie.part("persona")[0].endswith("you always lie.")
    assert lie.part("demonstration")


def test_prompts_and_answers_fit_tokenizers_that_join_punctuation():
    """GPT-2 and its heirs read "]." and ",-" as one token: no role and no answer may need the border between."""
    from mnemoscope.model.align import align
    from mnemoscope.model.answers import answers
    from mnemoscope.model.encode import encode
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.reference.planting.words import tokenizer_of
    from mnemoscope.studies.icl import tasks
    from mnemoscope.studies.icl.config import Config

    made = planted("geometry", noise=0.0, draws=1, people=3, sentences=2)
    for task in ("lines", "passages", "simple", "persona"):
        prompts = tasks.asked(Config(limit=4), task, len)[::7]
        texts = [text for p in prompts for text in (p.text, p.text + p.answer, *(p.text + foil for foil in p.foils))]
        pieces = tokenizer_of(("x",), n_ctx=256).backend_tokenizer.pre_tokenizer.pre_tokenize_str
        words = {piece for text in texts for piece, _ in pieces(text)}
        lm = view(made.model, tokenizer_of(tuple(sorted(words)), n_ctx=256))
        tokenizer = lm.tokenizer
        assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in texts)
        found = answers(lm, prompts)
        assert {one.route for one in found} == {"extended"}
        spans = align(prompts, [encode(tokenizer, p.text) for p in prompts], tokenizer_name="joined")
        assert all(spans["last"])


def test_recency_alone_is_no_relevance():
    """Heads that favour positions, whatever is asked: excess 0 on average, and as often significant as said."""
    from mnemoscope.stats.maxt import redraw_max_t
    from mnemoscope.studies.icl.ratio_summary import _versions

    rejected, seen = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        place = np.arange(36) % 3
        attention = np.exp(np.array([0.0, 0.5, 1.5]) + rng.normal(0, 0.5, (36, 4, 3)))
        ratio, versions = _versions(attention, place)
        seen.append(versions[0].mean())
        test = redraw_max_t(versions, rng=rng, n_perm=99, side="two-sided")
        rejected += bool((test.p <= 0.05).any())
        assert ratio == pytest.approx(np.log(attention[np.arange(36), :, place] / _others(attention, place)))
    assert rejected <= 9  # 3 expected, 9 the 99.9% limit
    assert abs(np.mean(seen)) < 0.02


def _others(attention, place):
    rows = np.arange(len(place))
    return (attention.sum(-1) - attention[rows, :, place]) / (attention.shape[-1] - 1)


def test_a_relevant_sentence_that_never_moves_is_undefined():
    from mnemoscope.studies.icl.ratio_summary import _versions

    attention = np.exp(np.random.default_rng(0).normal(size=(10, 2, 3)))
    _, versions = _versions(attention, np.zeros(10, int))
    assert np.isnan(versions).all()


def prompt(item, condition, **labels):
    from mnemoscope.data.prompt import Prompt

    return Prompt(text=f"{item} {condition}", answer=" x", labels={"item": item, "condition": condition, **labels})


def written(tmp_path, prompts):
    from mnemoscope.data import jsonl

    jsonl.write(tmp_path / "own.jsonl", prompts)
    return str(tmp_path / "own.jsonl")


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([("a", "none"), ("b", "none"), ("c", "none")], "has one condition"),
        (
            [("a", "none"), ("a", "example"), ("b", "none"), ("c", "none"), ("c", "example")],
            "1 items .* lack a condition",
        ),
        ([(i, c) for i in "ab" for c in ("none", "example")], "too few items"),
    ],
)
def test_designs_that_cannot_be_compared_are_refused(tmp_path, prompts, message):
    from mnemoscope.errors import DataError
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config

    with pytest.raises(DataError, match=message):
        own_tasks.users(Config(data=written(tmp_path, [prompt(*one) for one in prompts])), len)


def test_own_prompts_get_the_hypotheses_that_their_labels_allow(tmp_path):
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.design import design_of, useless

    own = [
        prompt(f"i{i}", c, colour="red" if i % 2 else "blue", place=i, shape="round", size=c)
        for i in range(6)
        for c in ("none", "example", "other")
    ]
    made = own_tasks.users(Config(data=written(tmp_path, own)), len).tasks["own"]
    found = design_of("own", [p.labels for p in made])
    assert (found.before, found.after, found.conditions) == ("none", "example", ("none", "example", "other"))
    assert [h.name for h in found.hypotheses] == ["colour"]
    assert useless([p.labels for p in made]) == {
        "place": "6 values in 6 items, 0 of them shared",
        "shape": "'round' in all 6 items",
        "size": "differs within an item",
    }


@pytest.mark.parametrize(
    ("colours", "why"),
    [
        (dict.fromkeys("abcdef", "red"), "colour: 'red' in all 6 items"),
        ({**dict.fromkeys("abcdef", "red"), "a": "blue"}, "colour: 2 values in 6 items, 1 of them shared"),
        ({"a": "red", "b": "red", "c": "blue"}, "colour: 2 values in 3 items"),
    ],
)
def test_labels_that_make_no_groups_are_refused(tmp_path, colours, why):
    from mnemoscope.errors import DataError
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config

    own = [prompt(i, c, colour=one) for i, one in colours.items() for c in ("none", "example")]
    with pytest.raises(DataError, match=re.escape(why)) as caught:
        own_tasks.users(Config(data=written(tmp_path, own)), len)
    assert caught.value.allowed
    assert caught.value.hint


def pairs(tmp_path, *given):
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps([{"input": a, "output": b} for a, b in given]))
    return str(file)


SIX = tuple((f"i{i}", f"o{i % 3}") for i in range(6))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (SIX[:3], "too few inputs | found: 3 different"),
        ((*SIX, SIX[0], ("i0", "o2")), "too few inputs | found: 5 different"),
        (tuple((a, "o") for a, _ in SIX), "has one output | found: 'o' for all 6"),
    ],
)
def test_pairs_that_cannot_be_asked_are_refused(tmp_path, given, why):
    from mnemoscope.errors import DataError
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config

    with pytest.raises(DataError, match=re.escape(why)):
        own_tasks.users(Config(data=pairs(tmp_path, *given)), len)


def test_inputs_with_several_outputs_are_neither_asked_nor_shown_and_repeated_pairs_count_once(tmp_path):
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config

    given = (*SIX, ("i6", "o1"), SIX[1], ("i0", "o2"), ("i7", ""))
    found = own_tasks.users(Config(data=pairs(tmp_path, *given)), len)
    asked = found.tasks["pairs"]
    assert {p.labels["item"] for p in asked} == {f"i{i}" for i in range(1, 7)}
    assert not any("i0" in p.text for p in asked)
    assert len(asked) == 6 * 2 * 4  # items, draws, conditions
    assert [(one.id, one.reason, one.detail) for one in found.left_out] == [
        ("pairs pair 9", "pair without input or output", "('i7', '')"),
        ("pairs / i0", "input with several outputs", "o0, o2"),
    ]


def test_too_few_items_for_the_folds_and_labels_of_one_class():
    from mnemoscope.errors import InputError
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.design import Design, Target
    from mnemoscope.studies.icl.frames import Pooled, Task
    from mnemoscope.studies.icl.probe_summary import question

    def vectors(items, classes):
        labels = [f'{{"item": "{item}", "t": "{one}"}}' for item, one in zip(items, classes, strict=True)]
        frame = pl.DataFrame({"item": list(items), "draw": [0] * len(items), "labels": labels})
        design = Design(task="toy", before="a", after="b", conditions=("a", "b"), contrasts=())
        task = Task(
            name="toy", design=design, keys=frame.select("item", "draw"), asked={"a": frame, "b": frame}, answers=frame
        )
        return Pooled(copy="trained", task=task, tokens="all", pooling="last", vectors={})

    target = Target(name="t", label="t")
    with pytest.raises(InputError, match="fewer items than folds"):
        question(vectors("abc", "xyx"), target, Config())
    with pytest.raises(InputError, match="at least two classes"):
        question(vectors("abcdef", "xxxxxx"), target, Config())


def test_other_labels_get_folds_and_candidates_of_their_own():
    from mnemoscope.studies.icl.design import Target
    from mnemoscope.studies.icl.probe_summary import Question, relabelled

    units = np.arange(12).astype(str)
    asked = Question(
        target=Target(name="t", label="t"),
        labels=np.array(list("abcabcabcabc")),
        candidates=np.tile([[True, False, True]], (12, 1)),
        units=units,
        folds=np.tile(np.arange(12) % 4, (3, 1)),
        penalties=(1.0,),
    )
    other = relabelled(asked, np.array(list("aaaaaaaacccc")), np.random.default_rng(0))
    assert other.folds.shape == (1, 12)
    assert [sorted(other.labels[other.folds[0] == fold]) for fold in range(4)] == [["a", "a", "c"]] * 4
    thrice = relabelled(asked, other.labels, np.random.default_rng(0), repeats=3)  # as the control task is read
    for row in thrice.folds:
        assert [sorted(other.labels[row == fold]) for fold in range(4)] == [["a", "a", "c"]] * 4
    assert other.candidates is not None
    assert other.candidates.shape == (12, 2)
    assert other.candidates.all()


@pytest.mark.slow
def test_a_probe_is_told_apart_from_labels_shuffled_among_items_where_there_is_something_to_read():
    """Layer 0 holds noise, layer 1 the label: p and the range of the null, per layer."""
    from mnemoscope.studies.icl.config import READ, Config
    from mnemoscope.studies.icl.design import Design, Target
    from mnemoscope.studies.icl.frames import Pooled, Task
    from mnemoscope.studies.icl.probe_summary import probes

    rng = np.random.default_rng(0)
    item = np.repeat(np.arange(20), 2)
    labels = [f'{{"item": "{i}", "t": "{"ab"[i % 2]}"}}' for i in item]
    frame = pl.DataFrame({"item": item.astype(str), "draw": [0, 1] * 20, "labels": labels})
    target = Target(name="t", label="t")
    design = Design(task="toy", before="a", after="b", conditions=("a", "b"), contrasts=(), targets=(target,))
    task = Task(
        name="toy", design=design, keys=frame.select("item", "draw"), asked={"a": frame, "b": frame}, answers=frame
    )
    x = rng.normal(size=(2, 40, 3))
    x[1, :, 0] += 6 * (item % 2)
    tokens, pooling = READ[0]
    one = Pooled(copy="trained", task=task, tokens=tokens, pooling=pooling, vectors={"a": x, "b": x})
    found, _ = probes((one,), Config(thorough=True))
    null = found.filter(pl.col("labels") == "shuffled").sort("layer")
    assert null["layer"].to_list() == [0, 1]
    assert null["condition"].unique().to_list() == ["b"]
    assert null["p"][1] == pytest.approx(1 / 21)
    assert null["p"][0] > 0.1
    for low, mid, high, base in null.select("low", "estimate", "high", "base").iter_rows():
        assert base == pytest.approx(0.5)
        assert -0.5 <= low < mid < high < 0.5
        assert abs(mid) < 0.12
    true = found.filter((pl.col("labels") == "task") & (pl.col("condition") == "b") & (pl.col("versus") == ""))
    assert true.filter(pl.col("layer") == 1)["estimate"][0] == pytest.approx(0.5, abs=0.03)


def test_groups_that_overlap_or_are_empty_in_one_prompt_are_refused_before_anything_is_run(tmp_path):
    from mnemoscope.data import jsonl
    from mnemoscope.errors import PromptError
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.icl.config import Config
    from mnemoscope.studies.icl.prompts import plan

    made = planted("geometry", noise=0.0, draws=1, people=3, sentences=2)
    lm = view(made.model, made.tokenizer)
    for role, cut, why in (
        ("distractor", lambda own: own["relevant"], "overlap in 1 prompts .*bad:6: relevant and distractor .*try"),
        ("relevant", lambda own: ((own["relevant"][0][1] - 1, own["relevant"][0][1]),), "empty in 1 prompts .*bad:6: "),
    ):
        own = labelled(made.prompts)
        own[5] = replace(own[5], spans={**own[5].spans, role: cut(own[5].spans)})
        jsonl.write(tmp_path / "bad.jsonl", own)
        with pytest.raises(PromptError, match=why):
            plan(Config(data=str(tmp_path / "bad.jsonl")), lm)


def answers_of(task, unit_labels, values):
    """A task whose answers are given: condition -> one value per unit, in the measure's column."""
    from mnemoscope.results.schema.icl import ANSWERS
    from mnemoscope.studies.icl.design import DESIGNS
    from mnemoscope.studies.icl.frames import Task

    items = [one["item"] for one in unit_labels]
    asked = pl.DataFrame({"item": items, "draw": [0] * len(items), "labels": [json.dumps(one) for one in unit_labels]})
    blank = {"said": "", "right": math.nan, "content": math.nan, "error": math.nan, "unread": math.nan}
    rows = [
        {"copy": "trained", "task": task, "condition": c, "item": item, "draw": 0, **blank}
        | {"logprob": math.nan, "margin": math.nan, column: float(value)}
        for (c, column), own in values.items()
        for item, value in zip(items, own, strict=True)
    ]
    return Task(
        name=task,
        design=DESIGNS[task],
        keys=asked.select("item", "draw"),
        asked=dict.fromkeys(DESIGNS[task].conditions, asked),
        answers=pl.DataFrame(rows, schema=ANSWERS.schema),
    )


def test_an_example_under_a_persona_is_a_difference_of_differences():
    from mnemoscope.studies.icl.behaviour_summary import INTERACTION, behaviour

    said = {"neutral": [0, 1, 1, 1], "neutral+example": [1, 1, 1, 1], "deceitful": [0, 0, 0, 1]}
    said |= {"deceitful+example": [1, 1, 0, 1]}
    task = answers_of(
        "persona", [{"item": i, "distractors": 2} for i in "abcd"], {(c, "content"): v for c, v in said.items()}
    )
    rows = behaviour((task,)).filter(pl.col("versus") == f"deceitful{INTERACTION}")
    assert rows["condition"].to_list() == ["deceitful+example"]
    assert rows["estimate"][0] == pytest.approx(
        (2 - 1) / 4
    )  # two more right answers, one of them without a persona too
    assert rows["n_units"][0] == 4


def test_no_error_at_all_is_not_certainty():
    """0 of 16 lines are off: at most 1 - .025^(1/16) of them would be, each by the largest error there can be."""
    from mnemoscope.studies.icl.behaviour_summary import estimated

    lines = [{"item": f"l{i}#0", "line": f"l{i}", "span": 53.0} for i in range(16)]
    task = answers_of("lines", lines, {("k8", "error"): [0.0] * 16})
    found = estimated(task, "error", task.measured("trained", "k8", "error"))
    assert (found.estimate, found.low) == (0, 0)
    assert found.high == pytest.approx(53 * (1 - 0.025 ** (1 / 16)))


def test_findings_are_sentences_with_numbers():
    from mnemoscope.studies.icl.behaviour_summary import behaviour
    from mnemoscope.studies.icl.sentences import answered

    lines = [{"item": f"l{i}#0", "line": f"l{i}", "span": 53.0, "mean_y": 5.0, "y": 5.0 + i} for i in range(4)]
    task = answers_of("lines", lines, {("k2", "error"): [1, 2, 3, 2], ("k8", "error"): [0, 1, 0, 1]})
    (text,) = answered(task, behaviour((task,)))
    assert text.startswith(
        "Lines: mean distance of the answer from the true y (answering the mean of the shown y: 1.50 with 2 points, 1.50 with 8 "
        "points): 2.00 ["
    )
    assert "with 2 points; 0.50 [" in text
    assert text.endswith("with 8 points; 4 prompts each.")


def test_a_headline_of_no_error_names_lines_and_not_the_worst_case():
    """16 lines, 0 off: the table's upper end is 53 times the exact limit of their share; the sentence says the share."""
    from mnemoscope.studies.icl.behaviour_summary import behaviour
    from mnemoscope.studies.icl.sentences import answered

    lines = [{"item": f"l{i}#0", "line": f"l{i}", "span": 53.0, "mean_y": 5.0, "y": 5.0 + i} for i in range(16)]
    said = {("k2", "error"): [1.0, 2.0] * 8, ("k8", "error"): [0.0] * 16}
    task = answers_of("lines", lines, said)
    table = behaviour((task,))
    (text,) = answered(task, table)
    share = 1 - 0.025 ** (1 / 16)
    assert f"0.00 in all 16 prompts (95%: of such lines at most {share:.0%} would differ) with 8 points" in text
    rows = table.filter((pl.col("condition") == "k8") & (pl.col("versus") == "") & (pl.col("measure") == "error"))
    assert rows["high"].to_list() == [pytest.approx(53 * share)]
    assert rows["method"].to_list() == ["mean; all clusters agree: exact binomial bound"]
    assert "[" in text.split("with 2 points;")[0]


def test_what_is_not_asked_or_not_read_is_said():
    from mnemoscope.results.schema.icl import LEFT_OUT
    from mnemoscope.studies.icl.sentences import not_used

    made = answers_of("lines", [{"item": i, "tint": "red", "answer": i} for i in "abcd"], {("k2", "error"): [0.0] * 4})
    left = pl.DataFrame([("t / a", "input with several outputs", "x, y")], schema=LEFT_OUT.schema, orient="row")
    assert not_used([made], left) == [
        "Left out, each named in the table icl_left_out: input with several outputs (1).",
    ]
    (text,) = not_used([replace(made, name="own")], None)
    assert text == "Labels of own that make no groups of items, and are not read: tint ('red' in all 4 items)."


def test_a_headline_of_answers_that_are_no_numbers_says_so():
    from mnemoscope.studies.icl.behaviour_summary import behaviour
    from mnemoscope.studies.icl.sentences import answered

    lines = [{"item": f"l{i}#0", "line": f"l{i}", "span": 53.0, "mean_y": 5.0, "y": 5.0 + i} for i in range(8)]
    said = {("k2", "error"): [53.0] * 8, ("k8", "error"): [53.0, 53.0, 1, 2, 1, 2, 1, 2]}
    made = answers_of("lines", lines, said)
    task = replace(made, answers=made.answers.with_columns(unread=(pl.col("error") == 53).cast(pl.Float64)))
    (text,) = answered(task, behaviour((task,)))
    assert "no number in any of 8 prompts, counted as the largest error, 53.00, with 2 points; 14.38 [" in text
    assert "] (25% are no numbers, counted as the largest error) with 8 points" in text


def test_fewer_items_than_folds_are_refused_before_anything_is_run(tmp_path):
    from mnemoscope.errors import DataError
    from mnemoscope.studies.icl import own_tasks
    from mnemoscope.studies.icl.config import Config

    labels = {"a": "red", "b": "red", "c": "blue", "d": "blue"}
    few = written(tmp_path, [prompt(i, c, colour=one) for i, one in labels.items() for c in ("none", "example")])
    with pytest.raises(DataError, match="fewer items than probes have folds"):
        own_tasks.users(Config(data=few, thorough=True), len)
    assert own_tasks.users(Config(data=few), len)


def test_the_crossed_design_has_room_for_distractors():
    from mnemoscope.errors import PromptError
    from mnemoscope.studies.icl import tasks
    from mnemoscope.studies.icl.config import Config

    with pytest.raises(PromptError, match="does not fit"):
        tasks.asked(Config(limit=2), "passages", len)


def test_a_claim_needs_all_its_parts():
    from mnemoscope.stats.estimate import Estimate
    from mnemoscope.stats.verdict import Rule
    from mnemoscope.studies.icl.claim_rules import Claim, Part

    def part(low, high):
        middle = (low + high) / 2
        return Part(
            against="x", found=Estimate(estimate=middle, low=low, high=high, p=math.nan, n=9, n_units=9, method="m")
        )

    rule = Rule(text="rises", sesoi=0.1)
    for bounds, word in (
        (((0.2, 0.4), (0.3, 0.5)), "supported"),
        (((0.2, 0.4), (0.0, 0.5)), "undetermined"),
        (((0.2, 0.4), (-0.3, 0.0)), "contradicted"),
    ):
        parts = tuple(part(*one) for one in bounds)
        assert Claim(name="c", rule=rule, parts=parts, evidence="e").judged().verdict == word
    unable = Claim(name="c", rule=rule, parts=(part(0.2, 0.4),), evidence="e", precondition="it cannot")
    assert (unable.judged().verdict, unable.judged().reason) == ("not testable", "it cannot")


@pytest.mark.slow
def test_a_pretrained_model_end_to_end(stories, tmp_path):
    """A real tokenizer that cuts words: every table is valid, every claim has a verdict, and cached answers are proven."""
    from mnemoscope.runner import run
    from mnemoscope.studies.icl import cause

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cause, "jobs", lambda config, lm: ())
        found = run(
            "icl",
            str(stories),
            out=tmp_path / "icl",
            quiet=True,
            limit=3,
            distractors=1,
            tasks=("passages",),
            threads=1,
        )
    assert found.tables["verification"]["ok"].all()
    claims = found.tables["claims"]
    assert {name[:4] for name in claims["claim"]} >= {"C3.0", "C3.2", "C3.3", "C3.4"}
    assert (claims["n_units"] > 0).any()
    answers = found.tables["icl_answers"]
    assert answers["logprob"].is_finite().all()
    assert (answers["logprob"] < 0).all()
    behaviour = found.tables["icl_behaviour"].filter((pl.col("measure") == "right") & (pl.col("versus") == ""))
    assert (behaviour["estimate"] == 0).all()  # it tells stories and answers no question
    assert behaviour["high"].is_between(0.05, 0.4).all()  # which is known to what 9 pairs can tell


def test_a_number_that_rounds_to_zero_has_no_minus():
    from mnemoscope.studies.icl.sentences import number

    small = {"estimate": -0.004, "low": -0.012, "high": 0.003, "reason": ""}
    assert number(small) == "0.00 [-0.01, 0.00]"
    assert number(small, share=True) == "0% [-1, 0]"
    assert number({**small, "estimate": 0.02}, sign=True) == "+0.02 [-0.01, +0.00]"
