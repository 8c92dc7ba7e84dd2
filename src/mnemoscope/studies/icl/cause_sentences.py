"""What the causal part found, in sentences: links, transplants, ablations, sharpened attention. No torch."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mnemoscope.studies.icl.ablation_summary import FEW_SETS
from mnemoscope.studies.icl.config import BRIEF
from mnemoscope.studies.icl.link_summary import ADJUSTED, OVER
from mnemoscope.studies.icl.recovery_summary import UPPER
from mnemoscope.studies.icl.sentences import Tables, number, row

SOURCES = {
    "same item": "from behind examples",
    "other item": "from behind examples of another item",
    "shuffled answers": "from behind shuffled examples",
    "neutral prefix": "from behind neutral text",
}


def findings(task: str, tables: Tables, verdicts: Mapping[str, str], obstacle: str) -> list[str]:
    """One sentence for each intervention that was made on this task; only why not, where examples gain nothing."""
    if obstacle:
        made = any(name.endswith(f"({task})") for name in verdicts)
        return [f"Cause ({task}): not testable, {obstacle}."] if made else []
    return [
        *_moved(task, tables["icl_recovery"]),
        *_without(task, tables["icl_ablation"]),
        *_sharpened(task, tables["icl_dose_slopes"]),
        *(_linked(task, tables["icl_links"]) if task not in BRIEF else []),
    ]


def _linked(task: str, table: pl.DataFrame) -> list[str]:
    own = table.filter(
        (pl.col("task") == task)
        & (pl.col("within") == ADJUSTED[1])
        & (pl.col("behaviour") == "logprob")
        & (pl.col("layer") == OVER)
        & ~pl.col("about").is_in(["both", "line"])
        & pl.col("estimate").is_not_nan()
    ).sort("estimate", descending=True)
    if not own.height:
        return []
    best = own.row(0, named=True)
    linked = own.filter(pl.col("low") > 0).height
    return [
        f"Links ({task}): of {own.height} things that change inside, {linked} changed more in the prompts whose answer improved "
        f"more; the strongest is {best['inside']} ({best['about']}), {number(best)} standard deviations of the answer's log "
        "probability per standard deviation inside, means of items and conditions taken out."
    ]


def _moved(task: str, table: pl.DataFrame) -> list[str]:
    where = {"copy": "trained", "task": task, "measure": "logprob", "layer": UPPER}
    parts: list[str] = []
    for place, words, sources in (
        ("last token", "the last token's state", tuple(SOURCES)),
        ("item tokens", "all states of the item's tokens", ("same item", "shuffled answers", "neutral prefix")),
    ):
        rows = {source: row(table, **where, place=place, source=source) for source in sources}
        shares = [
            f"{_share(found)} {SOURCES[source]}"
            for source, found in rows.items()
            if found is not None and found["recovery"] == found["recovery"]
        ]
        if shares:
            parts.append(f"{words}: {', '.join(shares)}")
    if not parts:
        return []
    return [
        f"Put into the run without examples ({task}), states from other runs bring this share of the gain in log probability "
        f"(mean over the upper half of the layers without the last): {'; '.join(parts)}."
    ]


def _share(found: Mapping[str, Any]) -> str:
    values = {"estimate": found["recovery"], "low": found["recovery_low"], "high": found["recovery_high"]}
    return number({**values, "reason": ""}, share=True)


def _without(task: str, table: pl.DataFrame) -> list[str]:
    where = {"copy": "trained", "task": task, "run": "after", "measure": "margin", "op": "mean"}
    alone, beyond = (row(table, **where, against=against) for against in ("nothing", "random heads"))
    if alone is None:
        return []
    text = (
        f"Without the heads whose attention to the relevant sentence rose most ({task}: {alone['heads']}), the lead of the right "
        f"answer over the distractors changes by {number(alone, sign=True)} nats"
    )
    if beyond is None:
        return [f"{text}; there is no other set of as many heads in these layers."]
    few = f", which is {FEW_SETS}" if beyond["smallest_p"] > 0.05 else ""
    return [
        f"{text}; that is {number(beyond, sign=True)} beyond {beyond['n_sets']} other sets of as many heads in the same layers, "
        f"p {beyond['p_sets']:.3f} of at least {beyond['smallest_p']:.3f}{few}."
    ]


def _sharpened(task: str, slopes: pl.DataFrame) -> list[str]:
    where = {"copy": "trained", "task": task, "measure": "margin", "heads": "all", "sentence": "difference"}
    parts: list[str] = []
    for run, words in (("before", "without examples"), ("after", "behind them")):
        own = slopes.filter(
            *(pl.col(n) == v for n, v in {**where, "run": run}.items()), pl.col("estimate").is_not_nan()
        )
        if own.height:
            best = own.sort("estimate", "layer", descending=[True, False]).row(0, named=True)
            parts.append(
                f"{number(best, sign=True)} nats {words} (layer {best['layer']}, p {best['p_maxt']:.3f} corrected)"
            )
    if not parts:
        return []
    return [
        f"Doubling attention to the relevant sentence rather than to a distractor ({task}) changes the lead of the right answer "
        f"by {'; '.join(parts)}; largest of all layers."
    ]
