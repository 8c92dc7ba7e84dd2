"""LRE relations: one JSON file per relation with templates and {subject, object} samples (Hernandez et al. 2024).

`prompt_templates` are few-shot templates, `prompt_templates_zs` stand alone; both have one `{}` where the subject goes. All
of them become templates, those without demonstrations first, since each is a complete sentence.
"""

from pathlib import Path

from mnemoscope.data.files import JSON, objects, read_json, several, words
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.relation import SLOT, Fact, Relation, template_fault
from mnemoscope.errors import DataError, listed


def is_relation(value: JSON) -> bool:
    """Whether a JSON value looks like an LRE relation."""
    return isinstance(value, dict) and "samples" in value and "prompt_templates" in value


def read(path: Path) -> tuple[tuple[Relation, ...], tuple[LeftOut, ...]]:
    """Read one LRE file, or all of a folder and its subfolders, in the order of their names.

    Samples without subject or object and templates without a single slot are left out and listed. Raises DataError
    listing every file that is no LRE relation.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    values = [(file, read_json(file)) for file in files]
    bad = [file.name for file, value in values if not is_relation(value)]
    if bad or not values:
        raise DataError(
            f"{path} is not a folder of LRE relations",
            found=listed(bad) or "no .json file",
            allowed='JSON objects with "name", "prompt_templates" and "samples"',
        )
    left: list[LeftOut] = []
    relations = [_relation(file, value, left) for file, value in values if isinstance(value, dict)]
    return tuple(relations), tuple(left)


def _relation(file: Path, value: dict[str, JSON], left: list[LeftOut]) -> Relation:
    samples = objects(value["samples"])
    pairs = [(words(sample, "subject"), words(sample, "object")) for sample in samples]
    name = words(value, "name") or file.stem
    left += [
        LeftOut(id=f"{name} / sample {i}", reason="sample without subject or object", detail=f"{topic!r} {answer!r}")
        for i, (topic, answer) in enumerate(pairs)
        if not (topic and answer)
    ]
    given = [*several(value, "prompt_templates_zs"), *several(value, "prompt_templates")]
    templates = dict.fromkeys(template.replace("{}", SLOT) for template in given)
    faults = {template: fault for template in templates if (fault := template_fault(template))}
    left += [LeftOut(id=f"{name} / {t!r}", reason="template cannot be used", detail=why) for t, why in faults.items()]
    return Relation(
        name=name,
        templates=tuple(template for template in templates if template not in faults),
        facts=tuple(Fact(topic=topic, answer=answer) for topic, answer in pairs if topic and answer),
        kind=words(value, "properties", "relation_type"),
    )
