"""The trust block: the noise floor beside the tolerance, what fell back, and a command that gives the same numbers."""

from pathlib import Path

import polars as pl

from mnemoscope.report.trust import _verification, exactly, worst
from mnemoscope.results.schema.shared import VERIFICATION
from mnemoscope.results.store import Finished


def table(*rows: tuple[str, str, float, float, float, bool, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=VERIFICATION.schema, orient="row")


def test_each_identity_is_shown_where_it_came_closest_to_failing() -> None:
    found = worst(
        table(
            ("a", "rows", 1e-7, 1e-5, 2e-6, True, 4, ""),
            ("b", "rows", 8e-6, 1e-5, 3e-6, True, 5, ""),
            ("c", "rows", 5e-6, 1e-4, 9e-6, True, 6, ""),
        )
    ).to_dicts()
    assert found == [
        {
            "check": "rows",
            "ok": True,
            "detail": "",
            "where": "b",
            "places": 3,
            "error": 8e-6,
            "tolerance": 1e-5,
            "floor": 9e-6,
            "n": 15,
        }
    ]


def said(frame: pl.DataFrame) -> str:
    run = Finished(path=Path("run"), record={}, tables={"verification": frame}, journal=(), notes=())
    return _verification(run).markup


def test_what_fell_back_is_said() -> None:
    fast = ("a", "patched rows", 1e-7, 1e-5, 2e-6, True, 4, "")
    slow = ("b", "patched rows", 1e-7, 1e-5, float("nan"), True, 0, "attention off the <interface>")
    assert "Nothing fell back" in said(table(fast))
    both = said(table(fast, slow))
    assert "1 of 2 computations did without the fast path" in both
    assert "attention off the &lt;interface&gt;" in both
    assert "2.0e−6" in both or "2e−6" in both


def test_the_command_names_what_the_machine_would_choose() -> None:
    hub = {"threads": 2, "model": {"content": {"hub": "o/m", "commit": "abc"}}}
    record = {"study": "heads", "asked": {"study": "heads", "model": "o/m", "seed": 3}, "identity": hub}
    assert exactly(record) == "OMP_NUM_THREADS=2 mnemoscope run heads o/m --seed 3 --revision abc"
    record["asked"]["revision"] = "main"
    assert exactly(record) == "OMP_NUM_THREADS=2 mnemoscope run heads o/m --seed 3 --revision main"
