"""From an estimate to a word: supported, contradicted, undetermined, not testable (B2.3).

A claim's rule is written down before the data are seen. It names the smallest effect of interest d (the `sesoi`), and the
verdict reads off where the interval lies: wholly beyond d, wholly short of it, or across. "Undetermined" carries the minimum
detectable effect, so that a reader knows what the data could have shown.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from scipy.stats import norm

from mnemoscope.errors import InputError, choose
from mnemoscope.stats.estimate import Estimate

VERDICTS: Final = ("supported", "contradicted", "undetermined", "not testable")
SIDES: Final = ("greater", "less", "beyond", "within")

SESOI: Final[Mapping[str, float]] = MappingProxyType(
    {
        "ri_excess": 0.05,  # share of the relation index above its null
        "effect_logit": 0.1,  # logits
        "alignment": 0.05,  # rank correlation
        "probe": 0.05,  # accuracy, or R2
        "log_ratio": 0.1,  # nats, attention ratio
        "probability": 0.02,
    }
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A decision rule, fixed before the data are seen.

    text       the rule in words, printed beside the verdict
    sesoi      smallest effect of interest d >= 0, in the estimate's unit
    side       greater: claim says effect > d; less: effect < -d; beyond: |effect| > d; within: |effect| < d
    min_units  fewer independent units than this: not testable
    """

    text: str
    sesoi: float
    side: str = "greater"
    min_units: int = 3

    def __post_init__(self) -> None:
        choose("side of a rule", self.side, SIDES)
        if not 0 <= self.sesoi < math.inf:
            raise InputError("a smallest effect of interest is no length", found=str(self.sesoi), allowed=">= 0")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """verdict: one of VERDICTS; reason in words; mde: the effect that would have been found with 80% power, nan if untestable."""

    verdict: str
    reason: str
    mde: float


def verdict(estimate: Estimate, rule: Rule | float, *, precondition: str = "") -> Verdict:
    """Apply a rule (or a bare sesoi d with side "greater") to an estimate.

        greater      supported: low > d        contradicted: high < d
        less         supported: high < -d      contradicted: low > -d
        beyond       supported: low > d or high < -d      contradicted: -d < low and high < d
        within       the two words of "beyond" exchanged
        otherwise    undetermined, with the minimum detectable effect

    Not testable: a failed `precondition` (its text is the reason), an undefined estimate or interval, or fewer than
    `rule.min_units` independent units. mde = d + (z_.975 + z_.80) se with se = (high - low) / (2 z_.975): the true effect that
    this interval's width declares supported in 80% of repetitions (normal approximation; for "within" it is the largest
    deviation from zero noise allows, d - (z_.975 + z_.80) se, nan if negative). Beyond B2.3: sides other than "greater".
    """
    if not isinstance(rule, Rule):
        rule = Rule(text=f"interval above {rule:g}", sesoi=float(rule))
    obstacle = precondition or _obstacle(estimate, rule)
    if obstacle:
        return Verdict(verdict="not testable", reason=obstacle, mde=math.nan)
    word = _word(estimate.low, estimate.high, rule)
    mde = _minimum_detectable(estimate, rule)
    interval = f"{estimate.estimate:.3g} [{estimate.low:.3g}, {estimate.high:.3g}], d = {rule.sesoi:g} ({rule.side})"
    tail = f"; minimum detectable effect {mde:.3g}" if word == "undetermined" else ""
    return Verdict(verdict=word, reason=interval + tail, mde=mde)


def _obstacle(estimate: Estimate, rule: Rule) -> str:
    if any(math.isnan(x) for x in (estimate.estimate, estimate.low, estimate.high)):
        return estimate.reason
    if estimate.n_units < rule.min_units:
        return f"{estimate.n_units} independent units, the rule needs {rule.min_units}"
    return ""


def _word(low: float, high: float, rule: Rule) -> str:
    d = rule.sesoi
    outside, inside = low > d or high < -d, low > -d and high < d
    yes, no = {
        "greater": (low > d, high < d),
        "less": (high < -d, low > -d),
        "beyond": (outside, inside),
        "within": (inside, outside),
    }[rule.side]
    return "supported" if yes else "contradicted" if no else "undetermined"


def _minimum_detectable(estimate: Estimate, rule: Rule) -> float:
    z = float(norm.ppf(0.975))
    reach = (z + float(norm.ppf(0.8))) * (estimate.high - estimate.low) / (2 * z)
    if rule.side == "within":
        return rule.sesoi - reach if reach <= rule.sesoi else math.nan
    return rule.sesoi + reach


def band(
    estimate: Estimate, *, edge: float = 0.25, names: tuple[str, str, str] = ("erase", "keep", "amplify")
) -> Verdict:
    """Three-way reading of a weight w (B6.5): after the layer a head counts 1 + w.

    `erase` if the interval lies below -edge, `amplify` if above edge, `keep` if inside (-edge, edge), else "undetermined".
    Undefined estimates are "not testable".
    """
    if any(math.isnan(x) for x in (estimate.estimate, estimate.low, estimate.high)):
        return Verdict(verdict="not testable", reason=estimate.reason, mde=math.nan)
    below, inside, above = names
    low, high = estimate.low, estimate.high
    word = below if high < -edge else above if low > edge else inside if -edge < low and high < edge else "undetermined"
    mde = _minimum_detectable(estimate, Rule(text="band", sesoi=edge, side="beyond"))
    return Verdict(verdict=word, reason=f"{estimate.estimate:.3g} [{low:.3g}, {high:.3g}], edge {edge:g}", mde=mde)


def all_of(parts: Iterable[Verdict]) -> Verdict:
    """A claim with several parts, all needed: contradicted if one part is, supported if all are.

    Otherwise not testable if every part that is not supported is so, else undetermined. No parts: not testable.
    """
    parts = list(parts)
    words = {part.verdict for part in parts}
    reason = "; ".join(f"{part.verdict}: {part.reason}" for part in parts) or "the claim has no part that was measured"
    mde = max((part.mde for part in parts if not math.isnan(part.mde)), default=math.nan)
    if "contradicted" in words:
        word = "contradicted"
    elif words == {"supported"}:
        word = "supported"
    else:
        word = "not testable" if words <= {"supported", "not testable"} else "undetermined"
    return Verdict(verdict=word, reason=reason, mde=mde)
