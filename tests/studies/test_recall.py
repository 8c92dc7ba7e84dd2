"""The recall study, steps 1 to 3 and 8: facts as a model reads them, and planted circuits where the truth is known."""

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

OURS = ("listing", "knowledge", "shown", "selection", "location", "interchange", "paths")


def measured(lm, config, *, brief=False):
    """Every raw table of our own steps, validated, as the runner would make them. brief: no control, no shots, no paths."""
    from mnemoscope.model.load import reinitialised
    from mnemoscope.results.schema.table import validate
    from mnemoscope.runner.study import declared
    from mnemoscope.studies.recall.measure import measure
    from mnemoscope.studies.recall.prompts import plan

    copies = {None: lm, "reinitialised": reinitialised(lm)}
    found = {}
    for job in plan(config, lm):
        long = job.args.get("copy") == "reinitialised" or job.args.get("shots") or job.args["kind"] == "paths"
        if job.args["kind"] in OURS and not (brief and long):
            for name, frame in measure(job, config, lambda which=None: copies[which]).items():
                found.setdefault(name, []).append(frame)
    return {name: validate(name, declared("recall")[name], pl.concat(frames)) for name, frames in found.items()}


def inferred(tables, config):
    from mnemoscope.results.schema.table import validate
    from mnemoscope.runner.study import declared
    from mnemoscope.studies.recall.summarise import summarise

    return {name: validate(name, declared("recall")[name], frame) for name, frame in summarise(tables, config).items()}


def circuit(kind, folder, *, brief=False, family="llama", measured_on=2, **sizes):
    """A planted model, its facts as a file, all our tables."""
    from mnemoscope.data import jsonl
    from mnemoscope.model.lm import view
    from mnemoscope.reference import planted
    from mnemoscope.studies.recall.config import Config

    made = planted(kind, family=family, noise=0.0, **sizes)
    path = folder / f"{kind}.jsonl"
    jsonl.write(path, made.prompts)
    config = Config(data=str(path), templates=measured_on)
    lm = view(made.model, made.tokenizer, name=f"planted-{kind}")
    raw = measured(lm, config, brief=brief)
    return SimpleNamespace(made=made, lm=lm, config=config, raw=raw, found=inferred(raw, config))


@pytest.fixture(scope="module")
def recall(tmp_path_factory):
    sizes = {"topics": 10, "relations": 2, "templates": 3, "distractors": 2}
    return circuit("recall", tmp_path_factory.mktemp("facts"), brief=True, measured_on=1, **sizes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    sizes = {"topics": 12, "relations": 2, "templates": 4, "distractors": 3}
    return circuit("recall", tmp_path_factory.mktemp("whole"), family="gpt2", **sizes)


def truth(made, kind):
    return {(head.layer, head.head) for head in made.truth.of_kind(kind)}


def chosen(found, role):
    from mnemoscope.studies.recall.movers_summary import confirmed

    rows = confirmed(found["roles"]).filter(
        (pl.col("copy") == "trained") & (pl.col("role") == role) & (pl.col("half") != "both") & pl.col("confirmed")
    )
    return {(row["layer"], row["head"]) for row in rows.iter_rows(named=True)}


def map_of(found, method, **where):
    rows = found["effects"].filter(
        (pl.col("copy") == "trained") & (pl.col("facts") == "all") & (pl.col("method") == method)
    )
    for name, value in {"shots": 0, "receiver": "logits", **where}.items():
        rows = rows.filter(pl.col(name) == value)
    return {(row["layer"], row["head"]): row for row in rows.iter_rows(named=True)}


def test_planted_movers_are_found_and_their_decoys_are_not(recall):
    assert chosen(recall.found, "mover") == truth(recall.made, "mover")
    assert chosen(recall.found, "task_head") == truth(recall.made, "mover")
    swapped = map_of(recall.found, "interchange")
    for kind in ("wrong_neighbour", "wrong_bystander", "relation_mover"):
        for place in truth(recall.made, kind):
            assert abs(swapped[place]["estimate"]) < 0.1  # erased, or the same for every topic
    (answerer,) = (mlp.layer for mlp in recall.made.truth.mlps if "answerer" in mlp.kinds)
    assert min(swapped, key=lambda place: swapped[place]["estimate"]) == (answerer, -1)
    verdicts = dict(recall.found["claims"].select("claim", "verdict").iter_rows())
    assert {word for name, word in verdicts.items() if name.startswith(("C2.2a", "C2.2b"))} == {"supported"}
    for place in truth(recall.made, "mover"):
        assert swapped[place]["high"] < -1
        assert swapped[place]["p_maxt"] < 0.05
        assert swapped[place]["partner"] > 1  # and the other topic's answer comes instead


def test_the_answer_appears_where_it_is_made(recall):
    (answerer,) = (mlp.layer for mlp in recall.made.truth.mlps if "answerer" in mlp.kinds)
    trained = (pl.col("copy") == "trained") & (pl.col("facts") == "all")
    lens = recall.found["lens"].filter(trained & (pl.col("token") == "answer") & (pl.col("measure") == "centred"))
    rises = dict(zip(lens["layer"].to_list()[1:], np.diff(lens["estimate"].to_numpy()), strict=True))
    assert max(rises, key=lambda layer: rises[layer]) == answerer
    parts = recall.found["components"].filter(trained & (pl.col("target") == "answer_mean"))
    best = parts.sort("estimate").row(-1, named=True)
    assert (best["layer"], best["part"]) == (answerer, "mlp")


@pytest.mark.slow
def test_paths_and_every_claim_on_the_other_family(whole):
    """With attention held, movers act through the answering MLP; into q, k and v of movers nothing acts."""
    movers = truth(whole.made, "mover")
    assert chosen(whole.found, "mover") == movers
    direct = map_of(whole.found, "path")
    for place in movers:
        assert direct[place]["high"] < -1
    for kind in ("wrong_neighbour", "wrong_bystander"):
        for place in truth(whole.made, kind):
            assert abs(direct[place]["estimate"]) < 0.1
    for into in ("q", "k"):
        for row in map_of(whole.found, "path", receiver=into).values():
            assert abs(row["estimate"]) < 0.1
    verdicts = dict(whole.found["claims"].select("claim", "verdict").iter_rows())
    for claim in ("C2.1", "C2.2 ", "C2.2a", "C2.2b", "C2.6 "):
        assert next(word for name, word in verdicts.items() if name.startswith(claim)) == "supported"
    control = whole.found["effects"].filter((pl.col("copy") == "reinitialised") & (pl.col("method") == "interchange"))
    assert control.height
    assert (control["estimate"].abs() < 0.1).all()
    assert whole.raw["verification"]["ok"].all()
    assert whole.found["knowledge"].filter((pl.col("copy") == "reinitialised") & (pl.col("measure") == "choice")).height


def test_effects_are_means_over_topics_of_the_attributed_logits(recall):
    """Parts add up: attributions of a prompt sum to its pi, up to what no part brings; pi is the same in all tables."""
    knows = recall.raw["knowledge_prompts"].filter((pl.col("copy") == "trained") & (pl.col("shots") == 0))
    at = ["relation", "topic", "template"]
    parts = (
        recall.raw["component_prompts"]
        .filter(pl.col("copy") == "trained")
        .group_by(at)
        .agg(pl.col("to_answer_mean").sum())
    )
    both = parts.join(knows, on=at)
    assert both.height == parts.height
    assert np.allclose(both["to_answer_mean"].to_numpy(), both["centred"].to_numpy(), atol=1e-3)
    moved = (
        recall.raw["effect_prompts"].filter((pl.col("copy") == "trained") & (pl.col("shots") == 0)).join(knows, on=at)
    )
    assert np.allclose(moved["base"].to_numpy(), moved["centred"].to_numpy(), atol=1e-3)


def test_the_section_shows_what_there_is(recall):
    from mnemoscope.report.recall import section
    from mnemoscope.report.recall_map import map_rows

    tables = {**recall.raw, **recall.found}
    whole = {block.id for block in section(tables).blocks if hasattr(block, "id")}
    assert {"pipeline", "map", "lens", "knowledge", "knowledge-table", "roles", "attention"} <= whole
    only = section({name: tables[name] for name in ("knowledge", "templates")})
    assert any("too little" in text for block in only.blocks for text in getattr(block, "paragraphs", ()))
    assert section({}).blocks
    rows = map_rows(recall.found["effects"], recall.found["components"])
    assert rows["map"].unique(maintain_order=True).to_list() == ["Exchanged", "Attribution"]
    assert rows.group_by("map", "copy", "facts").agg(pl.struct("layer", "head").n_unique() == pl.len())["layer"].all()


def test_interchange_pairs_are_equal_in_everything_but_the_topic(recall):
    from mnemoscope.studies.recall.asking import asked, exchanges

    for one in asked(recall.lm, recall.config)[0]:
        for shots in (0, 2):
            base, source = exchanges(recall.lm, one, 0, shots=shots)
            assert base
            for mine, other in zip(base, source, strict=True):
                assert mine.n_tokens == other.n_tokens
                assert mine.half == other.half
                assert mine.answer != other.answer
                assert mine.prompt.part("shot_topic") == other.prompt.part("shot_topic")
                assert not {mine.topic, other.topic} & set(mine.prompt.part("shot_topic"))
                assert len(mine.prompt.part("shot_topic")) == shots


def test_what_replaces_a_sender_is_the_mean_over_other_topics():
    from mnemoscope.data.prompt import Prompt
    from mnemoscope.studies.recall.carriers import other_topics
    from mnemoscope.studies.recall.question import Ask

    made = Prompt(text="x")
    same = {"relation": "r", "half": "a", "shots": 0, "prompt": made, "answer": 0, "topic_first": 0, "topic_last": 0}
    asks = [Ask(**same, template=t, topic=topic, n_tokens=1) for t in (0, 1) for topic in ("a", "b", "c")]
    weights = other_topics(asks, asks)
    assert weights[0].tolist() == [0, 0.5, 0.5, 0, 0, 0]
    assert weights[4].tolist() == [0, 0, 0, 0.5, 0, 0.5]


def test_known_is_decided_on_other_templates():
    from mnemoscope.studies.recall.knowledge_summary import known

    right = {"t": (True, False, False), "u": (True, True, False), "v": (False, True, True)}
    raw = pl.DataFrame(
        [
            {
                "copy": "trained",
                "relation": "r",
                "topic": topic,
                "template": i,
                "shots": 0,
                "place": 0.0 if good else 1.0,
                "rank": 3.0,
            }
            for topic, row in right.items()
            for i, good in enumerate(row)
        ]
    )
    told = {topic: rows["known"].to_list() for (topic,), rows in known(raw).group_by("topic")}
    assert told == {"t": [False, True, True], "u": [True, True, True], "v": [True, True, True]}
    assert known(raw.filter(pl.col("template") == 0))["known"].to_list() == [None] * 3


def test_the_share_of_few_is_cross_fitted():
    """Two heads carry everything in half a, two others in half b: the heads of the other half hold nothing."""
    from mnemoscope.studies.recall.claims import share_of_few
    from mnemoscope.studies.recall.units import Units

    rng = np.random.default_rng(0)
    values = rng.normal(scale=1e-3, size=(20, 24))
    values[:10, :2] -= 1
    values[10:, :2] -= 1
    n = np.full(24, 20)
    cells = pl.DataFrame({"layer": range(24), "head": [0] * 24})
    topics = np.array([f"t{i}" for i in range(20)], dtype=object)
    halves = np.array(["a"] * 10 + ["b"] * 10, dtype=object)
    units = Units(values=values, n=n, relations=topics, topics=topics, halves=halves, cells=cells)
    share, size = share_of_few(units)
    assert share.estimate == pytest.approx(1, abs=0.02)
    assert size.estimate == pytest.approx(2, abs=0.02)
    values[10:, :2] += 1
    values[10:, 5:7] -= 1
    share, _ = share_of_few(units)
    assert share.estimate == pytest.approx(0, abs=0.02)


@pytest.fixture(scope="module")
def letters():
    """A random model that reads letter by letter (but u' is one token): answers share a space, topics have many tokens."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from mnemoscope.model.lm import view

    signs = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.,"
    vocabulary = {sign: i for i, sign in enumerate((*signs, "u'"))}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[("u", "'")])))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, vocab_size=len(vocabulary), max_position_embeddings=40)
    return view(LlamaForCausalLM(config).eval(), tokenizer, name="letters")


def facts_file(path, rows):
    lines = [
        {
            "text": template.replace("{topic}", topic),
            "spans": {"topic": topic},
            "answer": " " + answer,
            "labels": {"relation": relation},
        }
        for relation, template, topic, answer in rows
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return str(path)


CAPITALS = [("Peru", "Lima"), ("France", "Paris"), ("Italy", "Rome"), ("Portugal", "Lisbon"), ("Cuba", "Havana")]


def test_answers_are_told_apart_behind_what_they_share(letters, tmp_path):
    from mnemoscope.studies.recall.asking import asked, asks
    from mnemoscope.studies.recall.config import Config

    rows = [("capital", "The seat of {topic} is", *pair) for pair in CAPITALS]
    rows += [("lonely", "The home of {topic} is", "Bob", "Ulm")]
    rows += [("long", "It is well known that the seat of {topic} is", *pair) for pair in CAPITALS[:3]]
    kings = [("Peru", "Ana"), ("France", "Bob"), ("Italy", "Cid")]
    rows += [("king", "{topic}'s king is", *pair) for pair in kings]
    config = Config(data=facts_file(tmp_path / "facts.jsonl", rows), templates=1)
    found, left = asked(letters, config)
    one, king = found
    assert [fact.topic for fact in king.facts] == ["France", "Italy"]
    (merged,) = (case for case in left if case.id == "king / Peru")
    assert "u'" in merged.detail  # the token that is half topic, half template
    assert one.shared == " "
    assert set(one.answers) == {"Paris", "Rome", "Havana"}
    said = {(case.id, case.reason) for case in left}
    assert {("capital / Lima", "answers begin with the same token"), ("lonely", "too few topics")} <= said
    (long,) = (case for case in left if case.id == "long / It is well known that the seat of {topic} is")
    assert all(topic in long.detail for topic in ("Peru", "France", "Italy"))  # over the context: each is named
    for ask in asks(letters, one, 0):
        assert ask.prompt.text.endswith("is ")
        decode = letters.tokenizer.decode
        assert decode([ask.answer]) == one.fact(ask.topic).answer[0]
        assert (decode([ask.topic_first]), decode([ask.topic_last])) == (ask.topic[0], ask.topic[-1])


def test_a_demonstration_that_is_merged_with_its_template_is_only_text(letters, tmp_path):
    """Peru cannot be asked for (u' is one token), but it may stand in front: its job failed once."""
    from mnemoscope.model.batch import tokenize
    from mnemoscope.studies.recall.asking import asked, asks
    from mnemoscope.studies.recall.config import Config

    rows = [("king", "{topic}'s king is", *pair) for pair in (("Peru", "Ana"), ("Mali", "Bob"), ("Oman", "Cid"))]
    config = Config(data=facts_file(tmp_path / "facts.jsonl", rows), templates=1)
    (one,) = asked(letters, config)[0]
    some = [case for seed in range(6) for case in asks(letters, one, 0, shots=1, seed=seed)]
    behind = [case for case in some if case.prompt.text.startswith("Peru")]
    assert behind
    assert "shot_topic" not in behind[0].prompt.spans
    assert any("shot_topic" in case.prompt.spans for case in some)
    batch = tokenize(letters, [case.prompt for case in some])  # raised before
    assert all(ranges for ranges in batch.spans["topic"])


def test_long_templates_are_quoted_by_their_ends():
    from mnemoscope.studies.recall.question import LONGEST, Frame

    frame = Frame(template="word " * 300 + "of {topic} is")
    assert len(frame.quoted) < 2 * LONGEST + 10
    assert frame.quoted.endswith("of {topic} is")
    assert Frame(template="of {topic} is").quoted == "of {topic} is"


def test_nothing_can_be_asked_and_nothing_is_known(letters, tmp_path):
    from mnemoscope.errors import DataError
    from mnemoscope.studies.recall.config import Config
    from mnemoscope.studies.recall.prompts import plan

    rows = [("capital", "The seat of {topic} is", topic, "Lima") for topic in ("Peru", "Chile")]
    config = Config(data=facts_file(tmp_path / "none.jsonl", rows))
    with pytest.raises(DataError, match="capital: fewer than two facts"):
        plan(config, letters)
    rows = [("capital", "The seat of {topic} is", *pair) for pair in CAPITALS]
    config = Config(data=facts_file(tmp_path / "facts.jsonl", rows))
    assert {job.args["kind"] for job in plan(config, letters)} == {"listing", "knowledge"}
    found = inferred(measured(letters, config), config)
    assert set(found["claims"]["verdict"]) == {"not testable"}
    assert any("knows (nearly) nothing" in text for text in found["headlines"]["text"])


@pytest.mark.slow
def test_random_weights_have_effects_at_the_nominal_rate_only(letters, tmp_path):
    """Redrawn weights 60 times: the largest effect of the interchange map is significant in no more than 5% of them."""
    import torch

    from mnemoscope.results.job import Job
    from mnemoscope.studies.recall.asking import asked
    from mnemoscope.studies.recall.carriers import measure_interchange
    from mnemoscope.studies.recall.carriers_summary import effects
    from mnemoscope.studies.recall.config import Config

    signs = "bcdfghjklmnprstvwz"
    topics = [f"{a}o{b}" for a in signs for b in "dl"][:24]
    rows = [
        ("taste", "It is {topic}", topic, answer)
        for topic, answer in zip(topics, "ABCDEFGHIJKLMNOPQRSTUVWX", strict=True)
    ]
    config = Config(data=facts_file(tmp_path / "facts.jsonl", rows), templates=1, limit=24)
    (one,) = asked(letters, config)[0]
    told = pl.DataFrame(schema={"relation": pl.String, "topic": pl.String, "template": pl.Int64, "known": pl.Boolean})
    args = {"kind": "interchange", "copy": "reinitialised", "names": [one.name], "relation": one.name}
    hits = 0
    for seed in range(60):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in letters.model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.3)
        job = Job(id="x", args={**args, "n_templates": 1, "shots": 0})
        raw = measure_interchange(job, config, lambda which=None: letters)["effect_prompts"]
        found = effects(raw, told, Config(seed=seed))
        hits += bool((found["p_maxt"] < 0.05).any())
    assert hits <= 7  # 97.5% point of 60 draws at .05
