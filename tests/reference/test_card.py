"""The card says yes and no where targets are met and missed; the shipped one is what the code writes, and its prose is true."""

import json
import re

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemoscope.data import episodes
from mnemoscope.model import bundled
from mnemoscope.reference import card, world
from mnemoscope.reference.card_targets import TARGETS, found, verdicts
from mnemoscope.reference.card_text import INTRO, KNOWN, SIBLINGS
from mnemoscope.reference.train_config import PRESETS


@pytest.fixture(scope="module")
def shipped() -> str:
    return (bundled.home() / "MODEL_CARD.md").read_text(encoding="utf-8")


def cells(text: str, width: int) -> list[list[str]]:
    """The rows of all tables of that many columns in a piece of the card."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.split("\n") if line.startswith("|")]
    return [row for row in rows if len(row) == width and row[0] != "---"]


@pytest.fixture(scope="module")
def final(shipped: str) -> list[dict[str, str | int | float | None]]:
    """The evaluation of the last checkpoint, read back from the card's own table of all figures."""
    part = shipped.partition("## All figures")[2].partition("\n## ")[0]
    rows = []
    for ability, condition, measure, n, interval, baseline, versus in cells(part, 7)[1:]:
        estimate, *ends = [float(x) for x in re.findall(r"-?\d+\.\d+", interval)]
        low, high = ends or (estimate, estimate)
        row = {"ability": ability, "condition": condition, "measure": measure, "n": int(n)}
        value = float(baseline) if baseline else None
        rows.append({**row, "estimate": estimate, "low": low, "high": high, "baseline": value, "versus": versus})
    return rows


@pytest.fixture(scope="module")
def curve(shipped: str) -> dict[int, list[float]]:
    """Step -> the values of the curves."""
    part = shipped.partition("![curves]")[2].partition("\n## ")[0]
    return {int(step): [float(x) for x in values] for step, *values in cells(part, 1 + len(card.CURVES))[1:]}


def test_yes_and_no_stand_where_targets_are_met_and_missed(final) -> None:
    def but(rows, ability, condition, measure, **changed):
        key = (ability, condition, measure)
        return [{**r, **changed} if (r["ability"], r["condition"], r["measure"]) == key else r for r in rows]

    poor = but(final, "copying", "second copy of 64", "nats", estimate=0.6)
    poor = but(poor, "four_fruit_month", "0 shots", "accuracy", estimate=0.3, low=0.24, high=0.37)
    poor = but(poor, "comprehension", "1 distractors, 0 examples", "right", high=1.0)
    poor = but(poor, "narrative", "tokens 490-510 minus 40-60", "nats", high=0.01)
    blind = [{**row, "estimate": 0.0} for row in final]
    siblings = {"seed1": {0: blind, 50: final, 100: final}, "seed2": {0: blind, 50: blind, 100: blind}}
    run = {"steps": 100, "config": {"seed": 0, "rows": 0.75}}
    text = card.card(poor, {0: poor, 100: poor}, siblings, run)
    assert "| four-class pairs, 20 shots | 50 | - |" in text
    assert "First of the checkpoints (0, 50, 100)" in text
    assert (
        "| four_fruit_month | 20 shots | accuracy | 200 | 0.250 | 1.000 [0.981, 1.000] | 0.000 [0.981, 1.000] |" in text
    )
    missed = [line.split(" | ")[:3] for line in text.split("\n") if line.endswith("| NO |")]
    assert [line[0].strip("| ") for line in missed] == ["copying", "narrative", "four_fruit_month", "comprehension"]
    assert text.count("| yes |") == len(verdicts(final)) - 4 == len(TARGETS) + 2 + 4 + 3 - 4


def test_the_shipped_card_is_what_the_code_writes(shipped, final, curve) -> None:
    settings = dict(cells(shipped.partition("Configuration:")[2].partition("\n## ")[0], 2)[1:])
    config, steps = PRESETS["bundled"]
    assert {name: settings[name] for name in vars(config)} == {name: str(value) for name, value in vars(config).items()}
    assert f"\n{steps} steps; 30 relations with 1150 facts" in shipped
    series = {0: [{**r, "n": 200 if r["ability"] == "facts" else 100} for r in final]}
    for part in (INTRO, KNOWN, SIBLINGS, card.mixture_table(config.rows), card.target_table(final)):
        assert part in shipped
    assert card.curves_note(final, series) in shipped
    assert card.full_table(final) in shipped
    assert tuple(f"step{step}" for step in curve) == bundled.revisions()
    assert all(met for *_, met in verdicts(final))


def test_every_figure_has_n_and_interval_and_every_ability_a_baseline(final) -> None:
    """n at least 200 a cell; a baseline stands wherever a score could be had by guessing."""
    for row in final:
        assert row["n"] >= 200
        assert row["low"] <= row["estimate"] <= row["high"]
        assert row["baseline"] is not None or "error" in row["measure"] or row["measure"] == "parse failure"
    for task, held in episodes.TASKS.items():
        assert found(final, task, "20 shots", "accuracy")["baseline"] == pytest.approx(1 / len(held.classes), abs=5e-4)


def test_figures_of_siblings_have_n_baseline_and_interval(shipped) -> None:
    head, *rows = cells(shipped.partition("## Smaller siblings")[2], 8)
    assert head[3:] == ["n", "baseline", "seed1 [95%]", "seed2 [95%]", "seed3 [95%]"]
    assert [tuple(row[:3]) for row in rows] == [key[:3] for key in TARGETS] + [("line", "8 points", "absolute error")]
    for row in rows:
        assert int(row[3]) >= 200
        for figure in row[5:]:
            estimate, low, high = (float(x) for x in re.findall(r"-?\d+\.\d+", figure))
            assert low <= estimate <= high


def test_figures_in_the_prose_are_those_of_the_tables(final, curve) -> None:
    def value(*key):
        return found(final, *key)["estimate"]

    nine, four = "nine_fruit_animal_month", "four_fruit_month"
    assert (value(nine, "20 shots", "left agrees"), value(nine, "20 shots", "right agrees")) == (0.715, 1.0)
    assert value(four, "20 shots", "left agrees") == value(four, "20 shots", "right agrees") == 1.0
    at = [name for name, *_ in card.CURVES].index("four-class pairs, 20 shots")
    assert (curve[3500][at], curve[3800][at]) == (0.56, 0.99)
    true = {p: [value("persona", f"{p}, {k} examples", "true") for k in (0, 1)] for p in episodes.PERSONAS}
    assert (true["truthful_deceitful"], true["deceitful"], true["truthful"][1]) == ([0.59, 0.6], [0.655, 0.845], 0.89)
    for n in (1, 2, 3):
        assert value("comprehension", f"{n} distractors, 0 examples", "content error") == 0.0
        assert value("comprehension", f"{n} distractors, 0 examples", "right") == pytest.approx(1 / 3, abs=0.02)
    errors = [value("line", f"{k} points", "absolute error") for k in (2, 4, 8)]
    assert errors[0] > errors[1] > errors[2] == 0.0
    config, steps = PRESETS["bundled"]
    assert round(steps * (1 - config.cooldown)) == 1575


def test_what_the_card_says_of_step_0() -> None:
    """Attention of the seeded heads to the right token in repeated spans: .12 against .08 for 8 words, .03 against .02 for 32."""
    folder = bundled.path("step0")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    coder = AutoTokenizer.from_pretrained(folder)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 1.38
    for span, best, even in ((8, 0.12, 0.08), (32, 0.03, 0.02)):
        rng = np.random.default_rng(1)
        texts = [episodes.span_prompt(world.span_words(), span, rng).text for _ in range(60)]
        ids = coder(texts, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model(input_ids=ids, output_attentions=True)
        queries = torch.arange(span + 1, 2 * span)
        paid = [out.attentions[layer][:, :, queries, queries - span + 1].mean((0, 2)) for layer in (1, 2)]
        assert round(max(p.max().item() for p in paid), 2) == best
        assert round((1 / (queries + 1)).mean().item(), 2) == even
        previous = out.attentions[0].diagonal(offset=-1, dim1=-2, dim2=-1).mean((0, 2))
        assert ((previous > 0.4) == torch.tensor([True, True, False, False])).all()
        copied = out.logits[:, span:-1].argmax(-1) == ids[:, span + 1 :]
        assert copied.float().mean() < 0.02


def test_lines_that_are_asked_are_among_those_that_are_trained() -> None:
    trained = {(a, b) for a, b in world.LINES}
    assert len(trained) == 50
    assert set(episodes.PRESETS["small_integers"].lines) < trained


def test_the_configuration_of_the_shipped_model_says_what_the_card_says() -> None:
    held = json.loads((bundled.path() / "config.json").read_text())
    said = {"num_hidden_layers": 4, "hidden_size": 128, "num_attention_heads": 4, "head_dim": 32}
    assert said.items() <= held.items()
    assert held["max_position_embeddings"] == 768
    assert not held["tie_word_embeddings"]
