"""The evaluation gives a perfect reader full marks and a constant one chance; its intervals are the textbook's."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mnemoscope.data import episodes
from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import InputError, LoadError
from mnemoscope.reference import evaluate, figures, world
from mnemoscope.reference.subject import Subject


class Oracle(Subject):
    """Knows every answer; `wrong` makes it say the first foil instead."""

    wrong = False

    def _said(self, prompt: Prompt) -> str:
        return prompt.foils[0] if self.wrong and prompt.foils else prompt.answer

    def next_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        return [self.first(p, self._said(p)) for p in prompts]

    def continued(self, prompts: Sequence[Prompt], tokens: int) -> list[str]:
        return [self._said(p) for p in prompts]


@pytest.fixture
def oracle() -> Any:
    return Oracle(None, world.tokenizer())


def test_a_perfect_reader_gets_full_marks(oracle: Any) -> None:
    rows = (
        evaluate.known_facts(oracle, 30) + evaluate.word_pairs(oracle, 18, (0, 20)) + evaluate.comprehension(oracle, 12)
    )
    rows += evaluate.lines(oracle, 16)
    for row in rows:
        perfect = 0.0 if "error" in row.measure or "failure" in row.measure else 1.0
        assert row.estimate == perfect, row


def test_a_reader_who_always_errs_stays_legal(oracle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Oracle, "wrong", True)
    rows = {(r.ability, r.measure): r.estimate for r in evaluate.word_pairs(oracle, 16, (20,))}
    assert all(rows[task, "format"] == 1.0 and rows[task, "accuracy"] == 0.0 for task in episodes.TASKS)
    # gold ff, fm, mf, mm: said fm, ff, ff, ff
    assert (rows["four_fruit_month", "left agrees"], rows["four_fruit_month", "right agrees"]) == (0.5, 0.25)
    content = [r for r in evaluate.comprehension(oracle, 12) if r.measure == "content error"]
    assert all(r.estimate == 1.0 for r in content)


def test_chance_is_what_a_blind_guess_gets() -> None:
    rng = np.random.default_rng(0)
    prompts = episodes.pair_design("four_fruit_month", shots=0, count=4000, rng=rng)
    guesses = [(p.answer, *p.foils)[int(rng.integers(4))] == p.answer for p in prompts]
    assert abs(np.mean(guesses) - 0.25) < 0.03


def test_the_interval_of_a_share_is_wilsons() -> None:
    row = figures.share("a", "b", "c", [True] * 37 + [False] * 13, 0.5, "")
    z, p, n = stats.norm.ppf(0.975), 0.74, 50
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert (row.low, row.high, row.n) == (pytest.approx(centre - half), pytest.approx(centre + half), 50)


def test_the_interval_of_a_mean_is_students_and_skips_what_is_not_finite() -> None:
    x = np.random.default_rng(0).normal(size=30)
    row = figures.mean("a", "b", "c", [*x, float("nan")], 0.0, "")
    low, high = stats.ttest_1samp(x, 0.0).confidence_interval()
    assert (row.low, row.high, row.n) == (pytest.approx(low), pytest.approx(high), 30)


def test_trivial_rules_for_lines() -> None:
    prompt = episodes.line_prompt(
        "small_integers", slope=3.0, intercept=2.0, shots=2, rng=np.random.default_rng(0), shown=(1.0, 8.0), query=7.0
    )
    assert {name: round(rule(prompt), 6) for name, rule in evaluate._RULES.items()} == {
        "nearest x": 26.0,
        "mean y": 15.5,
        "least squares": 23.0,
    }


def test_what_cannot_be_evaluated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no config\.json .* try: python -m mnemoscope\.reference\.bundle"):
        evaluate.evaluate(tmp_path)
    with pytest.raises(InputError, match="at least 2"):
        evaluate.evaluate(tmp_path, count=1)


@pytest.mark.slow
def test_the_evaluation_loads_nothing_of_the_engine() -> None:
    """So that the model card does not depend on what it is used to test."""
    said = "import sys, mnemoscope.reference.evaluate; print(*{m.split('.')[1] for m in sys.modules if m[:11] == 'mnemoscope.'})"
    loaded = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) == {"data", "errors", "reference"}
