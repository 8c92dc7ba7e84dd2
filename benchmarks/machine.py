"""What benchmarks share: the machine that a number was measured on, and rows of a table."""

import argparse
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Processor, cores, load, versions, commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    cores = sum(line.startswith("processor") for line in lines)
    load = Path("/proc/loadavg").read_text().split()[0] if Path("/proc/loadavg").exists() else "?"
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True)
    commit = asked.stdout.strip()
    versions = f"torch {version('torch')}, transformers {version('transformers')}, TransformerLens 4.3.0"
    return f"{model}, {cores} cores, load {load} at the start; {versions}; commit {commit or '?'}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, tuple("---" for _ in head), *rows))


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with --write."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="add the table to RESULTS.md")
    return parser


def report(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]], *, write: bool) -> None:
    """Print a table under its title and machine; with `write` add it to RESULTS.md."""
    text = f"\n## {title}\n\n{machine()}\n\n{table(head, rows)}\n"
    print(text)
    if write:
        with Path(__file__).with_name("RESULTS.md").open("a") as file:
            file.write(text)
