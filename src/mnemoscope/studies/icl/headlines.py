"""The study in sentences with numbers: answers, what changes inside, what causes them; then every claim's verdict. No torch."""

from collections.abc import Mapping, Sequence

import polars as pl

from mnemoscope.results.schema.shared import HEADLINES
from mnemoscope.stats.estimate import Estimate
from mnemoscope.studies.icl.claim_rules import Claim
from mnemoscope.studies.icl.config import BRIEF
from mnemoscope.studies.icl.frames import Task
from mnemoscope.studies.icl.sentences import answered, inside, not_used


def headlines(
    tasks: Sequence[Task],
    claims: Sequence[Claim],
    tables: Mapping[str, pl.DataFrame],
    more: Sequence[str],
) -> pl.DataFrame:
    """Findings first: how tasks were answered, what changes inside, what causes it (`more`), the side tasks; then every claim."""
    verdicts = {claim.name: claim.judged().verdict for claim in claims}
    main, side = ([task for task in tasks if (task.name in BRIEF) == brief] for brief in (False, True))
    texts = [text for task in main for text in answered(task, tables["icl_behaviour"])]
    texts += not_used(tasks, tables.get("icl_left_out"))
    texts += [text for task in main for text in inside(task, tables, verdicts)]
    texts += more
    texts += [text for task in side for text in answered(task, tables["icl_behaviour"])]
    texts += [_said(claim) for claim in claims]
    return pl.DataFrame({"order": range(len(texts)), "text": texts}, schema=HEADLINES.schema)


def _number(one: Estimate) -> str:
    return f"{one.estimate:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _said(claim: Claim) -> str:
    judged = claim.judged()
    if judged.verdict == "not testable":
        return f"{claim.name}: not testable ({judged.reason})."
    parts = "; ".join(f"{_number(part.found)} against {part.against}" for part in claim.parts)
    control = claim.parts[0].control
    other = (
        f"; re-initialised copy {control.estimate:.3g}"
        if control is not None and control.estimate == control.estimate
        else ""
    )
    return f"{claim.name}: {judged.verdict}, {parts}{other}."
