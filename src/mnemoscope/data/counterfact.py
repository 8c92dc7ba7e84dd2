"""CounterFact and known_1000: facts with the sentence that each was asked with (Meng et al. 2022).

known_1000 is a list of {subject, attribute, template, prompt, relation_id}: the prompt goes on where the template ends.
CounterFact is a list of {requested_rewrite: {prompt, subject, relation_id, target_true, target_new}, paraphrase_prompts}.
Facts of one relation_id form a relation; its templates are the different `template`s (CounterFact: `prompt`s), and each
fact keeps the sentences that were written for it alone: the known prompt, and CounterFact's paraphrases. target_new
becomes the fact's foil.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mnemoscope.data.files import JSON, objects, read_json, several, words
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.relation import SLOT, Fact, Relation, template_fault
from mnemoscope.errors import DataError, listed

Relations = tuple[tuple[Relation, ...], tuple[LeftOut, ...]]


def is_counterfact(value: JSON) -> bool:
    """Whether a JSON value looks like known_1000 or CounterFact."""
    records = objects(value)
    return bool(records) and (
        "requested_rewrite" in records[0] or {"subject", "attribute", "template"} <= set(records[0])
    )


def read(path: Path) -> Relations:
    """Read known_1000 or CounterFact. Records that cannot be used are left out and listed.

    Raises DataError if the file is neither of the two.
    """
    value = read_json(path)
    if not is_counterfact(value):
        raise DataError(
            f"{path} is neither known_1000 nor CounterFact", allowed="a list of records as in their releases"
        )
    left: list[LeftOut] = []
    facts: dict[str, list[tuple[str, Fact]]] = {}
    for number, record in enumerate(objects(value)):
        rewrite = record.get("requested_rewrite")
        relation, template, fact = _rewrite(record, rewrite) if isinstance(rewrite, dict) else _known(record)
        faults = _faults(relation, template, fact)
        if faults:
            left.append(
                LeftOut(id=f"{path.stem} record {number}", reason="record cannot be used", detail=listed(faults))
            )
        else:
            facts.setdefault(relation, []).append((template, fact))
    return tuple(_relation(name, told) for name, told in facts.items()), tuple(left)


def _relation(name: str, told: Iterable[tuple[str, Fact]]) -> Relation:
    told = list(told)
    return Relation(
        name=name,
        templates=tuple(dict.fromkeys(template for template, _ in told)),
        facts=tuple(fact for _, fact in told),
        kind="factual",
    )


def _known(record: Mapping[str, JSON]) -> tuple[str, str, Fact]:
    topic = words(record, "subject")
    own = _asking(topic, [words(record, "prompt")])
    template = words(record, "template").replace("{}", SLOT)
    return words(record, "relation_id"), template, Fact(topic=topic, answer=words(record, "attribute"), templates=own)


def _rewrite(record: Mapping[str, JSON], rewrite: Mapping[str, JSON]) -> tuple[str, str, Fact]:
    topic, foil = words(rewrite, "subject"), words(rewrite, "target_new", "str")
    fact = Fact(
        topic=topic,
        answer=words(rewrite, "target_true", "str"),
        foils=(foil,) if foil else (),
        templates=_asking(topic, several(record, "paraphrase_prompts")),
    )
    return words(rewrite, "relation_id"), words(rewrite, "prompt").replace("{}", SLOT), fact


def _asking(topic: str, sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences that name the topic exactly once, with a slot in its place."""
    found = [re.sub(rf"(?<!\w){re.escape(topic)}(?!\w)", lambda _: SLOT, sentence) for sentence in sentences if topic]
    return tuple(dict.fromkeys(template for template in found if not template_fault(template)))


def _faults(relation: str, template: str, fact: Fact) -> list[str]:
    empty = {"relation_id": relation, "subject": fact.topic, "answer": fact.answer}
    faults = [f"no {name}" for name, text in empty.items() if not text]
    return faults + ([f"template {template!r} {fault}"] if (fault := template_fault(template)) else [])
