"""What the heads study infers: an estimate with chance, interval and corrected p per head and score. No torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from mnemoscope.results.job import seed_of
from mnemoscope.results.schema.heads import HEADS, TABLES
from mnemoscope.results.schema.shared import CLAIMS, HEADLINES
from mnemoscope.stats.clusters import bounded_mean, clustered_mean, clustered_means
from mnemoscope.stats.estimate import Estimate
from mnemoscope.stats.maxt import sign_flip_max_t
from mnemoscope.stats.verdict import Rule
from mnemoscope.studies.heads import (
    relation_claims,
    relation_grids,
    relation_headlines,
    relation_inference,
    relation_links,
    relation_maps,
)
from mnemoscope.studies.heads.claim_rows import claim
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.group_inference import group_effects

TWO_SIDED = ("ablation_loss", "ablation_loss_zero", "ablation_loss_resample")
NO_WEIGHTS = "the value or output map of this layer is not affine, or its output is flat: see `mnemoscope check`"
INDUCTION = Rule(
    text="the head with the highest prefix matching x copying in context on one half of the random sequences (prefix matching "
    "alone in a model whose copying is undefined); its prefix matching above chance on the other half (share of attention) "
    "lies above .05",
    sesoi=0.05,
)
MATTERS = Rule(
    text="the same head, chosen on one half; rise of the loss on repeated tokens (nats) when it is mean-ablated in the other half "
    "lies above .1",
    sesoi=0.1,
)


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """heads, claims and headlines from the values per sequence."""
    raw = tables["head_sequences"]
    parts = [
        _cells(frame, seed_of(config.seed, "/".join(map(str, key))))
        for key, frame in raw.group_by(["copy", "corpus", "score"], maintain_order=True)
    ]
    found = relation_tables(tables, config)
    heads = pl.concat([*parts, *found.pop("scores")])
    asked = "relation_opportunities" in tables
    missing = "" if found["relations"].height else f"relations were not measured: {_no_relations(config, asked=asked)}"
    everything = {**tables, **found, "heads": heads}
    about = relation_claims.claims(tuple(relation_grids.parts(tables)), everything, missing)
    claims = pl.concat([_claims(raw), about])
    said = _headlines(heads.filter(pl.col("relation") == ""))
    if config.data is not None and "text" not in raw["corpus"]:
        said.append(f"Running text was not measured: fewer than 3 texts of {Path(config.data).name} are long enough.")
    said += [f"{missing[0].upper()}{missing[1:]}."] if missing else []
    said += relation_headlines.headlines(everything)
    said.append(relation_headlines.verdicts(claims))
    lines = pl.DataFrame({"order": range(len(said)), "text": said}, schema=HEADLINES.schema)
    return {"heads": heads, **found, "claims": claims, "headlines": lines}


def _no_relations(config: Config, *, asked: bool) -> str:
    """Why no relation has a row. asked: documents were read, and all they hold was left out."""
    if config.data is None:
        return "no built-in corpus can be read with this model's tokenizer"
    if asked:
        return f"no triple of {Path(config.data).name} can be used with this model, see relation_left_out"
    return f"{Path(config.data).name} holds no triples (the built-in corpora are read without --data)"


def relation_tables(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, Any]:
    """The tables about relations, corpus by corpus, and their rows of the table `heads`."""
    made: dict[str, list[pl.DataFrame]] = {name: [TABLES[name].empty()] for name in INFERRED}
    causes = tables.get("relation_causes", TABLES["relation_causes"].empty())
    for part in relation_grids.parts(tables):
        rows = causes.filter((pl.col("copy") == part.copy) & (pl.col("corpus") == part.corpus))
        made["relations"].append(relation_inference.relations(part, config))
        made["relation_checks"].append(relation_inference.checks(part))
        made["relation_chosen"].append(relation_links.chosen_table(part, rows))
        if rows.height:
            made["relation_effects"].append(relation_links.effect_table(part, rows, config))
            made["relation_links"].append(relation_links.links(part, rows, config))
        if part.copy == "trained":
            made["relation_stability"].append(relation_maps.stability(part, config))
            made["relation_swap"].append(relation_maps.swap(part))
    found = {name: pl.concat(frames) for name, frames in made.items()}
    if "relation_groups" in tables:
        found["relation_group_effects"] = group_effects(tables["relation_groups"])
    scores = [frame.select(list(HEADS.schema)) for frame in relation_inference.scores(found["relations"])]
    return {**found, "scores": scores}


INFERRED = (
    "relations",
    "relation_checks",
    "relation_stability",
    "relation_swap",
    "relation_effects",
    "relation_links",
    "relation_chosen",
)


def _matrix(frame: pl.DataFrame, column: str) -> tuple[Float[np.ndarray, "sequence cell"], pl.DataFrame]:
    """Values as sequences x heads, and the heads in that order."""
    ordered = frame.sort("layer", "head", "sequence")
    cells = ordered.select("layer", "head").unique(maintain_order=True)
    n = ordered["sequence"].n_unique()
    return ordered[column].cast(pl.Float64).to_numpy().reshape(len(cells), n).T, cells


def _cells(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    score = frame["score"][0]
    values, cells = _matrix(frame, "value")
    chance, _ = _matrix(frame, "chance")
    tokens, _ = _matrix(frame, "n")
    there = ~np.isnan(values)
    found = clustered_means(values, np.arange(len(values)))
    low, high, why = found.low.copy(), found.high.copy(), found.reason.astype(object)
    for cell in np.flatnonzero(np.isnan(low) & ~np.isnan(found.estimate)) if score not in TWO_SIDED else ():
        one = bounded_mean(np.clip(values[:, cell], 0, 1), np.arange(len(values)), limits=(0.0, 1.0))
        low[cell], high[cell], why[cell] = one.low, one.high, one.reason
    family = sign_flip_max_t(
        values - chance,
        rng=np.random.default_rng(seed),
        side="two-sided" if score in TWO_SIDED else "greater",
    )
    with np.errstate(invalid="ignore"):
        even = np.where(there, chance, 0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
    nothing = ~there.any(0)
    reason = np.where(nothing & (score in ("copying", "copying_contextual")), NO_WEIGHTS, why.astype(str))
    reason = np.where((reason == "") & np.isnan(family.p), family.reason.astype(str), reason)
    return cells.with_columns(
        copy=pl.lit(frame["copy"][0]),
        corpus=pl.lit(frame["corpus"][0]),
        score=pl.lit(score),
        relation=pl.lit(""),
        estimate=pl.Series(found.estimate),
        low=pl.Series(low),
        high=pl.Series(high),
        chance=pl.Series(even),
        p_maxt=pl.Series(family.p),
        n=pl.Series(tokens.sum(0).astype(np.int64)),
        n_units=pl.Series(there.sum(0).astype(np.int64)),
        method=pl.lit(f"{found.method}; {family.method}"),
        reason=pl.Series([str(text) for text in reason]),
    ).select(list(HEADS.schema))


def _claims(raw: pl.DataFrame) -> pl.DataFrame:
    """Both claims about ordinary induction, on the trained model; the head is chosen on sequences that do not judge it."""
    random = raw.filter((pl.col("copy") == "trained") & (pl.col("corpus") == "random"))
    chosen_on = sorted(random["sequence"].unique().to_list())[::2]
    layer, head = _chosen(random.filter(pl.col("sequence").is_in(chosen_on)))
    here = random.filter((pl.col("layer") == layer) & (pl.col("head") == head) & ~pl.col("sequence").is_in(chosen_on))
    rows = [
        claim(f"H1 a head does induction (L{layer}H{head})", _excess(here, "prefix_matching"), INDUCTION, "heads"),
        claim(f"H2 the model needs it (L{layer}H{head})", _excess(here, "ablation_loss"), MATTERS, "heads"),
    ]
    return pl.DataFrame(rows, schema=CLAIMS.schema)


def _chosen(half: pl.DataFrame) -> tuple[int, int]:
    """The head that both looks and copies most; ties go to the first."""
    means = (
        half.with_columns(pl.col("value").fill_nan(None))
        .group_by("layer", "head", "score", maintain_order=True)
        .agg(pl.col("value").mean())
        .pivot(on="score", index=["layer", "head"], values="value")
    )
    unknown = means["copying_contextual"].null_count() == len(means)
    copies = pl.lit(1.0) if unknown else pl.col("copying_contextual").fill_null(0.0)  # a flat head copies nothing
    ranked = means.with_columns(both=pl.col("prefix_matching") * copies).sort(
        ["both", "layer", "head"], descending=[True, False, False], nulls_last=True
    )
    return int(ranked["layer"][0]), int(ranked["head"][0])


def _excess(frame: pl.DataFrame, score: str) -> Estimate:
    """Mean above the mean chance level, over sequences."""
    rows = frame.filter(pl.col("score") == score).sort("sequence")
    values, chance = rows["value"].to_numpy(), float(rows["chance"].to_numpy().mean()) if rows.height else 0.0
    each = np.arange(len(values))
    if score in TWO_SIDED:
        return clustered_mean(values, each)
    found = bounded_mean(np.clip(values, 0, 1), each, limits=(0.0, 1.0), null=chance)
    return replace(found, estimate=found.estimate - chance, low=found.low - chance, high=found.high - chance)


def _headlines(heads: pl.DataFrame) -> list[str]:
    def best(score: str, copy: str = "trained") -> dict[str, Any] | None:
        rows = heads.filter((pl.col("copy") == copy) & (pl.col("corpus") == "random") & (pl.col("score") == score))
        rows = rows.filter(pl.col("estimate").is_not_nan()).sort("estimate", descending=True)
        return rows.row(0, named=True) if rows.height else None

    texts: list[str] = []
    for score, words in (
        ("prefix_matching", "Strongest prefix matching"),
        ("ablation_loss", "Most missed on repeated tokens"),
    ):
        top, control = best(score), best(score, "reinitialised")
        if top is not None:
            other = "" if control is None else f"; best head of the re-initialised copy {control['estimate']:.3f}"
            texts.append(
                f"{words}: L{top['layer']}H{top['head']}, {top['estimate']:.3f} "
                f"[{top['low']:.3f}, {top['high']:.3f}], chance {top['chance']:.3f}, "
                f"{top['n_units']} sequences, {_told_apart(top)}{other}."
            )
    return texts


def _told_apart(row: Mapping[str, Any]) -> str:
    """The corrected p, and what it says where it is not small: flips of n signs cannot give less than 2^-n."""
    if row["p_maxt"] != row["p_maxt"]:
        return "too few for an interval or a p"
    smallest = 2.0 ** ((1 if row["score"] in TWO_SIDED else 0) - row["n_units"])
    apart = "" if row["p_maxt"] < 0.05 else ": not told apart from chance"
    if smallest > 0.05:
        apart = f": {row['n_units']} sequences cannot give less than {smallest:.3g}"
    return f"p {row['p_maxt']:.4f} (max-T){apart}"
