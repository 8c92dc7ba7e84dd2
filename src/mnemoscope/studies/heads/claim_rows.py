"""A claim of the heads study as a row of the table `claims`. No torch."""

import math
from collections.abc import Mapping
from typing import Any

from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.verdict import Rule, verdict
from mnemoscope.studies.claim_row import claim_row

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


def shown(one: Estimate) -> str:
    """Estimate and interval, or why there is none."""
    if math.isnan(one.low):
        return one.reason
    return f"{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}]"


def claim(name: str, one: Estimate, rule: Rule, evidence: str, obstacle: str = "") -> Row:
    """An estimate judged by a rule; obstacle: why it cannot be tested, "" if it can."""
    return claim_row(name, one, rule, verdict(one, rule, precondition=obstacle), evidence)
