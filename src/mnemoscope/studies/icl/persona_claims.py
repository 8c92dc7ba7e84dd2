"""Claims about the deceptive persona: truth falls, an example restores it, attention leaves what is relevant (P3.7, C3.7)."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mnemoscope.studies.icl.behaviour_summary import INTERACTION
from mnemoscope.studies.icl.claim_rules import LIES, LOOKS_AWAY, RESTORED, Claim, Part, looked_up
from mnemoscope.studies.icl.frames import Task

PAIRS = (("deceitful", "neutral"), ("truthful_deceitful", "truthful"))  # persona, and what it is compared with


def persona_claims(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.7: the drop of truth and of the attention ratio, and what an example restores beyond what it does without persona."""
    table, ratios = tables["icl_behaviour"], tables["icl_ratios"]
    place: dict[str, Any] = {"copy": "trained", "task": task.name}
    truth = {**place, "measure": "content"}
    lies = Claim(
        name="C3.7a a deceitful persona lowers truth",
        rule=LIES,
        parts=_lowered(table, truth),
        evidence="icl_behaviour",
        precondition=_unable(table, truth),
    )
    looks = Claim(
        name="C3.7c the persona draws attention away from what is relevant",
        rule=LOOKS_AWAY,
        parts=_lowered(ratios, {**place, "layer": -1, "head": -1}),
        evidence="icl_ratios",
        precondition="" if ratios.filter(pl.col("task") == task.name).height else "attention was not measured",
    )
    return [lies, _restored(lies, table, truth), looks]


def _lowered(table: pl.DataFrame, where: Mapping[str, Any]) -> tuple[Part, ...]:
    """Under each deceitful persona, against the same without it."""
    return tuple(
        Part(against=f"{other} ({persona})", found=looked_up(table, condition=persona, versus=other, **where))
        for persona, other in PAIRS
    )


def _unable(table: pl.DataFrame, truth: Mapping[str, Any]) -> str:
    """Why truth cannot fall; "" where answers without a persona are above chance."""
    named = {**truth, "condition": "neutral", "versus": ""}
    plain = table.filter(*(pl.col(n) == v for n, v in named.items()))
    able = plain.height and plain["low"][0] > plain["chance"][0]
    return "" if able else "without a persona its answers are not shown to be above chance"


def _restored(lies: Claim, table: pl.DataFrame, truth: Mapping[str, Any]) -> Claim:
    """C3.7b, testable where C3.7a holds."""
    lowered = lies.judged().verdict == "supported"
    return Claim(
        name="C3.7b an example restores it",
        rule=RESTORED,
        parts=tuple(
            Part(
                against=f"no example ({persona})",
                found=looked_up(table, condition=f"{persona}+example", versus=f"{persona}{INTERACTION}", **truth),
            )
            for persona, _ in PAIRS
        ),
        evidence="icl_behaviour",
        precondition=lies.precondition or ("" if lowered else "no persona was shown to lower truth: see C3.7a"),
    )
