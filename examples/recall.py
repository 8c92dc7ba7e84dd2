"""How does a model recall a fact? Seconds on the bundled model; `python examples/recall.py gpt2` for one of yours.

Prints what the study found in sentences, the heads that carry the answer with their evidence, and where the page is.
"""

import sys
import tempfile

import polars as pl

import mnemoscope as ms


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "reference"
    run = ms.run("recall", model, out=tempfile.mkdtemp(), limit=6, relations=2, templates=1, quiet=True)
    for text in run.tables["headlines"]["text"]:
        print("-", text)
    if "roles" in run.tables:
        roles = run.tables["roles"].filter(
            (pl.col("role") == "mover") & (pl.col("copy") == "trained") & pl.col("needed")
        )
        print(roles.select("half", "layer", "head", "evidence", "estimate", "low", "high", "chance", "shown"))
    print(run.report())


if __name__ == "__main__":
    main()
