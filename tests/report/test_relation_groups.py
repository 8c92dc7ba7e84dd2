"""Groups taken away as curves: from no head on, with the band of the random sets where there is one."""

import polars as pl
import pytest

from mnemoscope.report.figures import still
from mnemoscope.report.relation_groups import LEVELS, groups, with_none

NAN = float("nan")


def rows() -> pl.DataFrame:
    """Two groups at k = 1 and 4: the semantic one has random sets, the ordinary one has none."""
    made = []
    for group, op, change in (("semantic", "mean", -0.1), ("ordinary", "mean", -0.3), ("semantic", "zero", -0.2)):
        for k in (1, 4):
            sets = group == "semantic" and op == "mean"
            made.append(
                {
                    "k": k,
                    "level": "right",
                    "group": group,
                    "op": op,
                    "heads": "L0H0",
                    "against": "nothing",
                    "overlap": 0,
                    "estimate": change * k,
                    "low": change * k - 0.05,
                    "high": change * k + 0.05,
                    "random_low": -0.02 if sets else NAN,
                    "random_high": 0.02 if sets else NAN,
                    "p_sets": 0.1 if sets else NAN,
                    "n_sets": 20 if sets else 0,
                    "n_units": 8,
                }
            )
    return pl.DataFrame(made)


def test_no_head_taken_away_changes_nothing() -> None:
    data = with_none(rows())
    nothing = data.filter(pl.col("k") == 0)
    assert sorted(nothing["group"]) == ["ordinary", "semantic", "semantic (zeroed)"]
    assert nothing.select("estimate", "low", "high").to_numpy().tolist() == [[0.0, 0.0, 0.0]] * 3
    bands = dict(zip(nothing["group"], nothing["random_low"].is_nan(), strict=True))
    assert bands == {"ordinary": True, "semantic": False, "semantic (zeroed)": True}
    assert data.height == rows().height + 3
    assert data.filter(pl.col("k") > 0).sort("group", "k")["estimate"].to_list() == pytest.approx(
        [-0.3, -1.2, -0.1, -0.4, -0.2, -0.8]
    )


def test_groups_stand_beside_each_other_but_keep_their_order() -> None:
    """Points are moved by less than a third of a step, so that nobody reads another k."""
    data = with_none(rows())
    assert ((data["at"] - data["k"]).abs() < 1 / 3).all()
    assert data.filter(pl.col("k") == 4)["at"].n_unique() == 3


def test_the_picture_has_a_curve_and_a_band_per_group() -> None:
    (figure,) = groups({"relation_group_effects": rows()})
    marks = [layer["mark"]["type"] for layer in still(figure)["layer"]]
    assert marks == ["rule", "area", "line", "rule", "point"]
    assert figure.data["level"].unique().to_list() == ["right"]
    assert set(LEVELS) >= {"right", "pattern", "format", "loss_reduction", "loss"}


def test_nothing_taken_away_is_no_picture() -> None:
    assert groups({"relation_group_effects": rows().clear()}) == []
