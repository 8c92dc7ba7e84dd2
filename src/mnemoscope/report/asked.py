"""The top of the page: what was asked, of which model, and what came out in a sentence or two."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mnemoscope.report.html import Safe, element, joined, shortened
from mnemoscope.results.store import Finished

MOST_FOUND = 8  # headlines that are shown at once
NAMES = {
    "heads": "Attention heads",
    "emergence": "Emergence during training",
    "recall": "Factual recall",
    "icl": "In-context learning",
}
QUESTIONS = {
    "heads": "which heads do induction, ordinary and semantic, and which of them are missed when they are gone",
    "emergence": "when heads and in-context learning appear during training, and whether together",
    "recall": "what is known, and how the answer comes about, from the topic to the last layer",
    "icl": "what examples in the prompt change inside, and which of these changes is a cause",
}


def study_name(study: str) -> str:
    """The study in words."""
    return NAMES.get(study, study.capitalize())


def header(runs: Sequence[Finished]) -> Safe:
    """Model, studies and the facts a reader needs before believing a number."""
    first = runs[0].record
    model: dict[str, Any] = first["identity"].get("model", {})
    return element(
        "header",
        element("p", "mnemoscope", class_="brand"),
        element("h1", str(model.get("name", "model"))),
        element("p", "What was asked:", class_="question"),
        element("ul", *(_question(str(run.record["study"])) for run in runs), class_="questions"),
        element("dl", *(_fact(name, value) for name, value in _facts(runs) if value), class_="facts"),
        element("pre", element("code", "\n".join(dict.fromkeys(command(run.record) for run in runs))), class_="asked"),
    )


def _question(study: str) -> Safe:
    said = f": {QUESTIONS[study]}" if study in QUESTIONS else ""
    return element("li", element("a", study_name(study), href=f"#{study}"), said)


def command(record: Mapping[str, Any]) -> str:
    """The command line of a run, from what was asked."""
    asked = dict(record.get("asked", {}))
    study, model = asked.pop("study", record["study"]), asked.pop("model", "MODEL")
    parts = ["mnemoscope", "run", str(study), shlex.quote(str(model))]
    for name, value in asked.items():
        option = "--" + name.replace("_", "-")
        parts += [option] if value is True else [option, shlex.quote(str(value))]
    return " ".join(parts)


def headlines(run: Finished) -> Safe:
    """The headlines of one study, as a list; many, and those that only say the verdict on a claim again, folded below."""
    found, again = told(run.tables)
    first, more = _list(found[:MOST_FOUND], "headlines"), found[MOST_FOUND:]
    return joined((first, _folded(f"{len(more)} more findings", more), _folded("The verdicts in words", again)))


def _folded(summary: str, texts: Sequence[str]) -> Safe:
    return element("details", element("summary", summary), _list(texts, "plain")) if texts else Safe("")


def told(tables: Mapping[str, pl.DataFrame]) -> tuple[list[str], list[str]]:
    """Headlines in order: what was found, and what only says a claim and its verdict again."""
    if "headlines" not in tables:
        return [], []
    texts = [str(text) for text in tables["headlines"].sort("order")["text"]]
    claims = tables["claims"].select("claim", "verdict").rows() if "claims" in tables else []
    verdicts = tuple(f"{claim}: {verdict}" for claim, verdict in claims)
    return [text for text in texts if not text.startswith(verdicts)], [
        text for text in texts if text.startswith(verdicts)
    ]


def _list(texts: Sequence[str], name: str) -> Safe:
    return element("ul", *(element("li", shortened(text, 600)) for text in texts), class_=name) if texts else Safe("")


def missing_studies(refused: dict[str, str], absent: Sequence[str]) -> Safe:
    """A box naming every study that this run should hold and does not, with the reason if one is known."""
    lines = [f"{study_name(name)} was not run: {reason}" for name, reason in refused.items()]
    lines += [f"{study_name(name)} is missing: it has not been run yet." for name in absent if name not in refused]
    return joined(element("p", shortened(line, 600), class_="warning") for line in lines)


def _facts(runs: Sequence[Finished]) -> list[tuple[str, str]]:
    record = runs[0].record
    identity, environment = record["identity"], record.get("environment", {})
    model = identity.get("model", {})
    config = identity.get("config", {})
    return [
        ("Model", " ".join(str(model.get(key) or "") for key in ("class", "revision")).strip()),
        ("Content", _content(model)),
        ("Computed in", f"{model.get('dtype', '')} on {model.get('device', '')}".strip(" on")),
        ("Data", str(config.get("data") or "built in")),
        ("Seed", str(config.get("seed", ""))),
        ("Started", str(environment.get("started", "")).replace("T", " ").replace("+00:00", " UTC")),
    ]


def _content(model: dict[str, Any]) -> str:
    """The one hash that says most about the weights: the hub commit, a weight file's, or that of the tensors."""
    content: dict[str, str] = model.get("content", {})
    ranked = sorted(content, key=lambda name: (name != "commit", not name.endswith((".safetensors", ".bin")), name))
    return f"{ranked[0]} {content[ranked[0]][:12]}" if ranked else ""


def _fact(name: str, value: str) -> Safe:
    return element("div", element("dt", name), element("dd", shortened(value, 120)))
