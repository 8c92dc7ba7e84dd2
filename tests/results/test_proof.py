"""What a sweep proved becomes a row that says how it was computed, how far off it was, and what rounding allows."""

import math
from dataclasses import dataclass

from mnemoscope.results.proof import proven
from mnemoscope.results.schema.shared import VERIFICATION
from mnemoscope.results.schema.table import validate


@dataclass(frozen=True)
class Proof:
    path: str
    reason: str
    rows: int
    largest: float
    floor: float
    tolerance: float


def test_rows_say_what_was_compared() -> None:
    good, bad = Proof("fast", "", 7, 1e-6, 2e-6, 6e-6), Proof("slow", "no seam", 0, math.nan, 2e-6, 6e-6)
    rows = validate("verification", VERIFICATION, proven("job", good, bad, what="exchanged rows")).to_dicts()
    assert [row["where"] for row in rows] == ["job", "job (1)"]
    assert rows[0]["check"] == "exchanged rows computed the fast way equal whole forward passes"
    assert (rows[0]["error"], rows[0]["tolerance"], rows[0]["floor"], rows[0]["n"]) == (1e-6, 6e-6, 2e-6, 7)
    assert rows[1]["detail"] == "no seam"
    assert [row["ok"] for row in rows] == [True, True]  # nothing was compared: nothing can fail


def test_a_difference_beyond_the_tolerance_is_said() -> None:
    assert proven("job", Proof("fast", "", 7, 7e-6, 2e-6, 6e-6))["ok"].to_list() == [False]
