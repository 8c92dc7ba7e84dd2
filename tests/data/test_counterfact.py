"""CounterFact and known_1000: relations by id, own prompts as templates, foils, and records that cannot be used."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import counterfact
from mnemoscope.data.relation import prompt
from mnemoscope.errors import DataError


def test_counterfact_keeps_foil_and_paraphrases_that_name_the_topic_once(tmp_path: Path) -> None:
    rewrite = {
        "prompt": "{} plays",
        "relation_id": "P1",
        "subject": "Ann",
        "target_true": {"str": "jazz"},
        "target_new": {"str": "rock"},
    }
    record = {"requested_rewrite": rewrite, "paraphrase_prompts": ["So, Ann plays", "Ann and Ann play", "Anna plays"]}
    broken = {"requested_rewrite": {**rewrite, "prompt": "plays", "target_true": {}}}
    (tmp_path / "cf.json").write_text(json.dumps([record, broken]), encoding="utf-8")
    (relation,), left = counterfact.read(tmp_path / "cf.json")
    (fact,) = relation.facts
    assert relation.templates == ("{topic} plays",)
    assert (fact.topic, fact.answer, fact.foils, fact.templates) == ("Ann", "jazz", ("rock",), ("So, {topic} plays",))
    assert prompt(relation, fact, relation.templates[0]).foils == (" rock",)
    assert [str(case) for case in left] == [
        "cf record 1: record cannot be used (no answer; template 'plays' has 0 slots {topic})"
    ]


def test_known_prompts_come_back_word_for_word(shared: Path) -> None:
    path = shared / "counterfact" / "known_1000.json"
    relations, left = counterfact.read(path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert left == ()
    asked = sorted(fact.templates[0].replace("{topic}", fact.topic) for r in relations for fact in r.facts)
    assert asked == sorted(record["prompt"] for record in raw)
    assert {r.name: len(r.facts) for r in relations} == {
        name: sum(record["relation_id"] == name for record in raw) for name in {record["relation_id"] for record in raw}
    }


def test_another_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"a": 1}]', encoding="utf-8")
    with pytest.raises(DataError, match="neither known_1000 nor CounterFact"):
        counterfact.read(tmp_path / "x.json")
