"""A judged claim as a row of the table `claims`, in every study the same. No torch."""

from typing import Any

from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.verdict import Rule, Verdict


def claim_row(name: str, found: Estimate, rule: Rule, judged: Verdict, evidence: str) -> dict[str, Any]:
    """Columns of `results.schema.shared.CLAIMS`; evidence: the table that holds the numbers."""
    return {
        "claim": name,
        "verdict": judged.verdict,
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "sesoi": rule.sesoi,
        "n": found.n,
        "n_units": found.n_units,
        "rule": rule.text,
        "reason": judged.reason or found.reason,
        "evidence": evidence,
    }
