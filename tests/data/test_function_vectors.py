"""Input/output tasks: demonstrations with other inputs, a shuffled control of equal length, foils that are wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from mnemoscope.data import function_vectors as fv
from mnemoscope.errors import DataError, OptionError

TASK = fv.Task(name="t", pairs=(("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "3")))


def test_a_prompt_shows_its_parts_where_it_says() -> None:
    made = fv.task_prompt(TASK, shots=2, query=2, rng=np.random.default_rng(0))
    one, two = made.part("demonstration")
    first, second = made.part("demonstration_label")
    assert made.text == f"Q: {one}\nA: {first}\n\nQ: {two}\nA: {second}\n\nQ: b\nA:"
    assert (made.part("query"), made.part("last"), made.answer) == (("b",), ("A:",), " 3")
    assert set(made.foils) == {" 1", " 2", " 4"}


@pytest.mark.parametrize("query", range(5))
def test_demonstrations_have_other_inputs_and_true_outputs(query: int) -> None:
    for seed in range(20):
        made = fv.task_prompt(TASK, shots=3, query=query, rng=np.random.default_rng(seed), form="colon")
        shown = list(zip(made.part("demonstration"), made.part("demonstration_label"), strict=True))
        assert TASK.pairs[query][0] not in {given for given, _ in shown}
        assert len({given for given, _ in shown}) == 3
        assert set(shown) <= set(TASK.pairs)
        assert made.labels["answer_in_shots"] == (TASK.pairs[query][1] in {output for _, output in shown})
        assert not {f" {o}" for g, o in TASK.pairs if g == TASK.pairs[query][0]} & set(made.foils)


def test_the_shuffled_control_has_the_same_words() -> None:
    true = fv.task_prompt(TASK, shots=3, query=0, rng=np.random.default_rng(1), form="arrow")
    control = fv.task_prompt(TASK, shots=3, query=0, rng=np.random.default_rng(1), form="arrow", shuffled=True)
    assert true.part("demonstration") == control.part("demonstration")
    assert sorted(true.part("demonstration_label")) == sorted(control.part("demonstration_label"))
    assert len(true.text) == len(control.text)
    assert (true.labels["condition"], control.labels["condition"]) == ("true", "shuffled")


def test_files_are_read_and_faults_listed(tmp_path: Path) -> None:
    pairs = [{"input": "a", "output": 1}, {"input": "b", "output": "x "}, {"input": "", "output": "y"}, {"input": "c"}]
    (tmp_path / "t.json").write_text(json.dumps(pairs), encoding="utf-8")
    (task,), left = fv.read_folder(tmp_path)
    assert task == fv.Task(name="t", pairs=(("a", "1"), ("b", "x")))
    assert [case.id for case in left] == ["t pair 2", "t pair 3"]
    (tmp_path / "u.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"u\.json"):
        fv.read_folder(tmp_path)
    (tmp_path / "v.json").write_text('[{"input": "a", "output": "b"}]', encoding="utf-8")
    with pytest.raises(DataError, match="two different inputs"):
        fv.read(tmp_path / "v.json")
    (tmp_path / "v.json").write_text('[{"input": "a", "output": "b"}, "c", {"input": "d", "output": "e"}]')
    with pytest.raises(DataError, match="entry 1 is a str"):
        fv.read(tmp_path / "v.json")


def test_too_many_shots_and_unknown_forms_are_refused() -> None:
    with pytest.raises(DataError, match="found: 3 other inputs"):
        fv.task_prompt(TASK, shots=4, query=0, rng=np.random.default_rng(0))
    with pytest.raises(OptionError, match="did you mean 'colon'"):
        fv.task_prompt(TASK, shots=1, query=0, rng=np.random.default_rng(0), form="colons")


def test_the_real_tasks_keep_every_pair(shared: Path) -> None:
    files = sorted((shared / "function_vectors" / "abstractive").glob("*.json"))
    tasks, left = fv.read_folder(shared / "function_vectors")
    assert left == ()
    assert {t.name: len(t.pairs) for t in tasks} == {
        f.stem: len(json.loads(f.read_text(encoding="utf-8"))) for f in files
    }
