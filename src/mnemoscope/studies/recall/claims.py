"""Claims C2.1, C2.2 and C2.6 of methods.md P2.7, with the rules that were fixed before any data were seen. No torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife
from mnemoscope.stats.verdict import SESOI, Rule, Verdict, all_of, verdict
from mnemoscope.studies.claim_row import claim_row
from mnemoscope.studies.recall.carriers_summary import maps
from mnemoscope.studies.recall.config import WORKINGS
from mnemoscope.studies.recall.shots_summary import few, strongest
from mnemoscope.studies.recall.units import Units

FEW_CARRY: Final = Rule(
    text="path patching to the logits at the last position, all facts: of the total drop of pi (sum over heads whose mean effect "
    "is negative), the share that the strongest tenth of the heads (at least 2, at most 5; chosen on the other half of the "
    "topics) hold lies above .5. Precondition: the total drop of these heads lies above .1 logit",
    sesoi=0.5,
)
ATTEND: Final = Rule(
    text="the (at most) three strongest task heads, chosen by interchange on the other half of the topics: attention from the last "
    "position to the topic's last token, minus 1 / tokens, lies above .05",
    sesoi=0.05,
)
WRITE: Final = Rule(
    text="the same heads: direct attribution to the topic's last token minus that of another topic of the relation lies above .1 "
    "logit",
    sesoi=SESOI["effect_logit"],
)
MOVE_MORE: Final = Rule(
    text="the same heads: Pearson correlation of attention to the topic and output times W_U[topic], within template "
    "across topics, lies above .05",
    sesoi=SESOI["alignment"],
)
SAME_HEADS: Final = Rule(
    text="Pearson correlation over heads of the interchange map without demonstrations, on one half of the topics, and the map "
    "with k demonstrations, on the other half (averaged over random halves) lies above .5. Precondition: its ceiling, from the "
    "maps' own correlations between halves, is at least .6",
    sesoi=0.5,
)
LARGER: Final = Rule(
    text="the strongest zero-shot heads (chosen on the other half) lower pi by .1 logit more with k demonstrations than with none",
    sesoi=SESOI["effect_logit"],
)
CEILING: Final = 0.6
NOTHING_KNOWN: Final = "the model knows no relation well enough (a quarter of its facts, at least six)"
BOTH: Final = "C2.2 those heads attend to the topic and write it"
BOTH_RULE: Final = "C2.2a and C2.2b are both supported; the number is that of C2.2b"
NAMES: Final = {
    "C2.1": ("C2.1 few heads carry the topic to the last position", FEW_CARRY, "effects"),
    "C2.2a": ("C2.2a those heads attend to the topic", ATTEND, "roles"),
    "C2.2b": ("C2.2b they write the topic", WRITE, "roles"),
    "C2.2c": ("C2.2c they write more of it where they attend more", MOVE_MORE, "roles"),
    "C2.6": ("C2.6 few shots use the same heads", SAME_HEADS, "shots"),
    "C2.6b": ("C2.6b and their effects are larger", LARGER, "shots"),
}


def claims(tables: Mapping[str, pl.DataFrame], roles: pl.DataFrame, shots: pl.DataFrame) -> pl.DataFrame:
    """One row per claim."""
    rows = [_carried(tables["effect_prompts"]), *_moved(roles), *_compared(shots)]
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def unmeasured(left_out: pl.DataFrame | None) -> str:
    """Why nothing but knowledge was measured: the model's heads cannot be read, or it knows too little."""
    rows = left_out.filter(pl.col("id") == WORKINGS) if left_out is not None else pl.DataFrame()
    return f"no head of the model can be exchanged: {rows['detail'][0]}" if rows.height else NOTHING_KNOWN


def untestable(reason: str) -> pl.DataFrame:
    """All claims of this file where there is nothing to test them on."""
    nothing = undefined(reason, method="none")
    rows = [_row(key, nothing, verdict(nothing, NAMES[key][1])) for key in NAMES]
    whole = next(row for row in rows if row["claim"] == NAMES["C2.2b"][0])
    rows.append({**whole, "claim": BOTH, "rule": BOTH_RULE})
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def share_of_few(found: Units) -> tuple[Estimate, Estimate]:
    """(share of the total drop that the strongest few hold, their drop in logits): heads chosen on the other half."""
    most = few(len(found.cells))
    values, topics, first = found.values, found.topics.astype(str), found.halves == "a"

    def parts(kept: np.ndarray) -> Float[np.ndarray, "2"]:
        total = np.zeros(2)
        for mine in (first, ~first):
            here, other = kept[mine[kept]], kept[~mine[kept]]
            if not len(here) or not len(other):
                return np.full(2, np.nan)
            drop = -np.nanmean(values[here], axis=0)
            heads = strongest(np.nanmean(values[other], axis=0), most)
            total += [drop[heads].sum(), np.maximum(drop, 0).sum()]
        return total

    def share(kept: np.ndarray) -> float:
        held, all_heads = parts(kept)
        return float(held / all_heads) if all_heads > 0 else np.nan

    strata = found.relations.astype(str)
    size = jackknife(lambda kept: float(parts(kept)[0]) / 2, topics, strata=strata)
    return jackknife(share, topics, strata=strata), size


def _carried(raw: pl.DataFrame) -> dict[str, Any]:
    found = raw.filter((pl.col("copy") == "trained") & (pl.col("method") == "path") & (pl.col("receiver") == "logits"))
    if not found.height:
        nothing = undefined("path patching of this model is refused: see left_out", method="none")
        return _row("C2.1", nothing, verdict(nothing, FEW_CARRY))
    share, size = share_of_few(maps(found))
    small = "" if size.low > SESOI["effect_logit"] else f"their drop, {size.estimate:.3g} logits, is not above .1"
    return _row("C2.1", share, verdict(share, FEW_CARRY, precondition=small))


def _moved(roles: pl.DataFrame) -> list[dict[str, Any]]:
    group = roles.filter((pl.col("copy") == "trained") & (pl.col("role") == "task_head") & (pl.col("half") == "both"))
    rows: list[dict[str, Any]] = []
    words: list[Verdict] = []
    for key, name in (("C2.2a", "attention"), ("C2.2b", "write_specific"), ("C2.2c", "correlation_topics")):
        one = _evidence(group, name)
        judged = verdict(one, NAMES[key][1])
        words.append(judged)
        rows.append(_row(key, one, judged))
    whole = all_of(words[:2])
    summary = {
        **rows[1],
        "claim": BOTH,
        "verdict": whole.verdict,
        "rule": BOTH_RULE,
        "reason": whole.reason,
    }
    return [summary, *rows]


def _evidence(group: pl.DataFrame, name: str) -> Estimate:
    """A number of the table `roles` minus its chance."""
    rows = group.filter(pl.col("evidence") == name)
    if not rows.height:
        return undefined("no task head was found", method="none")
    row = rows.row(0, named=True)
    found = Estimate(**{key: row[key] for key in ("estimate", "low", "high", "p", "n", "n_units", "method", "reason")})
    less = row["chance"]
    return replace(found, estimate=found.estimate - less, low=found.low - less, high=found.high - less)


def _compared(shots: pl.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for key, measure in (("C2.6", "correlation"), ("C2.6b", "larger")):
        some = shots.filter(pl.col("measure") == measure).sort("shots")
        if not some.height:
            nothing = undefined("no few-shot map was measured", method="none")
            rows.append(_row(key, nothing, verdict(nothing, NAMES[key][1])))
            continue
        row = some.row(0, named=True)
        one = Estimate(
            p=np.nan, **{name: row[name] for name in ("estimate", "low", "high", "n", "n_units", "method", "reason")}
        )
        flat = measure == "correlation" and not row["ceiling"] >= CEILING
        why = f"the maps are too noisy: ceiling {row['ceiling']:.2f}" if flat else ""
        rows.append(_row(key, one, verdict(one, NAMES[key][1], precondition=why)))
    return rows


def _row(key: str, found: Estimate, judged: Verdict) -> dict[str, Any]:
    name, rule, table = NAMES[key]
    return claim_row(name, found, rule, judged, table)
