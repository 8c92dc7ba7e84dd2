"""Claims about the deceptive persona: truth falls, an example restores it, attention leaves what is relevant (P3.7, C3.7)."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mnemoscope.studies.icl.behaviour_summary import INTERACTION
from mnemoscope.studies.icl.claim_rules import LIES, LOOKS_AWAY, RESTORED, Claim, Part, looked_up
from mnemoscope.studies.icl.frames import Task


def persona_claims(task: Task, tables: Mapping[str, pl.DataFrame]) -> list[Claim]:
    """C3.7: the drop of truth and of the attention ratio, and what an example restores beyond what it does without persona."""
    table, ratios = tables["icl_behaviour"], tables["icl_ratios"]
    place: dict[str, Any] = {"copy": "trained", "task": task.name}
    truth = {**place, "measure": "content"}
    plain = table.filter(*(pl.col(n) == v for n, v in {**truth, "condition": "neutral", "versus": ""}.items()))
    able = plain.height and plain["low"][0] > plain["chance"][0]
    unable = "" if able else "without a persona its answers are not above chance"
    pairs = (("deceitful", "neutral"), ("truthful_deceitful", "truthful"))

    def parts(frame: pl.DataFrame, where: dict[str, Any]) -> tuple[Part, ...]:
        return tuple(
            Part(against=f"{other} ({condition})", found=looked_up(frame, condition=condition, versus=other, **where))
            for condition, other in pairs
        )

    lies = Claim(
        name="C3.7a a deceitful persona lowers truth",
        rule=LIES,
        parts=parts(table, truth),
        evidence="icl_behaviour",
        precondition=unable,
    )
    lowered = lies.judged().verdict == "supported"
    restored = Claim(
        name="C3.7b an example restores it",
        rule=RESTORED,
        parts=tuple(
            Part(
                against=f"no example ({persona})",
                found=looked_up(table, condition=f"{persona}+example", versus=f"{persona}{INTERACTION}", **truth),
            )
            for persona, _ in pairs
        ),
        evidence="icl_behaviour",
        precondition=unable or ("" if lowered else "no persona was shown to lower truth: see C3.7a"),
    )
    looks = Claim(
        name="C3.7c the persona draws attention away from what is relevant",
        rule=LOOKS_AWAY,
        parts=parts(ratios, {**place, "layer": -1, "head": -1}),
        evidence="icl_ratios",
        precondition="" if ratios.filter(pl.col("task") == task.name).height else "attention was not measured",
    )
    return [lies, restored, looks]
