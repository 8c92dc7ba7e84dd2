"""`make bench`: every benchmark in turn, written to benchmarks/RESULTS.md with machine and commit.

    python -m benchmarks [--threads 2] [--repeats 3] [--only against floor observe memory] [--works 0 1 2 3]

Ratios are medians over turns taken one after the other, so that a busy machine slows both sides. Processor time is what
to look at with one thread on a shared machine; with several threads it counts waiting too, and wall time is the measure.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import against, floor, memory, observe
from benchmarks.machine import machine

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS = {"against": against, "floor": floor, "observe": observe, "memory": memory}


def table(rows: list[dict]) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = (
            f"{row[n]:.2g}" if isinstance(row.get(n), float) and abs(row[n]) < 1e-2 else str(row.get(n, ""))
            for n in names
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--works", nargs="+", type=int, default=list(range(len(against.WORKS))))
    asked = parser.parse_args()
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = f"\n## {now}, {asked.threads} threads, medians of {asked.repeats}\n\n{machine()}\n"
    for name in asked.only:
        if name == "against":
            rows = against.run(asked.threads, asked.repeats, tuple(against.WORKS[i] for i in asked.works))
        else:
            rows = PARTS[name].run(asked.threads, asked.repeats)
        text += f"\n### {name}\n\n{(PARTS[name].__doc__ or '').strip()}\n\n{table(rows)}\n"
    if not RESULTS.exists():
        RESULTS.write_text("# Benchmarks\n\nNewest last. `make bench` adds a section.\n")
    with RESULTS.open("a") as file:
        file.write(text)


main()
