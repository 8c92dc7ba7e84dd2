"""What the bundled model was meant to reach, and whether an evaluation of it does."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mnemoscope.data import episodes

Record = Mapping[str, Any]
TARGETS: Final = (
    ("facts", "trained templates", "top-1", ">=", 0.95),
    ("facts", "held-out templates", "top-1", ">=", 0.85),
    ("copying", "first copy of 64", "nats", ">=", 5.0),
    ("copying", "second copy of 64", "nats", "<=", 0.5),
    ("binary_fruit_month", "20 shots", "accuracy", ">=", 0.95),
    ("binary_furniture_profession", "20 shots", "accuracy", ">=", 0.95),
    ("four_fruit_month", "20 shots", "accuracy", ">=", 0.85),
    ("nine_fruit_animal_month", "20 shots", "accuracy", ">=", 0.45),
    *((task, "20 shots", "format", ">=", 0.98) for task in episodes.TASKS),
    ("narrative", "tokens 490-510 minus 40-60", "nats", "<=", 0.0),
    ("comprehension", "1 distractors, 1 examples", "right", ">=", 0.9),
    ("comprehension", "2 distractors, 1 examples", "right", ">=", 0.9),
    ("comprehension", "3 distractors, 1 examples", "right", ">=", 0.9),
    ("line", "2 points", "parse failure", "<=", 0.02),
    ("line", "8 points", "parse failure", "<=", 0.02),
)


def found(rows: Sequence[Record], ability: str, condition: str, measure: str) -> Record:
    """The first row of an evaluation with these names."""
    return next(r for r in rows if (r["ability"], r["condition"], r["measure"]) == (ability, condition, measure))


def verdicts(rows: Sequence[Record]) -> list[tuple[Record, str, float, bool]]:
    """(row, relation, target, met) for every target; met is judged on the estimate, against rivals and chance on the interval."""
    judged = []
    for ability, condition, measure, relation, target in TARGETS:
        row = found(rows, ability, condition, measure)
        met = row["estimate"] >= target if relation == ">=" else row["estimate"] <= target
        judged.append((row, relation, target, met and (ability != "narrative" or row["high"] < 0)))
    errors = [found(rows, "line", f"{k} points", "absolute error") for k in (2, 8)]
    for rival in (errors[1]["baseline"], errors[0]["estimate"]):  # the nearest x, and its own error with two points
        judged.append((errors[1], "<", rival, errors[1]["high"] < rival))
    for task in episodes.TASKS:
        blind = found(rows, task, "0 shots", "accuracy")
        judged.append((blind, "near", blind["baseline"], blind["low"] <= blind["baseline"] <= blind["high"]))
    for n in (1, 2, 3):
        without, with_ = (found(rows, "comprehension", f"{n} distractors, {k} examples", "right") for k in (0, 1))
        judged.append((with_, ">", without["high"], with_["low"] > without["high"]))  # the gain by an example
    return judged
