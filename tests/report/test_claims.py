"""The claims table: positions in the small drawing are those of the numbers."""

import math
import re

import hypothesis.strategies as st
from hypothesis import given

from mnemoscope.report.asked import command
from mnemoscope.report.claims import WIDTH, forest

finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(st.tuples(finite, finite, finite).map(sorted), finite)
def test_the_drawing_is_to_scale(ends: list[float], sesoi: float) -> None:
    low, estimate, high = ends
    markup = forest({"estimate": estimate, "low": low, "high": high, "sesoi": sesoi}).markup
    lines = {
        name: (float(a), float(b))
        for a, b, name in re.findall(r'<line x1="(\S+)" .*? x2="(\S+)" .*? class="(\w+)"', markup)
    }
    dot = float(re.findall(r'cx="(\S+)"', markup)[0])
    places = {"bar": (low, high), "zero": (0.0, 0.0), "sesoi": (sesoi, sesoi)}
    assert set(lines) == set(places)
    pairs = [(dot, estimate), *((lines[n][i], places[n][i]) for n in places for i in (0, 1))]
    assert all(0 <= x <= WIDTH for x, _ in pairs)
    for x, value in pairs:
        for y, other in pairs:
            if value < other:
                assert x <= y + 0.11


def test_a_missing_number_draws_nothing() -> None:
    assert forest({"estimate": math.nan, "low": 0.0, "high": 1.0, "sesoi": 0.0}).markup == ""


def test_the_command_quotes_what_a_shell_would_read() -> None:
    asked = {
        "study": "heads",
        "model": "my model; rm -rf x",
        "trust_remote_code": True,
        "limit": 4,
        "data": "a'b.jsonl",
    }
    expected = "mnemoscope run heads 'my model; rm -rf x' --trust-remote-code --limit 4 --data 'a'\"'\"'b.jsonl'"
    assert command({"study": "heads", "asked": asked}) == expected
