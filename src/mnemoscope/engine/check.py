"""`ms.check`: what can be done with a model, found out on the model itself, with the error of every identity.

Nothing is promised from a model's name. Every capability is tried on a few random tokens: its identities are measured
(`mnemoscope.engine.identities`, `mnemoscope.engine.patched`) and its verdict is "yes", "partly" or "no", the latter two
with the reason. A refusal is a verdict, not an error; only an identity that fails is a fault.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from mnemoscope.axes import CAPABILITIES
from mnemoscope.engine import identities, patched
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.identities import Line, Setting, some_layers
from mnemoscope.errors import MnemoscopeError, UnsupportedError, VerificationError, listed
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason
from mnemoscope.model.weights import WEIGHTS, weight_reason

Question = Callable[[Setting], Iterator[Line]]

QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "record": (identities.idle, identities.attention_rows),
    "patch-fast": (patched.fast,),
    "patch-slow": (patched.slow,),
    "decompose": (identities.writers, identities.head, identities.parts),
    "weights": (identities.weights,),
    "padding": (identities.padding,),
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a model has a capability: "yes", "partly" or "no"; the reason is empty for "yes"."""

    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What can be done with a model, and the largest error of every identity.

    floor: largest difference between evaluations of the unmodified model that are equal in mathematics, in logits; scale:
    its largest |logit| on the random prompts. capabilities: name -> verdict.
    """

    model: str
    dtype: str
    device: str
    floor: float
    scale: float
    lines: tuple[Line, ...]
    capabilities: Mapping[str, Verdict]

    @property
    def ok(self) -> bool:
        """Every identity that was measured holds, and the model can be recorded."""
        return all(line.ok for line in self.lines) and self.capabilities["record"].verdict != "no"

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Verdicts and identities as text."""
        head = f"{self.model}  {self.dtype}  {self.device}  noise floor {self.floor:.1e} logits of {self.scale:.3g}"
        verdicts = [f"  {name:<11} {verdict}" for name, verdict in self.capabilities.items()]
        width = max((len(line.identity) for line in self.lines), default=0)
        rows = [
            f"  {line.identity:<{width}}  {line.error:8.1e}  {'<=' if line.ok else '> '} {line.allowed:7.1e} {line.unit}"
            for line in self.lines
        ]
        return "\n".join([head, *verdicts, f"  {'identity':<{width}}  largest error and what rounding allows", *rows])


@torch.no_grad()
def check(lm: LM) -> CheckReport:
    """Try every capability of a model on a few random tokens.

    Costs some tens of short forward passes. Raises nothing for a model that was loaded: what it does not have is said in
    `capabilities`, what does not hold in `lines`.
    """
    try:
        asked = identities.setting(lm)
    except Exception as error:  # whatever a foreign model raises: nothing can be asked of it
        reason = f"it cannot be run: {_short(error)}"
        return _report(lm, float("nan"), float("nan"), (), {name: _no(reason) for name in CAPABILITIES})
    lines: list[Line] = []
    capabilities: dict[str, Verdict] = {}
    for name in CAPABILITIES:
        found, reason = _answers(QUESTIONS[name], asked)
        lines += found
        capabilities[name] = _verdict(name, asked, found, reason)
    return _report(lm, asked.floor, asked.scale, tuple(lines), capabilities)


def _report(lm: LM, floor: float, scale: float, lines: tuple[Line, ...], found: Mapping[str, Verdict]) -> CheckReport:
    return CheckReport(
        model=lm.name,
        dtype=str(lm.dtype).removeprefix("torch."),
        device=str(lm.device),
        floor=floor,
        scale=scale,
        lines=lines,
        capabilities=found,
    )


def _answers(questions: tuple[Question, ...], asked: Setting) -> tuple[list[Line], str]:
    """The lines of some questions, and why some have no (complete) answer."""
    lines: list[Line] = []
    reasons: list[str] = []
    for question in questions:
        try:
            for line in question(asked):  # what was measured before a refusal counts
                lines.append(line)
        except VerificationError as error:
            lines.append(Line(identity=error.asked, error=float("inf"), allowed=0.0, unit=""))
        except UnsupportedError as error:
            reasons.append(error.found or error.asked)
        except Exception as error:  # whatever a foreign model raises is a reason, never the end of a check
            reasons.append(_short(error))
    return lines, "; ".join(dict.fromkeys(reasons))


def _verdict(name: str, asked: Setting, lines: list[Line], reason: str) -> Verdict:
    broken = [line.identity for line in lines if not line.ok]
    if name == "padding":
        return _padding(asked.lm, broken)
    if broken:
        return _no(f"does not hold: {listed(broken)}")
    if name == "record" and lines:
        reason = asked.lm.reason("record") or reason
    if name == "weights":
        return _weights(asked.lm)
    if name == "decompose" and not reason:
        notes = decompose(asked.lm, asked.base).notes
        reason = f"heads not told apart in {listed(notes, most=3)}" if notes else ""
    whole = name == "decompose" and "heads not told apart" not in reason
    if not reason:
        return Verdict(verdict="yes")
    return Verdict(verdict="partly", reason=reason) if lines and not whole else _no(reason)


def _padding(lm: LM, broken: list[str]) -> Verdict:
    """Both sides as the batch room judges them, and as the lines of this check found them: the stricter of the two."""
    reasons = {side: padding_reason(lm, side) for side in ("right", "left")}
    for side in reasons:
        lines = [line for line in broken if line.startswith((side, "beside"))]
        reasons[side] = reasons[side] or (f"does not hold: {listed(lines)}" if lines else "")
    bad = [reason for reason in reasons.values() if reason]
    if len(bad) == len(reasons):
        return _no("; ".join(dict.fromkeys(bad)))
    bad += ["its own cache does not continue a prompt"] if any(line.startswith("cached") for line in broken) else []
    return Verdict(verdict="partly", reason="; ".join(bad)) if bad else Verdict(verdict="yes")


def _weights(lm: LM) -> Verdict:
    layers = some_layers(lm)
    found: dict[str, list[str]] = {}
    absent = 0
    for name in WEIGHTS:
        reasons = {weight_reason(lm, name, layer) for layer in (layers if name not in ("W_E", "W_U") else (0,))} - {""}
        absent += bool(reasons)
        for reason in reasons:
            found.setdefault(reason, []).append(name)
    reason = "; ".join(f"no {', '.join(names)}: {reason}" for reason, names in found.items())
    return Verdict(verdict="yes" if not absent else "no" if absent == len(WEIGHTS) else "partly", reason=reason)


def _no(reason: str) -> Verdict:
    return Verdict(verdict="no", reason=reason)


def _short(error: Exception) -> str:
    if isinstance(error, MnemoscopeError):
        return str(error)
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
