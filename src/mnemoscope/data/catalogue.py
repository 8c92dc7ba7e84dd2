"""What `mnemoscope data list|show|fetch` knows: the built-in sets, and the external ones with their source and licence.

External sets are never part of the package; they are fetched at a fixed version where their authors have one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnemoscope.data import corpus, episodes, facts, fetching, formats
from mnemoscope.data.document import Document
from mnemoscope.data.fetching import Source
from mnemoscope.data.formats import DataFile
from mnemoscope.data.function_vectors import Task
from mnemoscope.data.leftout import counted
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import SLOT, Relation
from mnemoscope.errors import DataError, choose

ROME = "https://rome.baulab.info/data/dsets"
GITHUB = "https://github.com"
RAW = "https://raw.githubusercontent.com"
AGENDA = f"{RAW}/rikdz/GraphWriter/a34a31682ca878550f2aa5c672ffc4e375cc67cc/data"
LRE = f"{GITHUB}/evandez/relations/archive/b03b460ee171195ab1d626f803a45ae731619106.zip"
PAIRS = f"{GITHUB}/ericwtodd/function_vectors/archive/fb9eac7b6dc707ea1475a717379916007fe448d5.zip"
PARAREL = f"{GITHUB}/yanaiela/pararel/archive/cb5554678457beb5ac163d888f1ce8cf174b3f0b.zip"
EWT = f"{RAW}/UniversalDependencies/UD_English-EWT/master"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set. A built-in one has a `load`, an external one a `source`."""

    name: str
    what: str
    studies: tuple[str, ...]
    licence: str
    source: Source | None = None
    load: Callable[[], DataFile] | None = None

    def to_dict(self) -> dict[str, str]:
        """A row of `mnemoscope data list`."""
        return {
            "name": self.name,
            "what": self.what,
            "read by": ", ".join(self.studies),
            "where": self.source.url if self.source else "built in",
            "licence": self.licence,
        }


EXTERNAL = (
    Entry(
        name="agenda",
        what="1,000 paper abstracts with entities and triples of seven relations (test split)",
        studies=("heads", "emergence"),
        licence="none stated: read only",
        source=Source(
            url=f"{AGENDA}/preprocessed.test.tsv",
            sha256="d23ac19219baa516d8fc1be5f1b5f5807f0954adb8779cfaf7af9edf30361f70",
        ),
    ),
    Entry(
        name="ud-ewt",
        what="gold dependency trees of English web text (test part)",
        studies=("heads", "emergence"),
        licence="CC BY-SA 4.0",
        source=Source(url=f"{EWT}/en_ewt-ud-test.conllu"),
    ),
    Entry(
        name="lre",
        what="47 relations with templates and facts",
        studies=("recall",),
        licence="MIT",
        source=Source(
            url=LRE,
            folders=("data/",),
            suffix=".json",
            sha256="1baf8ad4aab9c28b27f39d3fada62fbb525e2c74bca6cdbf5017aa077f2e28a6",
        ),
    ),
    Entry(
        name="known-1000",
        what="1,209 facts that GPT-2 XL knows, each with its prompt",
        studies=("recall",),
        licence="MIT",
        source=Source(
            url=f"{ROME}/known_1000.json",
            sha256="d5802393c60a43adf5c25d7a4e430d71bc9f484b9dff04504dad51844b755ebd",
        ),
    ),
    Entry(
        name="counterfact",
        what="21,919 facts, each with a wrong answer of the same kind",
        studies=("recall",),
        licence="MIT",
        source=Source(url=f"{ROME}/counterfact.json"),
    ),
    Entry(
        name="pararel",
        what="39 relations, each asked in several ways",
        studies=("recall",),
        licence="MIT",
        source=Source(
            url=PARAREL,
            folders=("data/pattern_data/graphs_json/", "data/trex_lms_vocab/"),
            suffix=".jsonl",
            sha256="25d2d92f7d75824cce480c365b3db3840dcc99c086033589dfe30362c9ba7b10",
        ),
    ),
    Entry(
        name="function-vectors",
        what="29 tasks given as input/output pairs",
        studies=("heads", "emergence", "icl"),
        licence="MIT",
        source=Source(
            url=PAIRS,
            folders=("dataset_files/abstractive/",),
            suffix=".json",
            sha256="c21ae09d2fa7330c9870e9ef6c8ff8a86e729348d5720008bc3ef6917e51e790",
        ),
    ),
)


def _corpus(kind: str) -> Callable[[], DataFile]:
    def load() -> DataFile:
        drawn = corpus.built_in(kind, documents=5)  # to look at; studies draw as many as they need
        return _built_in(kind, documents=drawn.documents, left_out=drawn.left_out)

    return load


def _prompts(name: str, draw: Callable[[np.random.Generator], tuple[Prompt, ...]]) -> Callable[[], DataFile]:
    return lambda: _built_in(name, prompts=draw(np.random.default_rng(0)))


def _built_in(name: str, **nouns: Any) -> DataFile:
    return DataFile(path=Path(name), format="built in", **nouns)


def _every_pair_task(rng: np.random.Generator) -> tuple[Prompt, ...]:
    return tuple(p for task in episodes.TASKS for p in episodes.pair_design(task, shots=4, count=4, rng=rng))


BUILT_IN = tuple(
    Entry(name=name, what=what, studies=studies, licence="Apache-2.0, as the package", load=load)
    for name, what, studies, load in (
        (
            "facts",
            "relations of the real world and of an invented one, our own sentences",
            ("recall",),
            lambda: _built_in("facts", relations=facts.facts()),
        ),
        ("letters", "statements of seven relations between letters", ("heads", "emergence"), _corpus("letters")),
        ("things", "the same statements between common words", ("heads", "emergence"), _corpus("things")),
        ("trees", "narratives with gold dependency trees", ("heads", "emergence"), _corpus("trees")),
        (
            "word-pairs",
            "few-shot tasks on pairs of words with digit labels, four families",
            ("heads", "emergence"),
            _prompts("word-pairs", _every_pair_task),
        ),
        (
            "lines",
            "points of one line, the next one asked",
            ("icl",),
            _prompts("lines", lambda rng: episodes.line_design("decimals", shots=4, count=16, rng=rng)),
        ),
        (
            "passages",
            "who does what, asked among distractors",
            ("icl",),
            _prompts("passages", lambda rng: episodes.passage_design(distractors=2, shots=1, count=12, rng=rng)),
        ),
    )
)
CATALOGUE: tuple[Entry, ...] = (*BUILT_IN, *EXTERNAL)


def entry(name: str) -> Entry:
    """A data set by name; an unknown name is an OptionError with the nearest valid one."""
    named = {one.name: one for one in CATALOGUE}
    return named[choose("data set", name, tuple(named))]


def load(name: str) -> DataFile:
    """A built-in set by name, or a file or folder by path.

    Raises DataError for an external set that is not on this machine, OptionError for a name that is neither.
    """
    if Path(name).exists():
        return formats.read(name)
    one = entry(name)
    if one.load is None:
        raise DataError(f"the data set {name!r} is not part of the package", hint=instructions(name))
    return one.load()


def fetch(name: str, folder: Path, *, opener: fetching.Opener = fetching.urlopen) -> tuple[Path, ...]:
    """Download an external set into `folder`; returns its files. Raises DataError for a built-in one."""
    one = entry(name)
    if one.source is None:
        raise DataError(f"the data set {name!r} is built in: there is nothing to fetch")
    return fetching.fetch(one.source, folder, opener=opener)


def instructions(name: str) -> str:
    """Where an external set lies, under which licence, and how it is passed on."""
    one = entry(name)
    if one.source is None:
        return f"{name} is built in; studies {', '.join(one.studies)} read it without being told."
    version = "pinned" if one.source.sha256 else "without a fixed version"
    kept = f", folders {' and '.join(one.source.folders)}" if one.source.folders else ""
    return (
        f"{one.what}; licence: {one.licence}; {version}\n"
        f"download {one.source.url}{kept}\n"
        f"then mnemoscope run {one.studies[0]} MODEL --data FILE-OR-FOLDER"
    )


def preview(name: str, limit: int = 5) -> Iterator[str]:
    """The first `limit` items of a set or a path, as the studies will read them, and what was left out and why."""
    data = load(name)
    yield f"{data.path} ({data.format}): " + ", ".join(f"{count:,} {noun}" for noun, count in data.counts().items())
    shown: Sequence[Relation | Task | Document | Prompt] = (
        data.relations or data.tasks or data.documents or data.prompts
    )
    for item in shown[:limit]:
        yield _line(item)
    for reason, count in counted(data.left_out).items():
        yield f"left out {count:,}: {reason}"


def _line(item: Relation | Task | Document | Prompt) -> str:
    if isinstance(item, Relation):
        fact = item.facts[0] if item.facts else None
        template = item.templates[0] if item.templates else "(no template)"
        asked = template.replace(SLOT, fact.topic) + f" -> {fact.answer}" if fact else "(no fact)"
        return f"{item.name}: {len(item.facts)} facts, {len(item.templates)} templates; {asked}"
    if isinstance(item, Task):
        return f"{item.name}: {len(item.pairs)} pairs; {item.pairs[0][0]} -> {item.pairs[0][1]}"
    if isinstance(item, Document):
        triples = [f"{item.surface(t.head)} {t.relation} {item.surface(t.tail)}" for t in item.triples[:4]]
        return f"{item.id}: {_short(item.text)} [{'; '.join(triples) or 'no triple'}]"
    return f"{_short(item.text)} ->{item.answer}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:157] + "..."
