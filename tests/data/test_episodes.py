"""Designs are balanced, controls change only what they say, and nothing that is held out leaks into a training document."""

import re
from pathlib import Path

import numpy as np
import pytest

from mnemoscope.data import episodes, words
from mnemoscope.data.passages import NEUTRAL
from mnemoscope.errors import OptionError, PromptError


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _label(task: str, left: str, right: str) -> tuple[str, str]:
    kind = {w: name for name, members in words.CATEGORIES.items() for w in members}
    return kind[left], kind[right]


def test_categories_have_twelve_to_twenty_words_and_share_none() -> None:
    members = [w for m in words.CATEGORIES.values() for w in m]
    assert len(set(members)) == len(members)
    assert all(12 <= len(m) <= 20 for m in words.CATEGORIES.values())


@pytest.mark.parametrize("task", episodes.TASKS)
@pytest.mark.parametrize("shots", episodes.SHOTS)
def test_labels_follow_the_rule_and_classes_are_covered(task: str, shots: int) -> None:
    held = episodes.TASKS[task]
    for prompt in episodes.pair_design(task, shots=shots, count=2 * len(held.classes), rng=_rng(shots)):
        lines = prompt.text.split("\n")[:-1]
        assert len(lines) == shots
        digit_of: dict[tuple[str, str], str] = {}
        for line in lines:
            pair, digit = line.split(": ")
            assert digit_of.setdefault(_label(task, *pair.split(", ")), digit) == digit
            assert not episodes.held_out(*pair.split(", "))
        assert set(digit_of) <= set(held.classes)
        if shots >= len(held.classes):
            assert len(digit_of) == len(held.classes)
        query = (prompt.part("query_left")[0], prompt.part("query_right")[0])
        assert episodes.held_out(*query)
        assert f"{query[0]}, {query[1]}:" not in "\n".join(lines)
        if _label(task, *query) in digit_of:
            assert prompt.answer == f" {digit_of[_label(task, *query)]}"
        assert len({prompt.answer, *prompt.foils}) == len(held.classes)
        assert prompt.text.endswith(":")


def test_query_classes_are_balanced_and_label_digits_redrawn() -> None:
    prompts = episodes.pair_design("four_fruit_month", shots=4, count=400, rng=_rng())
    assert np.bincount([int(p.labels["class"]) for p in prompts]).tolist() == [100] * 4
    first = [p.answer for p in prompts if p.labels["class"] == 0]
    assert len(set(first)) == 10


def test_shuffled_demonstrations_keep_the_length_and_the_multiset_of_labels() -> None:
    true = episodes.pair_prompt("nine_fruit_animal_month", shots=18, query_class=2, rng=_rng(5))
    wrong = episodes.pair_prompt("nine_fruit_animal_month", shots=18, query_class=2, rng=_rng(5), shuffled=True)
    assert sorted(true.part("demonstration_label")) == sorted(wrong.part("demonstration_label"))
    assert true.part("demonstration_label") != wrong.part("demonstration_label")
    assert true.part("demonstration") == wrong.part("demonstration")


@pytest.mark.parametrize("preset", episodes.PRESETS)
@pytest.mark.parametrize("shots", [0, 2, 8])
def test_points_lie_on_the_line_and_the_query_is_not_shown(preset: str, shots: int) -> None:
    for prompt in episodes.line_design(preset, shots=shots, count=32, rng=_rng(shots)):
        a, b = float(prompt.labels["slope"]), float(prompt.labels["intercept"])
        xs, ys = prompt.part("point_x"), prompt.part("point_y")
        assert len(xs) == shots
        assert all(abs(a * float(x) + b - float(y)) < 0.06 for x, y in zip(xs, ys, strict=True))
        assert prompt.part("query_x")[0] not in xs
        assert episodes.read(prompt.answer) == float(prompt.labels["y"])
        assert abs(a * float(prompt.part("query_x")[0]) + b - episodes.read(prompt.answer)) < 0.06


def test_sixteen_lines_are_gone_through_evenly() -> None:
    prompts = episodes.line_design("small_integers", shots=4, count=256, rng=_rng())
    names = [str(p.labels["line"]) for p in prompts]
    assert len(set(names)) == 16
    assert {names.count(n) for n in names} == {16}


def test_a_query_that_is_shown_and_too_many_points_are_refused() -> None:
    with pytest.raises(PromptError, match="shown already"):
        episodes.line_prompt(
            "small_integers", slope=1.0, intercept=0.0, shots=2, rng=_rng(), shown=(1.0, 2.0), query=1.0
        )
    with pytest.raises(PromptError, match="10 x values"):
        episodes.line_prompt("small_integers", slope=1.0, intercept=0.0, shots=10, rng=_rng())


@pytest.mark.parametrize(("text", "value"), [("21)", 21.0), (" -3.5); (", -3.5), ("21", np.nan), ("x)", np.nan)])
def test_reading_a_generated_number(text: str, value: float) -> None:
    assert np.isclose(episodes.read(text), value, equal_nan=True)


@pytest.mark.parametrize("distractors", [0, 1, 2, 3])
@pytest.mark.parametrize("shots", [0, 1, 2])
def test_passages_are_counterbalanced_and_examples_share_nobody(distractors: int, shots: int) -> None:
    count = 12 * (distractors + 1)
    prompts = episodes.passage_design(distractors=distractors, shots=shots, count=count, rng=_rng())
    cells = [(str(p.labels["format"]), int(p.labels["position"])) for p in prompts]
    assert {cells.count(c) for c in cells} == {count // (3 * (distractors + 1))}
    for p in prompts:
        assert len(p.part("informative")) == 1
        assert len(p.part("distractor")) == distractors
        assert str(p.labels["activity"]) in p.part("informative")[0]
        assert str(p.labels["activity"]) in p.answer
        assert len(p.foils) == distractors
        assert p.text.endswith("Answer:")
        shown = " ".join((*p.part("demonstration"), *p.part("demonstration_answer")))
        assert str(p.labels["activity"]) not in shown
        assert f"{p.labels['name']} " not in shown


def test_the_question_does_not_say_the_format() -> None:
    shown = episodes.scene(2, 0, _rng())
    texts = {episodes.passage_prompt(shown, answer_format=form).text for form in episodes.FORMATS}
    assert len(texts) == 1


@pytest.mark.parametrize("persona", episodes.PERSONAS)
def test_persona_cells_differ_in_the_instruction_only(persona: str) -> None:
    shown = episodes.scene(1, 1, _rng())
    bare = episodes.passage_prompt(shown)
    prompt = episodes.passage_prompt(shown, persona=persona)
    assert prompt.text.endswith(bare.text)
    assert prompt.answer == bare.answer
    assert prompt.part("persona") == ((episodes.PERSONAS[persona],) if persona != "neutral" else ())


def test_shuffled_examples_have_the_form_and_not_the_content() -> None:
    for p in episodes.passage_design(distractors=2, shots=1, count=30, rng=_rng(), shuffled=True):
        name = p.part("demonstration")[0].partition("What is ")[2].partition(" ")[0]
        truth = p.part("demonstration")[0].partition(f"{name} is ")[2].partition(".")[0]
        assert truth not in p.part("demonstration_answer")[0]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (" [flying a kite].", "right"),
        (" flying a kite.", "format"),
        (" [singing a song].", "content"),
        (" it rains.", "other"),
    ],
)
def test_form_and_content_errors_are_told_apart(said: str, verdict: str) -> None:
    shown = episodes.Scene(names=("Tom", "Eva"), activities=("flying a kite", "singing a song"), asked=0)
    assert episodes.judged(said, episodes.passage_prompt(shown, answer_format="bracket")) == verdict


def test_copies_of_a_span_are_equal() -> None:
    prompt = episodes.span_prompt(words.THINGS, 30, _rng(), copies=3)
    first, second, third = prompt.part("copy")
    assert first == second == third
    assert len(set(first.split())) == 30


def test_invented_pairs_come_again_and_introductions_are_marked() -> None:
    story = episodes.invented_pairs(_rng(), pairs=4, mentions=3, letters=False)
    stated = [(t.relation, s.words[t.head].text, s.words[t.tail].text) for s in story.sentences for t in s.triples]
    assert len(stated) == 12
    assert set(stated[:4]) == set(stated[4:8]) == set(stated[8:])
    assert len(story.prompt.part("introduction")) == 4
    assert story.prompt.part("sentence") == tuple(s.text for s in story.sentences)


def test_a_narrative_has_a_vocabulary_of_its_own() -> None:
    one, two = (set(episodes.narrative(_rng(i)).prompt.text.split()) for i in range(2))
    assert len(one & two) / len(one | two) < 0.5


def test_the_same_seed_gives_the_same_prompts() -> None:
    for make in (
        lambda r: episodes.pair_design("four_fruit_month", shots=5, count=3, rng=r),
        lambda r: episodes.line_design("decimals", shots=4, count=3, rng=r),
        lambda r: episodes.passage_design(distractors=2, shots=1, count=3, rng=r),
    ):
        assert make(_rng(3)) == make(_rng(3))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match="four_fruit_month"):
        episodes.pair_design("four", shots=1, count=1, rng=_rng())
    with pytest.raises(OptionError, match="decimals"):
        episodes.line_design("decimal", shots=1, count=1, rng=_rng())


def test_conditions_of_an_item_differ_only_in_front_of_it() -> None:
    for item in episodes.passage_items(_rng(), people=4, distractors=2, draws=2):
        bare = item.asked("none")
        for condition in episodes.CONDITIONS:
            prompt = item.asked(condition)
            assert prompt.text.endswith(bare.text)
            assert (prompt.answer, prompt.foils) == (bare.answer, bare.foils)
            assert prompt.labels["condition"] == condition
        example, shuffled = item.asked("example"), item.asked("shuffled")
        assert example.part("demonstration") == shuffled.part("demonstration")
        assert example.part("demonstration_answer") != shuffled.part("demonstration_answer")


def test_names_and_activities_are_crossed_and_positions_balanced() -> None:
    items = episodes.passage_items(_rng(), people=9, distractors=2, draws=1)
    pairs = {(i.shown.names[i.shown.asked], i.shown.activity) for i in items}
    assert len(pairs) == len(items) == 81
    cells = [(i.answer_format, i.shown.asked) for i in items]
    assert {cells.count(c) for c in set(cells)} == {9}
    inside = {*words.FIRST_NAMES[:9], *words.ACTIVITIES[:9]}
    for item in items:
        assert {*item.shown.names, *item.shown.activities} <= inside
        assert not {*item.example.names, *item.example.activities} & inside


@pytest.mark.parametrize(("people", "distractors"), [(3, 2), (22, 2), (0, 0)])
def test_a_crossed_design_that_does_not_fit_is_refused(people: int, distractors: int) -> None:
    with pytest.raises(PromptError, match=r"does not fit .* allowed: "):
        episodes.passage_items(_rng(), people=people, distractors=distractors, draws=1)


def test_points_of_a_line_item_are_nested() -> None:
    for item in episodes.line_items("small_integers", _rng(), draws=2):
        few, many = item.asked(2), item.asked(8)
        assert many.part("point_x")[:2] == few.part("point_x")
        assert (few.answer, few.labels["item"]) == (many.answer, many.labels["item"])
        assert sorted(item.asked(8, shuffled=True).part("point_y")) == sorted(many.part("point_y"))


def test_a_text_in_front_moves_the_spans() -> None:
    prompt = episodes.passage_items(_rng(), people=4, distractors=2, draws=1)[0].asked()
    moved = episodes.preceded(prompt, " ".join(NEUTRAL * 4))
    assert {role: moved.part(role) for role in prompt.spans} == {role: prompt.part(role) for role in prompt.spans}
    assert len(moved.part("neutral")[0].split()) >= 20


def test_prompts_are_written_here_and_nowhere_else() -> None:
    """Studies, measures and the command line join no text into prompts; what a user types (a prompt, plain strings) is all."""
    package = Path(episodes.__file__).parents[1]
    writers = {
        file.relative_to(package).as_posix()
        for room in ("studies", "measures", "cli", "engine", "runner", "report", "model")
        for file in (package / room).rglob("*.py")
        if re.search(r"\bPrompt\(|data\.prompt import [^\n]*\b(joined|filled)\b", file.read_text(encoding="utf-8"))
    }
    assert writers == {"measures/one_prompt.py", "model/batch.py"}
