"""What the page shows of the causal part of the icl study: links per prompt, transplants, ablations, dose curves.

Every picture has its controls in it: other sources beside the item's own, the cloud of random sets beside the chosen heads, the
distractor beside the relevant sentence, conditions' means taken out beside left in.
"""

from collections.abc import Mapping

import polars as pl

from mnemoscope.report.icl_heads import ablations, doses, heads, slopes
from mnemoscope.report.icl_links import link_points, link_slopes
from mnemoscope.report.icl_transplants import transplants, transplants_in_numbers
from mnemoscope.report.section import Block, Prose

LINKED = "Do the things that examples change inside change together with the answers, item by item?"
LEAD = (
    "So far things change together. What follows changes one of them: the state that examples leave is carried into the run "
    "without examples; heads are taken out; attention is turned up and down. Changes of answers are in nats, of the log "
    "probability of the whole right answer or of its margin over the nearest distractor."
)


def blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Block, ...]:
    """Blocks of the causal part, in reading order; what was not measured is left out and said."""
    makers = (
        ("icl_links", link_slopes),
        ("icl_link_points", link_points),
        ("", LEAD),
        ("icl_recovery", transplants),
        ("icl_recovery", transplants_in_numbers),
        ("icl_ablation_sets", ablations),
        ("icl_head_gains", heads),
        ("icl_dose_slopes", slopes),
        ("icl_doses", doses),
    )
    found: list[Block] = []
    absent: list[str] = []
    for name, make in makers:
        frame = tables.get(name)
        if isinstance(make, str):
            found.append(Prose(paragraphs=(make,)))
        elif frame is None or not frame.height:
            absent.append(name)
        else:
            found.append(make(frame))
    if absent:
        found.append(Prose(paragraphs=(f"Not measured: {', '.join(dict.fromkeys(absent))}.",)))
    return (Prose(paragraphs=(LINKED,)), *found)
