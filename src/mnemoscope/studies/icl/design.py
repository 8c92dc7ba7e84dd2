"""What is known about a task by design: conditions, hypotheses, nuisances, what a probe reads. No torch, no model.

Hypotheses of methods P3.2 with the units that B7.1 permutes: slope labels among lines, names within activity and the reverse. A
task of the user's own has the hypotheses that its labels allow: every label that is constant within an item and groups
items (ALIKE).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mnemoscope.errors import DataError, listed

PRESENT = "|"  # joins the names or activities that are present in a prompt
RESERVED = (
    "id",
    "task",
    "item",
    "unit",
    "draw",
    "condition",
    "persona",
    "names",
    "activities",
    "first_name",
    "shots",
    "answer_in_shots",
)
OUTPUT = "answer"  # label: what the right answer of an input/output pair is
ALIKE = (
    "two or more values that are each shared by items, at most half as many values as items, one value within an item"
)
FEWEST = 3  # items
NEUTRAL, SHUFFLED = "neutral", "shuffled"
EXAMPLE = "+example"  # behind a persona: with an example in front


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """Which prompts should be alike: distances |a - b| (numeric) or 0/1 (same label), averaged over `labels`.

    unit    label of what is permuted and of what must differ between compared prompts
    strata  label within which it is permuted; "" for none
    """

    name: str
    labels: tuple[str, ...]
    numeric: bool = False
    unit: str = "item"
    strata: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a probe reads. `present`: label that lists the candidates of a prompt; `types`: recurring word of the control."""

    name: str
    label: str
    numeric: bool = False
    present: str = ""
    types: str = ""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A task: before and after are the contrast of interest, `unit` is the unit of inference.

    conditions  all, in order;  contrasts (condition, versus) that are inferred;  numbers, classes: nuisance labels
    """

    task: str
    before: str
    after: str
    conditions: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    unit: str = "item"
    hypotheses: tuple[Hypothesis, ...] = ()
    targets: tuple[Target, ...] = ()
    numbers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


_NAMES = Hypothesis(name="names", labels=("name",), strata="activity")
_ACTIVITIES = Hypothesis(name="activities", labels=("activity",), strata="name")
_BOTH = Hypothesis(name="both", labels=("name", "activity"))
_CONTRASTS = (("example", "none"), ("example", NEUTRAL), ("example", SHUFFLED), (NEUTRAL, "none"))
_PASSAGES = Design(
    task="passages",
    before="none",
    after="example",
    conditions=("none", "example", SHUFFLED, NEUTRAL),
    contrasts=_CONTRASTS,
    hypotheses=(_NAMES, _ACTIVITIES, _BOTH),
    targets=(
        Target(name="activity asked", label="activity", present="activities", types="first_name"),
        Target(name="name asked", label="name", present="names", types="first_name"),
    ),
    classes=("position", "format"),
)
PERSONAS = ("neutral", "truthful", "truthful_deceitful", "deceitful")
DESIGNS: Mapping[str, Design] = {
    "lines": Design(
        task="lines",
        before="k2",
        after="k8",
        conditions=("k2", "k4", "k8", SHUFFLED, NEUTRAL),
        contrasts=(("k8", "k2"), ("k4", "k2"), ("k8", "k4"), ("k8", NEUTRAL), ("k8", SHUFFLED), (NEUTRAL, "k2")),
        unit="line",
        hypotheses=(
            Hypothesis(name="slope", labels=("slope",), numeric=True, unit="line"),
            Hypothesis(name="line", labels=("line",), unit="item"),
        ),
        targets=(
            Target(name="slope", label="slope", numeric=True, types="x_digit"),
            Target(name="intercept", label="intercept", numeric=True, types="x_digit"),
        ),
        numbers=("mean_y", "digits", "minus", "x", "y"),
    ),
    "passages": _PASSAGES,
    "simple": replace(
        _PASSAGES,
        task="simple",
        targets=(),
        classes=("format",),
    ),
    "persona": replace(
        _PASSAGES,
        task="persona",
        before="neutral",
        after="deceitful",
        conditions=tuple(f"{p}{e}" for p in PERSONAS for e in ("", EXAMPLE)),
        contrasts=(
            ("truthful", "neutral"),
            ("truthful_deceitful", "neutral"),
            ("deceitful", "neutral"),
            ("truthful_deceitful", "truthful"),
            ("neutral+example", "neutral"),
            ("truthful_deceitful+example", "truthful_deceitful"),
            ("deceitful+example", "deceitful"),
        ),
        hypotheses=(_NAMES, _ACTIVITIES),
        targets=(),
    ),
}


def design_of(task: str, labels: Sequence[Mapping[str, Any]]) -> Design:
    """The design of a built-in task, or the one that a user's labels amount to.

    DataError: one condition only, an item that lacks a condition, or fewer than 3 items.
    """
    if task in DESIGNS:
        return DESIGNS[task]
    conditions = tuple(dict.fromkeys(str(one["condition"]) for one in labels))
    _refuse_incomplete(task, labels, conditions)
    before = "none" if "none" in conditions else conditions[0]
    after = "example" if "example" in conditions else next(c for c in conditions if c != before)
    unfit = useless(labels)
    shared = tuple(dict.fromkeys(key for one in labels for key in one if key not in (*RESERVED, *unfit)))
    return Design(
        task=task,
        before=before,
        after=after,
        conditions=conditions,
        contrasts=tuple((c, before) for c in conditions if c != before)
        + tuple((after, c) for c in conditions if c not in (before, after)),
        hypotheses=tuple(Hypothesis(name=name, labels=(name,)) for name in shared),
        targets=tuple(Target(name=name, label=name) for name in shared),
    )


def useless(labels: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A user's labels that no hypothesis and no probe can use, with the reason. Reserved names are not among them."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(key for one in labels for key in one if key not in RESERVED):
        values: dict[str, set[str]] = {}
        for one in labels:
            values.setdefault(str(one["item"]), set()).add(str(one.get(name, "")))
        if why := _useless(values):
            found[name] = why
    return found


def _useless(values: Mapping[str, set[str]]) -> str:
    """Why the values that a label has in every item make no groups of items; "" if they do."""
    of_item = Counter(value for own in values.values() for value in own)
    if any(len(own) > 1 for own in values.values()):
        return "differs within an item"
    if len(of_item) < 2:
        return f"{next(iter(of_item))!r} in all {len(values)} items"
    if len(of_item) > len(values) // 2 or sum(n > 1 for n in of_item.values()) < 2:
        return f"{len(of_item)} values in {len(values)} items, {sum(n > 1 for n in of_item.values())} of them shared"
    return ""


def _refuse_incomplete(task: str, labels: Sequence[Mapping[str, Any]], conditions: tuple[str, ...]) -> None:
    if len(conditions) < 2:
        raise DataError(
            f"task {task!r} has one condition",
            found=listed(conditions),
            allowed="the same items under at least two: before and after",
            hint='label prompts with "condition": "none" and "example"',
        )
    has: dict[tuple[str, str], set[str]] = {}
    for one in labels:
        has.setdefault((str(one["item"]), str(one["draw"])), set()).add(str(one["condition"]))
    short = [
        f"{item} (draw {draw}): {', '.join(sorted(there))}"
        for (item, draw), there in has.items()
        if len(there) < len(conditions)
    ]
    if short:
        raise DataError(
            f"{len(short)} items of task {task!r} lack a condition",
            found=listed(short),
            allowed=f"every item under {', '.join(conditions)}: changes are paired",
            hint="add these prompts, or take the items out",
        )
    n = len({item for item, _ in has})
    if n < FEWEST:
        raise DataError(
            f"task {task!r} has too few items", found=str(n), allowed=f"at least {FEWEST}", hint="add items"
        )
