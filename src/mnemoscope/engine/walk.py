"""Every decoder-only class of transformers, one tiny model each, through `check`: the table of docs/models.md.

Nothing in the table is written by hand, and nothing is taken from a class's name: a verdict is what was measured on a
random model of the class that shows every layer type it has (`mnemoscope.model.tiny`).
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
import transformers

from mnemoscope.axes import CAPABILITIES
from mnemoscope.engine.check import CheckReport, Verdict, check
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import all_classes, tiny

MARKS = {"yes": "yes", "partly": "partly", "no": "-"}
COMMAND = "mnemoscope check --all-classes"
LONGEST = 300  # characters of a reason on the page

LEGEND = (
    "- *record*: sites are observed, bit-identical",
    "- *patch-fast*: every site that there is, patched in one verified descent; *patch-slow*: by whole forward passes",
    "- *decompose*: embedding + heads + MLPs + biases = logits; *weights*: W_Q, W_K, W_V, W_O, W_E, W_U as matrices",
    "- *padding*: in a batch a prompt has the numbers that it has alone, padded on either side",
    "- a dash is a refusal; the reasons are below the table",
)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One class: its report, or why no tiny model of it could be built."""

    model_type: str
    report: CheckReport | None
    reason: str = ""

    def verdict(self, capability: str) -> Verdict:
        """The verdict on one capability; "no" where nothing could be built."""
        return (
            Verdict(verdict="no", reason=self.reason) if self.report is None else self.report.capabilities[capability]
        )


def visit(model_type: str) -> Visit:
    """Build a tiny model of one class and check it. Whatever a class raises while it is built is its reason."""
    try:
        lm = view(tiny(model_type), name=model_type)
    except Exception as error:  # a class that cannot be built here is a row of the table, not the end of the walk
        return Visit(model_type=model_type, report=None, reason=_line(error))
    return Visit(model_type=model_type, report=check(lm))


def walk(model_types: Iterable[str] | None = None) -> Iterator[Visit]:
    """Visit classes one after the other (default: all of them), each freed before the next."""
    quiet = logging.getLogger("transformers")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        for model_type in all_classes() if model_types is None else model_types:
            yield visit(model_type)
            gc.collect()
    finally:
        quiet.setLevel(level)


def models_page(visits: Iterable[Visit] | None = None) -> str:
    """The page docs/models.md."""
    found = tuple(walk() if visits is None else visits)
    built = [one for one in found if one.report is not None]
    counts = ", ".join(f"{name} {sum(one.verdict(name).verdict == 'yes' for one in found)}" for name in CAPABILITIES)
    versions = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32, CPU"
    lines = [
        "# Models",
        "",
        f"Written by `{COMMAND}` ({versions}); never by hand.",
        "",
        f"{len(found)} decoder-only classes, {len(built)} of them built as tiny random models that show every layer type. "
        f"Classes with the whole capability: {counts}.",
        "",
        *LEGEND,
        "",
        "| class | " + " | ".join(CAPABILITIES) + " | descent against slow path (logits) |",
        "|---|" + "---|" * (len(CAPABILITIES) + 1),
        *(_row(one) for one in found),
        "",
        "## Reasons",
        "",
        *(line for one in found for line in _reasons(one)),
    ]
    return "\n".join(lines) + "\n"


def _row(one: Visit) -> str:
    marks = [MARKS[one.verdict(name).verdict] for name in CAPABILITIES]
    return f"| {one.model_type} | " + " | ".join(marks) + f" | {_descent(one)} |"


def _descent(one: Visit) -> str:
    """Order of magnitude of the largest difference: the digits behind it are not the same on every machine."""
    lines = [] if one.report is None else [line for line in one.report.lines if line.identity == "descent = slow path"]
    return f"<= {max(lines[0].error, 1e-7):.0e}" if lines else ""


def _reasons(one: Visit) -> list[str]:
    if one.report is None:
        return [f"- **{one.model_type}** not built: {_escaped(one.reason)}"]
    said: Mapping[str, list[str]] = {}
    for name in CAPABILITIES:
        reason = one.verdict(name).reason
        if reason:
            said = {**said, reason: [*said.get(reason, []), name]}
    return [f"- **{one.model_type}** {', '.join(names)}: {_escaped(reason)}" for reason, names in said.items()]


def _escaped(text: str) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= LONGEST else line[:LONGEST] + " ..."
    return line.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
