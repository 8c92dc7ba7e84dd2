"""What is left out is counted by reason, not by detail."""

from mnemoscope.data.leftout import LeftOut, counted


def test_counts_go_by_reason_and_the_most_frequent_comes_first() -> None:
    cases = [LeftOut(id=str(i), reason="rare" if i == 0 else "common", detail=str(i)) for i in range(4)]
    assert list(counted(cases).items()) == [("common", 3), ("rare", 1)]
    assert str(cases[0]) == "0: rare (0)"
    assert str(LeftOut(id="x", reason="y")) == "x: y"
