"""What the answers lose without the heads whose attention ratio rose, against layer-matched random heads (B7.6, B5). No torch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy.stats import rankdata

from mnemoscope.results.schema.icl_cause import ABLATION, ABLATION_SETS, HEAD_GAINS, MEASURES
from mnemoscope.stats.clusters import clustered_mean, codes
from mnemoscope.stats.estimate import undefined
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, all_of, verdict
from mnemoscope.studies.icl.cause_rows import Claimed, estimate_of, grid, row_of, sentence, units_of

ALPHA = 0.05
FEW_SETS = "too few for any p of .05"
PERMUTATIONS = 1999
NEEDED = Rule(
    text="margin behind examples (nats) without the heads whose attention ratio rose most (mean-ablated; chosen on half of the "
    "items, judged on the rest), minus the mean over layer-matched random sets: below -.1, and p over the sets at most .05; not "
    "testable where the sets of as many heads in the same layers allow no p of .05 (fewer than 19 of them)",
    sesoi=SESOI["effect_logit"],
    side="less",
)


def head_gains(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """icl_head_gains: the rises, each beside the mean change without that head; nan where nothing was ablated."""
    place = ("copy", "task", "layer", "head")
    changes = tables["icl_head_changes"].group_by(place).agg(pl.col(MEASURES).fill_nan(None).mean())
    joined = tables["icl_head_rises"].join(changes, on=place, how="left", maintain_order="left")
    return joined.with_columns(pl.col(MEASURES).fill_null(math.nan)).select(list(HEAD_GAINS.schema))


def ablation(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """icl_ablation and icl_ablation_sets, on the judging items."""
    rows: list[dict[str, Any]] = []
    sets: list[dict[str, Any]] = []
    judged = tables["icl_ablations"].filter(pl.col("judging"))
    for (copy, task, run), frame in judged.partition_by(
        ["copy", "task", "run"], as_dict=True, maintain_order=True
    ).items():
        for measure in MEASURES:
            place = {"copy": copy, "task": task, "measure": measure, "run": run}
            if frame[measure].is_nan().all():
                continue
            more, means = _means(place, frame)
            sets += more
            rows += _rows(place, frame, means)
    return {
        "icl_ablation": pl.DataFrame(rows, schema=ABLATION.schema),
        "icl_ablation_sets": pl.DataFrame(sets, schema=ABLATION_SETS.schema),
    }


def _means(place: Mapping[str, Any], frame: pl.DataFrame) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Mean change per set; the chosen one first."""
    cells, _, values = grid(frame.filter(pl.col("op") == "mean"), ["set", "heads"], place["measure"])
    means = np.nanmean(values, axis=1)
    rows = [
        {**place, "set": number, "heads": heads, "effect": float(mean)}
        for (number, heads), mean in zip(cells.rows(), means, strict=True)
    ]
    return rows, means


def _rows(place: Mapping[str, Any], frame: pl.DataFrame, means: np.ndarray) -> list[dict[str, Any]]:
    chosen = frame.filter(pl.col("set") == 0)
    heads, rows = str(chosen["heads"][0]), list[dict[str, Any]]()
    nothing = {"random_low": math.nan, "random_high": math.nan, "p_sets": math.nan, "smallest_p": math.nan, "n_sets": 0}
    for op in chosen["op"].unique(maintain_order=True):
        _, prompts, own = grid(chosen.filter(pl.col("op") == op), ["set"], place["measure"])
        found = clustered_mean(own[0], units_of(prompts))
        rows.append({**place, "op": op, "against": "nothing", "heads": heads, **row_of(found), **nothing})
    if len(means) > 1:
        _, prompts, values = grid(frame.filter(pl.col("op") == "mean"), ["set"], place["measure"])
        excess = clustered_mean(values[0] - values[1:].mean(0), units_of(prompts))
        band = {
            "random_low": float(np.quantile(means[1:], 0.025)),
            "random_high": float(np.quantile(means[1:], 0.975)),
            "p_sets": float((1 + (means[1:] <= means[0]).sum()) / len(means)),
            "smallest_p": 1 / len(means),
            "n_sets": len(means) - 1,
        }
        rows.append({**place, "op": "mean", "against": "random heads", "heads": heads, **row_of(excess), **band})
    return rows


def ablation_claims(tables: Mapping[str, pl.DataFrame], gains: Mapping[str, str]) -> list[Claimed]:
    """One claim per task whose prompts tell relevant from other sentences."""
    claims: list[Claimed] = []
    table = tables["icl_ablation"].filter(
        (pl.col("copy") == "trained") & (pl.col("run") == "after") & (pl.col("measure") == "margin")
    )
    measured = tables["icl_head_gains"].filter(pl.col("copy") == "trained")["task"].unique(maintain_order=True)
    for task in measured:
        name = f"C3.9a heads whose attention ratio rose are needed ({task})"
        rows = table.filter((pl.col("task") == task) & (pl.col("against") == "random heads"))
        found = (
            estimate_of(rows.row(0, named=True)) if rows.height else undefined(_why(tables, task), method="ablation")
        )
        obstacle = gains.get(task, "") or (_too_few(rows.row(0, named=True)) if rows.height else "")
        judged = verdict(found, NEEDED, precondition=obstacle)
        more = ""
        if rows.height:
            row = rows.row(0, named=True)
            if judged.verdict == "supported":
                judged = all_of([judged, _over_sets(row)])
            others = table.filter((pl.col("task") == task) & (pl.col("against") == "nothing"))
            ops = ", ".join(f"{op} {mean:.2g}" for op, mean in others.select("op", "estimate").rows())
            p = f"p over {row['n_sets']} sets {row['p_sets']:.3g} (smallest {row['smallest_p']:.3g})"
            more = f"{row['heads']}; {p}; not minus random: {ops}{_control(tables, task)}{_by_head(tables, task)}"
        text = sentence(name, judged, found, "nats beyond random heads", more)
        claims.append(Claimed(name=name, found=found, judged=judged, rule=NEEDED, evidence="icl_ablation", text=text))
    return claims


def _control(tables: Mapping[str, pl.DataFrame], task: str) -> str:
    rows = tables["icl_ablation"].filter(
        (pl.col("copy") == "reinitialised")
        & (pl.col("task") == task)
        & (pl.col("run") == "after")
        & (pl.col("measure") == "margin")
        & (pl.col("against") == "random heads")
    )
    return f"; re-initialised copy {rows['estimate'][0]:.2g}" if rows.height else ""


def _by_head(tables: Mapping[str, pl.DataFrame], task: str) -> str:
    """Head by head: does the rise of the ratio go with the loss? Rank correlation within layers, permuted within layers."""
    rows = tables["icl_head_gains"].filter(
        (pl.col("copy") == "trained")
        & (pl.col("task") == task)
        & pl.col("choosing").is_finite()
        & pl.col("margin").is_finite()
    )
    found = gain_and_loss(rows["choosing"].to_numpy(), -rows["margin"].to_numpy(), rows["layer"].to_numpy())
    return "" if math.isnan(found[0]) else f"; head by head, rise against loss {found[0]:.2g} (p {found[1]:.2g})"


def gain_and_loss(
    rise: Float[np.ndarray, " head"], loss: Float[np.ndarray, " head"], layers: Int[np.ndarray, " head"]
) -> tuple[float, float]:
    """Correlation of the ranks of rise and loss within layers (means of layers taken out), one-sided p over 1,999 permutations.

    nan with fewer than 6 heads, or where either is constant within layers.
    """
    code, n = codes(layers)
    ranks = [_ranked(v, code, n) for v in (rise, loss)]
    size = math.sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1]))
    if len(rise) < 6 or size < 1e-12:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    order = [np.lexsort((rng.random(len(code)), code)) for _ in range(PERMUTATIONS)]
    base = np.argsort(code, kind="stable")
    there = np.array([ranks[0][base] @ ranks[1][one] for one in order]) / size
    r = float(ranks[0] @ ranks[1]) / size
    return r, float((1 + (there >= r - 1e-12).sum()) / (1 + PERMUTATIONS))


def _ranked(values: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    """Ranks within layers, about each layer's mean rank."""
    out = np.empty(len(values))
    for layer in range(n):
        own = rankdata(values[code == layer])
        out[code == layer] = own - own.mean()
    return out


def _why(tables: Mapping[str, pl.DataFrame], task: str) -> str:
    own = tables["icl_head_gains"].filter((pl.col("copy") == "trained") & (pl.col("task") == task))
    if not own["chosen"].any():
        return (
            "no head could be chosen: none gains attention to the relevant sentence, or layers have fewer than 4 heads"
        )
    return "there is no other set of as many heads in these layers, or no distractor"


def _too_few(row: Mapping[str, Any]) -> str:
    """Why no p over the sets can be small enough; "" if one can."""
    if row["smallest_p"] <= ALPHA:
        return ""
    return (
        f"only {row['n_sets']} other sets of as many heads in the same layers ({row['heads']}): p over sets {row['p_sets']:.3g}, "
        f"the smallest possible {row['smallest_p']:.3g}"
    )


def _over_sets(row: Mapping[str, Any]) -> Verdict:
    """Whether random sets could have done it."""
    said = f"p over {row['n_sets']} layer-matched sets {row['p_sets']:.3g}, smallest possible {row['smallest_p']:.3g}"
    word = "supported" if row["p_sets"] <= ALPHA else "undetermined"
    return Verdict(verdict=word, reason=said, mde=math.nan)
