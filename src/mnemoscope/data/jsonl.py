"""Our plain format: one JSON object on each line; a prompt, a fact, a document with triples, or all at once.

    {"text": "The capital of France is", "spans": {"topic": "France"}, "answer": " Paris", "labels": {"relation": "capital"}}
    {"text": "The ink of a pen dries.", "triples": [["pen", "part-of", "ink"]]}

Only `text` is needed. A place in the text is given as characters, [start, stop) counted from 0, or as the words
themselves, which must then occur exactly once (a triple whose words do not is left out and listed); several places are a list
of such. `answer` and `foils` stand as they would behind the text, leading space included. `mentions` ({"at": place, "type":
"tool", "entity": "pen"}) add what tails are compared with; the ends of triples are mentions without being listed. An unknown
key is an error. Everything that is wrong in a file is said at once, with line numbers.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from mnemoscope.data.document import Corpus, Document, Mention, Triple, Word
from mnemoscope.data.files import JSON, json_lines
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Label, Prompt, Span
from mnemoscope.data.relation import SLOT, Fact, Relation, answer_gap, template_fault
from mnemoscope.errors import DataError, MnemoscopeError, listed

EXAMPLE = (
    '{"text": "The capital of France is", "spans": {"topic": "France"}, "answer": " Paris", "foils": [" Rome"], '
    '"labels": {"relation": "capital"}}'
)
EXAMPLE_TRIPLE = '{"text": "The ink of a pen dries.", "triples": [["pen", "part-of", "ink"]]}'
PROMPT_KEYS = ("id", "text", "spans", "answer", "foils", "labels")
DOCUMENT_KEYS = ("unit", "mentions", "triples", "words", "source_anchor", "target_anchor")
Record = Mapping[str, JSON]
Made = TypeVar("Made", Prompt, Document)


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Every line as a prompt; its id (default: file name and line number) becomes the label `id`."""
    return tuple(_read(path, _prompt))


def read_documents(path: Path) -> Corpus:
    """Every line as a document; a line without triples and mentions is a plain text.

    Left out, and listed: triples with an end that is given in words and does not stand in the text exactly once.
    """
    left: list[LeftOut] = []
    made = _read(path, lambda name, record: _document(name, record, left))
    return Corpus(documents=tuple(made), left_out=tuple(left))


def read_relations(path: Path) -> tuple[tuple[Relation, ...], tuple[LeftOut, ...]]:
    """Facts out of prompts: the text with a slot for its `topic` is a template of relation labels["relation"].

    Left out, and listed: prompts without exactly one topic, without an answer or a relation, or whose answer does not
    begin with the space that our templates put there.
    """
    templates: dict[str, dict[str, None]] = {}
    facts: dict[str, dict[Fact, None]] = {}
    left: list[LeftOut] = []
    for prompt in read_prompts(path):
        name, topics = str(prompt.labels.get("relation", "")), prompt.spans.get("topic", ())
        template = prompt.text[: topics[0][0]] + SLOT + prompt.text[topics[0][1] :] if len(topics) == 1 else ""
        answer = prompt.answer.strip()
        faults = {
            "no label relation": not name,
            "not exactly one topic": not template,
            "text cannot be a template": bool(template and template_fault(template)),
            "no answer": not answer,
            "answer without its leading space": bool(template) and prompt.answer != answer_gap(template) + answer,
        }
        if reason := next((fault for fault, holds in faults.items() if holds), ""):
            left.append(LeftOut(id=str(prompt.labels["id"]), reason=reason, detail=prompt.text))
            continue
        foils = tuple(foil.strip() for foil in prompt.foils)
        templates.setdefault(name, {})[template] = None
        facts.setdefault(name, {})[Fact(topic=prompt.part("topic")[0], answer=answer, foils=foils)] = None
    return tuple(Relation(name=n, templates=tuple(templates[n]), facts=tuple(facts[n])) for n in facts), tuple(left)


def write(path: Path, items: Iterable[Prompt | Document]) -> None:
    """Write prompts and documents, one on each line; reading gives them back."""
    lines = [json.dumps(_record(item), ensure_ascii=False) for item in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read(path: Path, make: Callable[[str, Record], Made]) -> list[Made]:
    bad: list[str] = []
    made: list[Made] = []
    first: dict[str, int] = {}
    for line, record in json_lines(path, bad):
        try:
            _known(record)
            name = str(record.get("id") or f"{path.stem}:{line}")
            if first.setdefault(name, line) != line:
                raise ValueError(f"id {name!r} stands on line {first[name]} already")
            made.append(make(name, record))
        except MnemoscopeError as reason:
            bad.append(f"line {line}: {reason}")
        except ValueError as reason:
            bad.append(f"line {line}: {reason}")
    if bad or not made:
        raise DataError(
            f"{path} is not in our JSON-lines format" if bad else f"{path} is empty",
            found=listed(bad),
            allowed=f"lines like {EXAMPLE_TRIPLE if make is not _prompt else EXAMPLE}",
            hint="mend these lines or take them out" if bad else "",
        )
    return made


def _known(record: Record) -> None:
    unknown = [key for key in record if key not in PROMPT_KEYS + DOCUMENT_KEYS]
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(PROMPT_KEYS + DOCUMENT_KEYS)}")
    if not isinstance(record.get("text"), str) or not record["text"]:
        raise ValueError("no text")


def _prompt(name: str, record: Record) -> Prompt:
    text = str(record["text"])
    spans = record.get("spans") or {}
    if not isinstance(spans, dict):
        raise ValueError('"spans" is not an object of role and place')
    return Prompt(
        text=text,
        spans={role: _places(text, places, role) for role, places in spans.items()},
        answer=_string(record, "answer"),
        foils=tuple(_strings(record, "foils")),
        labels={**_labels(record), "id": name},
    )


def _document(name: str, record: Record, left: list[LeftOut]) -> Document:
    text = str(record["text"])
    listed_mentions = [_mention(text, item) for item in _items(record, "mentions")]
    ends: list[tuple[Span, Span, str, str]] = []
    for item in _items(record, "triples"):
        relation = _relation(item)
        try:
            ends.append(_ends(text, item))
        except _NotOnce as reason:
            left.append(LeftOut(id=f"{name} {relation}", reason=reason.fault, detail=json.dumps(reason.words)))
    at = {mention.span: mention for mention in listed_mentions}
    for head, tail, *_ in ends:
        for span in (head, tail):
            at.setdefault(span, Mention(span=span, entity=text[slice(*span)].lower()))
    order = sorted(at)
    index = {span: i for i, span in enumerate(order)}
    anchors = {key: _string(record, key) for key in ("source_anchor", "target_anchor") if key in record}
    return Document(
        id=name,
        unit=_string(record, "unit"),
        text=text,
        mentions=tuple(at[span] for span in order),
        triples=tuple(Triple(head=index[h], relation=name, tail=index[t], subtype=sub) for h, t, name, sub in ends),
        words=tuple(_word(item) for item in _items(record, "words")),
        labels=_labels(record),
        **anchors,
    )


def _places(text: str, value: JSON, what: str) -> tuple[Span, ...]:
    several = isinstance(value, list) and not _is_span(value)
    return tuple(_place(text, item, what) for item in (value if isinstance(value, list) and several else [value]))


def _is_span(value: JSON) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)


def _place(text: str, value: JSON, what: str) -> Span:
    if isinstance(value, list) and _is_span(value):
        start, stop = (end for end in value if isinstance(end, int))
        if not 0 <= start < stop <= len(text):
            raise ValueError(f"{what} at [{start}, {stop}) is outside the {len(text)} characters of the text")
        return start, stop
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} {json.dumps(value)} is neither [start, stop] nor words of the text")
    left = r"(?<!\w)" if value[0].isalnum() else ""
    right = r"(?!\w)" if value[-1].isalnum() else ""
    found = [match.span() for match in re.finditer(left + re.escape(value) + right, text)]
    if len(found) != 1:
        raise _NotOnce(what, value, len(found))
    return found[0]


class _NotOnce(ValueError):
    """Words that do not stand in the text exactly once; `fault` is the sentence by which such cases are counted."""

    def __init__(self, what: str, words: str, times: int) -> None:
        super().__init__(f"{what} {words!r} occurs {times} times in the text; give [start, stop]")
        self.words, self.fault = words, "entity occurs more than once" if times else "entity does not occur"


def _relation(item: JSON) -> str:
    """The relation of a triple. Raises ValueError where it is not one."""
    parts = item if isinstance(item, list) else []
    names = [part for part in (parts[1:2] + parts[3:]) if isinstance(part, str) and part.strip()]
    if len(parts) not in (3, 4) or len(names) != len(parts) - 2:
        raise ValueError(
            f"triple {json.dumps(item)} is not [head, relation, tail] or [head, relation, tail, subtype], names not empty"
        )
    return names[0]


def _ends(text: str, item: JSON) -> tuple[Span, Span, str, str]:
    assert isinstance(item, list)
    subtype = str(item[3]) if len(item) == 4 else ""
    return _place(text, item[0], "head"), _place(text, item[2], "tail"), _relation(item), subtype


def _mention(text: str, item: JSON) -> Mention:
    if not isinstance(item, dict) or not {"at"} <= set(item) <= {"at", "type", "entity"}:
        raise ValueError(f'mention {json.dumps(item)} is not {{"at": place, "type": ..., "entity": ...}}')
    span = _place(text, item["at"], "mention")
    return Mention(span=span, entity=_string(item, "entity") or text[slice(*span)].lower(), type=_string(item, "type"))


def _word(item: JSON) -> Word:
    if not isinstance(item, list) or len(item) != 3 or not _is_span(item[:2]) or not isinstance(item[2], str):
        raise ValueError(f"word {json.dumps(item)} is not [start, stop, part of speech]")
    start, stop = (end for end in item[:2] if isinstance(end, int))
    return Word(span=(start, stop), upos=item[2])


def _items(record: Record, key: str) -> list[JSON]:
    value = record.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f'"{key}" is not a list')
    return value


def _string(record: Record, key: str) -> str:
    value = record.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f'"{key}" is not a string')
    return value


def _strings(record: Record, key: str) -> list[str]:
    return [value if isinstance(value, str) else _string({key: value}, key) for value in _items(record, key)]


def _labels(record: Record) -> dict[str, Label]:
    value = record.get("labels") or {}
    plain = (
        {k: v for k, v in value.items() if isinstance(v, str | int | float | bool)} if isinstance(value, dict) else {}
    )
    if not isinstance(value, dict) or len(plain) < len(value):
        raise ValueError('"labels" is not an object of strings, numbers and truth values')
    return plain


def _record(item: Prompt | Document) -> dict[str, object]:
    labels = {key: value for key, value in item.labels.items() if key != "id"}
    if isinstance(item, Prompt):
        spans = {role: [list(span) for span in ranges] for role, ranges in item.spans.items()}
        given = {"id": item.labels.get("id", ""), "text": item.text, "spans": spans, "answer": item.answer}
        record = {**given, "foils": list(item.foils), "labels": labels}
    else:
        mentions = [{"at": list(m.span), "type": m.type, "entity": m.entity} for m in item.mentions]
        at = [list(m.span) for m in item.mentions]
        record = {
            "id": item.id,
            "unit": item.unit,
            "text": item.text,
            "mentions": mentions,
            "triples": [[at[t.head], t.relation, at[t.tail], *filter(None, [t.subtype])] for t in item.triples],
            "words": [[*word.span, word.upos] for word in item.words],
            "source_anchor": item.source_anchor,
            "target_anchor": item.target_anchor,
            "labels": dict(item.labels),
        }
    return {key: value for key, value in record.items() if value}
