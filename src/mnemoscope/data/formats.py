"""What is in a file or folder that a user points at: the format is recognised by its content, and refused by what was seen.

One entry of `FORMATS` per format, tried in order. Everything comes out in the nouns of this room: prompts, documents,
relations, tasks.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mnemoscope.data import agenda, conllu, counterfact, function_vectors, jsonl, lre, pararel, texts
from mnemoscope.data.document import Document
from mnemoscope.data.files import JSON, read_json, read_text
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Relation
from mnemoscope.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """What was read from one path; a format fills the fields that it knows about."""

    path: Path
    format: str
    prompts: tuple[Prompt, ...] = ()
    documents: tuple[Document, ...] = ()
    relations: tuple[Relation, ...] = ()
    tasks: tuple[Task, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many there are of each noun, of facts, triples and pairs; nouns that are absent are not named."""
        numbers = {
            "prompts": len(self.prompts),
            "documents": len(self.documents),
            "triples": sum(len(document.triples) for document in self.documents),
            "relations": len(self.relations),
            "facts": sum(len(relation.facts) for relation in self.relations),
            "tasks": len(self.tasks),
            "pairs": sum(len(task.pairs) for task in self.tasks),
            "left out": len(self.left_out),
        }
        return {name: number for name, number in numbers.items() if number}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A glance at a path: its suffix, the first line, that line as JSON, and all of a .json file.

    For a folder: `files` are the files in it, `first` is what the first .json file holds.
    """

    path: Path
    suffix: str
    line: str = ""
    first: JSON = None
    whole: JSON = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: what a user knows it by, how it is recognised, and how it is read."""

    name: str
    looks: str
    fits: Callable[[Seen], bool]
    read: Callable[[Path], DataFile]


def read(path: str | Path) -> DataFile:
    """Read a file or folder in whichever known format it is.

    Raises DataError with what was seen, and the list of formats, if it is none of them.
    """
    path = Path(path)
    seen = glance(path)
    for known in FORMATS:
        if known.fits(seen):
            return replace(known.read(path), path=path, format=known.name)
    names = ", ".join(file.name for file in seen.files[:6])
    raise DataError(
        f"{path} is in no format that we know",
        found=f"a folder of {len(seen.files)} files: {names}"
        if path.is_dir()
        else f"{seen.suffix or 'no suffix'}: {seen.line[:80]!r}",
        allowed="; ".join(f"{known.name} ({known.looks})" for known in FORMATS),
        hint=f"lines like {jsonl.EXAMPLE}",
    )


def glance(path: Path) -> Seen:
    """Look at a path without reading it as anything. Raises DataError if it is not there or not text."""
    if path.is_dir():
        files = tuple(sorted(file for file in path.rglob("*") if file.is_file()))
        jsons = [file for file in files if file.suffix == ".json"]
        return Seen(path=path, suffix="/", files=files, first=read_json(jsons[0]) if jsons else None)
    if not path.exists():
        raise DataError(f"there is no file or folder {path}", hint="give a path, or see `mnemoscope data list`")
    text = read_text(path)
    line = next((line for line in text.split("\n") if line.strip()), "")
    first = _parsed(line)
    whole = read_json(path) if path.suffix == ".json" and not isinstance(first, dict) else first
    return Seen(path=path, suffix=path.suffix, line=line, first=first, whole=whole)


def _parsed(line: str) -> JSON:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _our_lines(path: Path) -> DataFile:
    relations, left = jsonl.read_relations(path)
    prompts = jsonl.read_prompts(path)
    corpus = jsonl.read_documents(path)
    about_facts = any(prompt.answer for prompt in prompts)  # plain texts and triples are no facts that went missing
    return DataFile(
        path=path,
        format="",
        prompts=prompts,
        documents=corpus.documents,
        relations=relations,
        left_out=(*(left if about_facts else ()), *corpus.left_out),
    )


def _agenda(path: Path) -> DataFile:
    corpus = agenda.lettered(agenda.read(path))
    return DataFile(path=path, format="", documents=corpus.documents, left_out=corpus.left_out)


def _treebank(path: Path) -> DataFile:
    corpus = conllu.corpus(path)
    return DataFile(path=path, format="", documents=corpus.documents, left_out=corpus.left_out)


def _texts(path: Path) -> DataFile:
    corpus = texts.read(path)
    return DataFile(path=path, format="", documents=corpus.documents, left_out=corpus.left_out)


def _lre(path: Path) -> DataFile:
    relations, left = lre.read(path)
    return DataFile(path=path, format="", relations=relations, left_out=left)


def _counterfact(path: Path) -> DataFile:
    relations, left = counterfact.read(path)
    return DataFile(path=path, format="", relations=relations, left_out=left)


def _pararel(path: Path) -> DataFile:
    relations, left = pararel.read_folder(path)
    return DataFile(path=path, format="", relations=relations, left_out=left)


def _tasks(path: Path) -> DataFile:
    tasks, left = function_vectors.read_folder(path)
    return DataFile(path=path, format="", tasks=tasks, left_out=left)


def _has_text(seen: Seen) -> bool:
    return seen.suffix in {".jsonl", ".ndjson"} or (isinstance(seen.first, dict) and "text" in seen.first)


FORMATS = (
    Format(name="JSON lines", looks='our own: {"text": ...} on each line', fits=_has_text, read=_our_lines),
    Format(
        name="AGENDA",
        looks=".tsv with six columns and <type_index> placeholders",
        fits=lambda seen: seen.suffix == ".tsv" or seen.line.count("\t") == agenda.COLUMNS - 1,
        read=_agenda,
    ),
    Format(
        name="CoNLL-U",
        looks=".conllu, dependency trees in ten columns",
        fits=lambda seen: seen.suffix == ".conllu",
        read=_treebank,
    ),
    Format(
        name="LRE",
        looks='JSON with "prompt_templates" and "samples", or a folder of such',
        fits=lambda seen: lre.is_relation(seen.whole or seen.first),
        read=_lre,
    ),
    Format(
        name="CounterFact",
        looks="JSON list of records, as known_1000 or CounterFact",
        fits=lambda seen: counterfact.is_counterfact(seen.whole),
        read=_counterfact,
    ),
    Format(
        name="ParaRel",
        looks=f"folder with {pararel.PATTERNS} and {pararel.FACTS}",
        fits=lambda seen: {pararel.PATTERNS, pararel.FACTS} <= {file.parent.name for file in seen.files},
        read=_pararel,
    ),
    Format(
        name="input/output pairs",
        looks='JSON list of {"input", "output"}, or a folder of such',
        fits=lambda seen: function_vectors.is_task(seen.whole or seen.first),
        read=_tasks,
    ),
    Format(
        name="plain text",
        looks=".txt, a folder of .txt, or a JSON list of texts",
        fits=lambda seen: (
            seen.suffix == ".txt" or texts.are_texts(seen.whole) or any(f.suffix == ".txt" for f in seen.files)
        ),
        read=_texts,
    ),
)
