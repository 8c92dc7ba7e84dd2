"""Claim C1.7 of arXiv 2402.13055 (methods.md P1.7): semantic heads matter for in-context learning. No torch."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from mnemoscope.stats.clusters import clustered_mean
from mnemoscope.stats.estimate import undefined
from mnemoscope.stats.verdict import SESOI, Rule
from mnemoscope.studies.heads.claim_rows import Row, claim, estimate_of, shown
from mnemoscope.studies.heads.relation_links import FEWEST

MATTER: Final = Rule(
    text="probability of the right label among the legal ones without the semantic heads (largest k; chosen on "
    f"{FEWEST} documents or more), minus its mean without layer-matched random heads, lies below -.02; and p over the sets is "
    "at most .05",
    sesoi=SESOI["probability"],
    side="less",
    min_units=4,
)
MATTER_MORE: Final = Rule(
    text="the same without semantic heads that are no ordinary induction heads (largest k), minus that without as many ordinary "
    "induction heads, lies below -.02",
    sesoi=SESOI["probability"],
    side="less",
    min_units=4,
)
NEEDED = "C1.7 semantic heads matter for in-context learning"
P_SETS: Final = 0.05


def needed(tables: Mapping[str, pl.DataFrame], choosing: int) -> list[Row]:
    """Both forms of the claim, for the largest group. choosing: documents on which the semantic heads were chosen."""
    effects, raw = tables["relation_group_effects"], tables["relation_groups"]
    k = int(raw["k"].max())  # pyright: ignore[reportArgumentType]
    obstacle = _few(choosing) or unable(
        raw.filter((pl.col("k") == k) & (pl.col("level") == "right") & (pl.col("group") == "none"))
    )
    found: list[Row] = []
    for label, rule, group, against in (
        (NEEDED, MATTER, "semantic", "random heads"),
        ("C1.7 they matter more than ordinary induction heads", MATTER_MORE, "semantic_not_ordinary", "ordinary heads"),
    ):
        rows = effects.filter(
            (pl.col("k") == k)
            & (pl.col("level") == "right")
            & (pl.col("op") == "mean")
            & (pl.col("group") == group)
            & (pl.col("against") == against)
        )
        nothing = undefined("no head has a positive relation index, or no random set exists", method="ablation")
        one = estimate_of(rows.row(0, named=True)) if rows.height else nothing
        row = claim(f"{label} (k = {k})", one, rule, "relation_group_effects", obstacle)
        found.append(_over_sets(row, rows) if rule is MATTER else row)
    return found


def _few(choosing: int) -> str:
    """Why heads chosen on so few documents are not the semantic heads of the model; "" if there are enough."""
    return "" if choosing >= FEWEST else f"the heads were chosen on {choosing} documents, the rule needs {FEWEST}"


def unable(base: pl.DataFrame) -> str:
    """Why the tasks cannot show a loss: the whole model does not do them; "" if it does."""
    if not base.height or not base["value"].is_not_nan().any():
        return "the tasks do not fit the model's context, or their labels share tokens"
    above = clustered_mean((base["value"] - base["chance"]).to_numpy(), base["unit"].to_numpy())
    if not above.low > 0:
        return f"the whole model is not shown to do the tasks: above chance {shown(above)}"
    return ""


def _over_sets(row: Row, rows: pl.DataFrame) -> Row:
    """Supported only if the group also stands out among its random counterparts; the p of the claim is that one."""
    if not rows.height:
        return row
    p, smallest = float(rows["p_sets"][0]), float(rows["smallest_p"][0])
    said = f"{row['reason']}; p over {rows['n_sets'][0]} sets {p:.3g}, smallest possible {smallest:.3g}"
    word = "undetermined" if row["verdict"] == "supported" and not p <= P_SETS else row["verdict"]
    more = "; underpowered" if smallest > P_SETS else ""
    return row | {"verdict": word, "p": p, "reason": said + more}
