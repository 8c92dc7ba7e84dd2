"""A claim of the heads study as a row of the table `claims`. No torch."""

import math
from collections.abc import Mapping
from typing import Any

from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.verdict import Rule, Verdict, verdict

Row = dict[str, Any]


def estimate_of(row: Mapping[str, Any]) -> Estimate:
    """A row of a table as a record."""
    return Estimate(
        estimate=row["estimate"],
        low=row["low"],
        high=row["high"],
        p=float(row.get("p", math.nan)),
        n=row["n"],
        n_units=row["n_units"],
        method="as in its table",
        reason=row["reason"],
    )


def claim(name: str, one: Estimate, rule: Rule, evidence: str, obstacle: str = "") -> Row:
    """An estimate judged by a rule; obstacle: why it cannot be tested, "" if it can."""
    judged: Verdict = verdict(one, rule, precondition=obstacle)
    return {
        "claim": name,
        "verdict": judged.verdict,
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "p": one.p,
        "sesoi": rule.sesoi,
        "n": one.n,
        "n_units": one.n_units,
        "rule": rule.text,
        "reason": judged.reason or one.reason,
        "evidence": evidence,
    }
