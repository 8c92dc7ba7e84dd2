"""Write the model card of the bundled model from its evaluations: tables, curves over the checkpoints, what it was trained on.

Input is what `evaluate` wrote: one file for the final checkpoint, one per checkpoint of the series (quick), one per sibling. The
card only repeats those files; targets stand beside the figures, met or not.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import altair as alt
import polars as pl

from mnemoscope.data import facts
from mnemoscope.errors import DataError
from mnemoscope.reference import world
from mnemoscope.reference.card_targets import TARGETS, Record, found, verdicts
from mnemoscope.reference.card_text import INTRO, KNOWN, NOT_THERE, SIBLINGS
from mnemoscope.reference.commands import told
from mnemoscope.reference.figures import share, written
from mnemoscope.reference.train_folder import read_record

Series = Mapping[int, Sequence[Record]]
EMERGED: Final = 0.75  # score from which an ability of the siblings counts as there
CURVES: Final = (
    ("facts, held-out templates", "facts", "held-out templates", "top-1"),
    ("copying, share of uniform loss saved", "copying", "second copy of 64", "nats"),
    ("binary pairs, 20 shots", "binary_fruit_month", "20 shots", "accuracy"),
    ("four-class pairs, 20 shots", "four_fruit_month", "20 shots", "accuracy"),
    ("nine-class pairs, 20 shots", "nine_fruit_animal_month", "20 shots", "accuracy"),
    ("nine-class format, 20 shots", "nine_fruit_animal_month", "20 shots", "format"),
    ("comprehension, 1 example", "comprehension", "2 distractors, 1 examples", "right"),
    ("comprehension, no example", "comprehension", "2 distractors, 0 examples", "right"),
)


def _value(name: str, row: Record) -> float:
    """Accuracies as they are; the copying loss as the share of the uniform loss that is saved, so that 1 is perfect."""
    return 1 - row["estimate"] / row["baseline"] if name.startswith("copying") else row["estimate"]


def curve_table(series: Series) -> pl.DataFrame:
    """One row per checkpoint and curve: step, curve, value."""
    rows = [
        {"step": step, "curve": name, "value": round(_value(name, found(held, *keys)), 3)}
        for step, held in sorted(series.items())
        for name, *keys in CURVES
    ]
    return pl.DataFrame(rows)


def drawn(table: pl.DataFrame, file: Path) -> None:
    """The curves as an SVG file; steps on a symmetric logarithmic axis."""
    chart = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("step:Q", scale=alt.Scale(type="symlog", constant=100), title="training step"),
            y=alt.Y("value:Q", title="score", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "curve:N", title=None, sort=[name for name, *_ in CURVES], legend=alt.Legend(labelLimit=300)
            ),
        )
        .properties(width=560, height=320)
    )
    chart.save(file)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def _table(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *(_row(cells) for cells in body)])


def _interval(row: Record) -> str:
    return written(row["estimate"], row["low"], row["high"])


def _baseline(row: Record) -> str:
    return "" if row["baseline"] is None else f"{row['baseline']:.3f}"


def target_table(rows: Sequence[Record]) -> str:
    """The targets and whether they are met."""
    body = [
        (
            r["ability"],
            r["condition"],
            r["measure"],
            r["n"],
            _interval(r),
            f"{relation} {target:.3g}",
            "yes" if met else "NO",
        )
        for r, relation, target, met in verdicts(rows)
    ]
    return _table(("ability", "condition", "measure", "n", "estimate [95%]", "target", "met"), body)


def full_table(rows: Sequence[Record]) -> str:
    """Every row of an evaluation."""
    body = [
        (
            r["ability"],
            r["condition"],
            r["measure"],
            r["n"],
            _interval(r),
            _baseline(r),
            r["versus"],
        )
        for r in rows
    ]
    return _table(("ability", "condition", "measure", "n", "estimate [95%]", "baseline", "which baseline"), body)


def sibling_table(siblings: Mapping[str, Series]) -> str:
    """Headline figures of the last checkpoints, one column per seed."""
    names = sorted(siblings)
    last = [siblings[n][max(siblings[n])] for n in names]
    keys = [k[:3] for k in TARGETS] + [("line", "8 points", "absolute error")]
    body = []
    for key in keys:
        rows = [found(held, *key) for held in last]
        n = "/".join(dict.fromkeys(str(r["n"]) for r in rows))  # one number, unless an answer could not be read
        body.append((*key, n, _baseline(rows[0]), *map(_interval, rows)))
    return _table(("ability", "condition", "measure", "n", "baseline", *(f"{n} [95%]" for n in names)), body)


def emerged_table(siblings: Mapping[str, Series]) -> str:
    """The first checkpoint at which each curve has reached EMERGED, one column per seed; "-" where none has."""
    names = sorted(siblings)
    body = []
    for name, *keys in CURVES:
        steps = [[s for s, r in sorted(siblings[n].items()) if _value(name, found(r, *keys)) >= EMERGED] for n in names]
        body.append((name, *(first[0] if first else "-" for first in steps)))
    return _table(("curve", *names), body)


def mixture_table(rows: float) -> str:
    """What one training step holds; `rows` is the share of each bucket's rows that the run takes."""
    body = [
        (b.length, b.taken(rows), b.every, ", ".join(f"{name} {part:.2f}" for name, part in b.shares))
        for b in world.BUCKETS
    ]
    return _table(("tokens per row", "rows in a step", "every n-th step", "kinds of documents and their shares"), body)


def curves_note(final: Sequence[Record], series: Series) -> str:
    """n, the widest interval and chance of the values in the table of curves."""
    own = [found(held, *keys) for held in series.values() for _, *keys in CURVES]
    least, most = min(r["n"] for r in own), max(r["n"] for r in own)
    row = share("", "", "", [i % 2 == 0 for i in range(least)], 0.5, "")
    chance = [
        f"{name} {found(final, *keys)['baseline']:.2f}" for name, *keys in CURVES if not name.startswith("copying")
    ]
    return (
        f"Copying is the share of the uniform loss that is saved. n is {least} to {most} per value: a share near .5 has a 95% "
        f"interval of {(row.high - row.low) / 2:.2f} to either side, or less. Chance: {'; '.join(chance)}."
    )


def card(
    final: Sequence[Record],
    series: Series,
    siblings: Mapping[str, Series],
    run: Mapping[str, Any],
) -> str:
    """The text of the model card."""
    distinct = [r for r in facts.facts() if r.distinct]
    curves = curve_table(series).pivot("curve", index="step", values="value")
    parts = [
        INTRO,
        "## Targets\n\n" + target_table(final),
        *([] if all(met for *_, met in verdicts(final)) else [NOT_THERE]),
        KNOWN,
        "## Training\n\n"
        f"{run['steps']} steps; {len(distinct)} relations with {sum(len(r.facts) for r in distinct)} facts whose answers differ "
        "(and continents, whose answers repeat). The mixture is the same in every step:\n\n"
        + mixture_table(run["config"]["rows"]),
        "Configuration:\n\n" + _table(("setting", "value"), list(run["config"].items())),
        f"## Curves\n\n{curves_note(final, series)}\n\n"
        "![curves](curves.svg)\n\n" + _table(curves.columns, curves.rows()),
        "## All figures of the last checkpoint\n\n" + full_table(final),
    ]
    if siblings:
        steps = ", ".join(map(str, sorted(next(iter(siblings.values())))))
        parts.append(
            f"{SIBLINGS}\n\n{sibling_table(siblings)}\n\nFirst of the checkpoints ({steps}) at which a score has reached "
            f"{EMERGED}:\n\n{emerged_table(siblings)}"
        )
    return "\n\n".join(parts) + "\n"


def _series(folder: Path) -> Series:
    return {int(p.stem.removeprefix("step")): json.loads(p.read_text()) for p in folder.glob("step*.json")}


def main() -> None:
    """Command line: RUN is the training folder, EVAL holds final.json, step*.json and seed*/step*.json, TARGET gets the card."""
    parser = argparse.ArgumentParser(prog="python -m mnemoscope.reference.card", description=__doc__)
    for name in ("run", "eval", "target"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    series = _series(asked.eval)
    siblings = {p.name: _series(p) for p in asked.eval.glob("seed*")}
    run = read_record(asked.run)
    if not series or not (asked.eval / "final.json").is_file():
        raise DataError(
            f"{asked.eval} lacks evaluations",
            found=f"{len(series)} checkpoints",
            allowed="final.json, step*.json, seed*/step*.json",
            hint="python -m mnemoscope.reference.evaluate FOLDER --out FILE writes them",
        )
    drawn(curve_table(series), asked.target / "curves.svg")
    final = json.loads((asked.eval / "final.json").read_text())
    (asked.target / "MODEL_CARD.md").write_text(card(final, series, siblings, run))


if __name__ == "__main__":
    told(main)
