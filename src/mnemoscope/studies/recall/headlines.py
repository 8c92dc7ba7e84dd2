"""What the run found, in sentences with numbers. No torch."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from mnemoscope.results.schema.shared import HEADLINES
from mnemoscope.studies.recall.claims import NOTHING_KNOWN
from mnemoscope.studies.recall.movers_summary import confirmed


def headlines(
    found: Mapping[str, pl.DataFrame], templates: pl.DataFrame, left_out: pl.DataFrame | None, unmeasured: str
) -> pl.DataFrame:
    """In reading order: what is known, what was left out, where it appears, who carries it, what few shots change.

    unmeasured: why nothing but knowledge was measured, if that is so.
    """
    texts = [*_known(found["knowledge"], templates, unmeasured), *_left(left_out)]
    if "effects" in found:
        texts += [
            *_appears(found["lens"]),
            *_carried(found["effects"]),
            *_moved(found["roles"]),
            *_shots(found["shots"]),
        ]
    texts += [f"{row['claim']}: {row['verdict']}." for row in found["claims"].iter_rows(named=True)]
    return pl.DataFrame({"order": range(len(texts)), "text": texts}, schema=HEADLINES.schema)


def said(row: Mapping[str, Any], digits: int = 2) -> str:
    """Estimate and interval."""
    if row["estimate"] != row["estimate"]:
        return "undefined"
    if row["low"] != row["low"]:
        return f"{row['estimate']:.{digits}f} (no interval)"
    return f"{row['estimate']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def place(layer: int, head: int) -> str:
    """A head, an MLP, or a part outside the layers."""
    return f"L{layer}H{head}" if head >= 0 else f"the MLP of layer {layer}"


def _known(knowledge: pl.DataFrame, templates: pl.DataFrame, unmeasured: str) -> list[str]:
    def row(copy: str, measure: str, shots: int = 0, template: int = -1) -> dict[str, Any] | None:
        some = knowledge.filter(
            (pl.col("relation") == "")
            & (pl.col("template") == template)
            & (pl.col("copy") == copy)
            & (pl.col("shots") == shots)
            & (pl.col("measure") == measure)
        )
        return some.row(0, named=True) if some.height else None

    texts: list[str] = []
    right, choice, control = row("trained", "accuracy"), row("trained", "choice"), row("reinitialised", "choice")
    chosen = templates.filter("chosen")["relation"].unique(maintain_order=True).to_list()
    if right is not None and choice is not None:
        asked = templates["relation"].n_unique()
        beside = "" if control is None else f"; re-initialised copy {said(control)}"
        texts.append(
            f"Asked {choice['n_units']} topics of {asked} relations, the model gives the answer in {said(right)} of the prompts "
            f"and prefers it to the relation's other answers in {said(choice)} (chance {choice['chance']:.2f}{beside})."
        )
    few = [(k, row("trained", "accuracy", k, 0)) for k in (0, 1, 2, 5)]
    told = ", ".join(f"{one['estimate']:.2f} with {k}" for k, one in few if one is not None)
    if told:
        texts.append(f"Accuracy on one template by number of demonstrations: {told}.")
    if not chosen:
        texts.append(
            f"The model knows (nearly) nothing of what it was asked: {NOTHING_KNOWN}. Nothing else was measured."
        )
    else:
        texts.append(f"The workings were measured on {len(chosen)} relations that it knows: {', '.join(chosen)}.")
    return texts


def _left(left_out: pl.DataFrame | None) -> list[str]:
    """How much was left out, by reason, the commonest first."""
    if left_out is None or not left_out.height:
        return []
    reasons = left_out.group_by("reason").len().sort("len", "reason", descending=[True, False])
    told = "; ".join(f"{n} x {reason}" for reason, n in reasons.iter_rows())
    return [f"Left out, each named with its detail in the table left_out: {told}."]


def _appears(lens: pl.DataFrame) -> list[str]:
    some = lens.filter(
        (pl.col("copy") == "trained") & (pl.col("facts") == "all") & (pl.col("measure") == "centred")
    ).sort("layer")
    texts: list[str] = []
    for token in ("topic", "answer"):
        one = some.filter(pl.col("token") == token).with_columns(rise=pl.col("estimate").diff())
        if one.height > 1:
            best = one.sort("rise", descending=True, nulls_last=True).row(0, named=True)
            texts.append(
                f"At the last position the {token} rises most in layer {best['layer']}: by {best['rise']:.2f} logits to "
                f"{said(best)} above the vocabulary's mean."
            )
    return texts


def _carried(effects: pl.DataFrame) -> list[str]:
    texts: list[str] = []
    for method, words in (("interchange", "exchanged with another topic's"), ("path", "replaced along direct paths")):
        some = effects.filter(
            (pl.col("copy") == "trained")
            & (pl.col("facts") == "all")
            & (pl.col("shots") == 0)
            & (pl.col("method") == method)
            & (pl.col("receiver") == "logits")
            & (pl.col("p_maxt") < 0.05)
            & (pl.col("estimate") < 0)
        ).sort("estimate")
        if some.height:
            listed = "; ".join(f"{place(r['layer'], r['head'])} {said(r)}" for r in some.head(3).iter_rows(named=True))
            units = some["n_units"][0]
            texts.append(f"Output {words}, the answer loses most by {listed} logits ({units} topics, p < .05 max-T).")
        else:
            texts.append(f"Output {words}, no head or MLP lowers the answer significantly.")
    return texts


def _moved(roles: pl.DataFrame) -> list[str]:
    texts: list[str] = []
    trained = roles.filter(pl.col("copy") == "trained")
    stands = confirmed(trained).filter(pl.col("half") != "both")
    for role, words in (("mover", "Movers"), ("copy_suppression", "Copy-suppression heads")):
        some = trained.filter(pl.col("role") == role)
        group = {row["evidence"]: row for row in some.filter(pl.col("half") == "both").iter_rows(named=True)}
        own = stands.filter(pl.col("role") == role)
        heads = own.filter("confirmed").select("layer", "head").unique().sort("layer", "head")
        if not heads.height or "attention" not in group:
            texts.append(f"{words}: none ({own.height} candidates, none has all parts of the role on other topics).")
            continue
        names = ", ".join(place(layer, head) for layer, head in heads.iter_rows())
        texts.append(
            f"{words}: {names}. Those chosen on one half of the topics, on the other: attention to the topic "
            f"{said(group['attention'])} (even: {group['attention']['chance']:.2f}), write of the topic "
            f"{said(group['write'])} logits above the vocabulary's mean and {said(group['write_specific'])} above another "
            f"topic's, correlation of attention and write across topics {said(group['correlation_topics'])}."
        )
    return texts


def _shots(shots: pl.DataFrame) -> list[str]:
    some = {row["measure"]: row for row in shots.sort("shots", descending=True).iter_rows(named=True)}
    if "rank_correlation" not in some:
        return []
    ranks, alike, shared = some["rank_correlation"], some["correlation"], some["overlap"]
    return [
        f"With {alike['shots']} demonstrations the map of heads correlates {said(alike)} with the zero-shot map of other topics "
        f"(ceiling {alike['ceiling']:.2f}; by ranks {said(ranks)}, ceiling {ranks['ceiling']:.2f}); the strongest heads overlap by "
        f"{shared['estimate']:.2f} (ceiling {shared['ceiling']:.2f}, chance {shared['chance']:.2f})."
    ]
