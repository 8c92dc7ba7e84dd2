"""ParaRel-style patterns with [X] and [Y], and the facts that go with them (Elazar et al. 2021).

Patterns: one JSON line each, {"pattern": "The capital of [X] is [Y]."}. Facts: one JSON line each, {"sub_label", "obj_label"}.
A language model reads from left to right, so a pattern is of use only if nothing but punctuation stands behind [Y]; the
others are left out and listed. A folder holds `pattern_data/graphs_json/NAME.jsonl` and `trex_lms_vocab/NAME.jsonl`.
"""

import re
from pathlib import Path

from mnemoscope.data.files import json_lines, words
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.relation import SLOT, Fact, Relation, template_fault
from mnemoscope.errors import DataError, listed

PATTERNS = "graphs_json"
FACTS = "trex_lms_vocab"
Relations = tuple[tuple[Relation, ...], tuple[LeftOut, ...]]


def read(patterns: Path, facts: Path) -> tuple[Relation, tuple[LeftOut, ...]]:
    """Read the patterns and the facts of one relation, named after the pattern file.

    Raises DataError listing every malformed line of either file, and if nothing usable is left.
    """
    left: list[LeftOut] = []
    templates: list[str] = []
    for line, (pattern,) in _fields(patterns, "pattern"):
        template = template_of(pattern)
        if template:
            templates.append(template)
        else:
            left.append(
                LeftOut(id=f"{patterns.name}:{line}", reason="[Y] is not the end of the pattern", detail=pattern)
            )
    told = [Fact(topic=topic, answer=answer) for _, (topic, answer) in _fields(facts, "sub_label", "obj_label")]
    relation = Relation(
        name=patterns.stem, templates=tuple(dict.fromkeys(templates)), facts=tuple(told), kind="factual"
    )
    return relation, tuple(left)


def read_folder(folder: Path) -> Relations:
    """Read every relation of a ParaRel folder; relations with patterns but without facts are left out and listed."""
    roots = {name: next(iter(sorted(folder.rglob(name))), None) for name in (PATTERNS, FACTS)}
    patterns, facts = roots[PATTERNS], roots[FACTS]
    if patterns is None or facts is None:
        missing = [name for name, root in roots.items() if root is None]
        raise DataError(
            f"{folder} is not a ParaRel folder",
            found="no folder " + listed(missing),
            allowed=f"folders {PATTERNS} and {FACTS}",
        )
    relations: list[Relation] = []
    left: list[LeftOut] = []
    for file in sorted(patterns.glob("*.jsonl")):
        if (facts / file.name).is_file():
            relation, missing = read(file, facts / file.name)
            relations.append(relation)
            left += missing
        else:
            left.append(LeftOut(id=file.stem, reason="patterns without facts"))
    return tuple(relations), tuple(left)


def template_of(pattern: str) -> str:
    """The part of a pattern that stands before [Y], with `{topic}` for [X]; "" if [Y] is not its end.

    >>> template_of("The capital of [X] is [Y] .")
    'The capital of {topic} is'
    """
    found = re.fullmatch(r"(.*)\[Y\]\s*[.!]?\s*", pattern.strip())
    if not found or pattern.count("[X]") != 1:
        return ""
    template = found.group(1).strip().replace("[X]", SLOT)
    return "" if template_fault(template) else template


def _fields(path: Path, *names: str) -> list[tuple[int, tuple[str, ...]]]:
    bad: list[str] = []
    found: list[tuple[int, tuple[str, ...]]] = []
    for line, record in json_lines(path, bad):
        values = tuple(words(record, name) for name in names)
        if all(values):
            found.append((line, values))
        else:
            bad.append(
                f"line {line}: no " + " or ".join(name for name, value in zip(names, values, strict=True) if not value)
            )
    if bad or not found:
        raise DataError(
            f"{path} cannot be read", found=listed(bad) or "no line", allowed="JSON lines with " + ", ".join(names)
        )
    return found
