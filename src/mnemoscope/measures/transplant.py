"""Transplanting residuals: does the state that a prompt has behind examples bring the answer without the examples?

    recovery = (patched - before) / (after - before)

before: the prompt without examples; after: behind them; patched: the run before, in which the stream behind one block takes the
values of another run at the same tokens of the test item (methods B7.6; activation patching between conditions, after Hendel et
al. 2023, arXiv 2310.15916, and Todd et al. 2024, arXiv 2310.15213, who carry means or averaged vectors; here it is the state of
the very item, with its controls). Behind the last block the last token's state is the answer's first token itself: a ceiling, no
evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.verify import Verification
from mnemoscope.measures.answer_margin import END, judged, plain
from mnemoscope.measures.transplant_runs import ITEM, OTHER, Runs
from mnemoscope.model.lm import LM

PLACES: Final = (END, ITEM)


@dataclass(frozen=True, kw_only=True, eq=False)
class Transplanted:
    """Answers in patched runs, in nats: axes as named, places in the order of PLACES, layers 0 ..."""

    sources: tuple[str, ...]
    logprob: Float[np.ndarray, "source place layer prompt"]
    margin: Float[np.ndarray, "source place layer prompt"]
    before: Mapping[str, Float[np.ndarray, " prompt"]]  # logprob, margin
    verification: Verification


def transplanted(lm: LM, aligned: Runs, *, budget: str | int = "1GiB") -> Transplanted:
    """The stream behind every block, from every source, at the last token alone and at all shared tokens jointly."""
    named = tuple(aligned.sources)
    cells = [
        (Patch(site="resid_post", layer=layer, position=place, source=number),)
        for number in range(len(named))
        for place in PLACES
        for layer in range(lm.n_layers)
    ]
    found = judged(lm, aligned.before, cells, sources=[aligned.sources[s] for s in named], budget=budget)
    shape = (len(named), len(PLACES), lm.n_layers, -1)
    logprob, margin = found.logprob.reshape(shape).copy(), found.margin.reshape(shape).copy()
    alone = np.array(aligned.kept) == np.array(aligned.partner)
    for values in (logprob, margin):
        values[named.index(OTHER), ..., alone] = np.nan
    return Transplanted(
        sources=named,
        logprob=logprob,
        margin=margin,
        before={"logprob": found.plain_logprob, "margin": found.plain_margin},
        verification=found.verification,
    )


def behind(lm: LM, aligned: Runs, *, budget: str | int = "1GiB") -> dict[str, dict[str, Float[np.ndarray, " prompt"]]]:
    """Source -> logprob and margin of the whole runs that the states are taken from (not of OTHER: it has another answer)."""
    found = {source: plain(lm, asked, budget=budget) for source, asked in aligned.after.items()}
    return {s: {"logprob": one.plain_logprob, "margin": one.plain_margin} for s, one in found.items()}
