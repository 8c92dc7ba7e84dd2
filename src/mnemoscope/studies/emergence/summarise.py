"""What the emergence study infers: curves, onsets, specificity, persistence, claims. No torch."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mnemoscope.results.schema.emergence import (
    CURVES,
    FOLLOWED,
    GATES,
    HEAD_ONSETS,
    ONSET_DIFFERENCES,
    PERSISTENCE,
    SPECIFICITY,
    TABLES,
)
from mnemoscope.stats.clusters import clustered_means
from mnemoscope.stats.onset import Onset
from mnemoscope.studies.emergence import curves, timing
from mnemoscope.studies.emergence.claims import CONDITIONAL, FORMED, LEVELS, PASSING, Run, claims
from mnemoscope.studies.emergence.config import Config
from mnemoscope.studies.emergence.curves import HELD, PASSES, POOLED, RI, Block, Curve
from mnemoscope.studies.emergence.headlines import headlines
from mnemoscope.studies.emergence.maps import persistence

UNITS = ("level_units", "head_units", "relation_units", "pass_units")
Tables = Mapping[str, pl.DataFrame]


def summarise(tables: Tables, config: Config) -> dict[str, pl.DataFrame]:
    """All tables that follow from the rows of the jobs."""
    rows = {name: tables.get(name, TABLES[name].empty()) for name in UNITS}
    measured = pl.concat([frame.select("copy", "series") for frame in rows.values()]).unique().sort("copy", "series")
    made: dict[str, list[pl.DataFrame]] = {}
    runs: list[Run] = []
    for copy, series in measured.iter_rows():
        own = {
            name: frame.filter((pl.col("copy") == copy) & (pl.col("series") == series)) for name, frame in rows.items()
        }
        found = _Series(own, series, config.seed)
        made.setdefault("curves", []).append(_curve_table(found.curves, copy, series))
        if copy == "trained":
            runs.append(found.run)
            for name, frame in found.tables().items():
                made.setdefault(name, []).append(frame)
    whole = {name: pl.concat(frames) for name, frames in made.items()}
    judged = claims(runs)
    return {**whole, "claims": judged, "headlines": headlines(runs, whole, judged)}


class _Series:
    """Everything about one training run, from its rows."""

    def __init__(self, rows: Tables, series: str, seed: int) -> None:
        self.series, self.seed = series, seed
        self.followed: list[pl.DataFrame] = []
        self.maps: dict[str, tuple[Block, np.ndarray]] = {}
        self.common = sorted(set.intersection(*(set(f["step"].to_list()) for f in rows.values() if f.height)))
        self.curves = [*curves.levels(rows["level_units"]), *self._induction(rows["head_units"])]
        self.corpus = ""
        for name in _corpora(rows["relation_units"]):
            shares, rates = (rows[table].filter(pl.col("corpus") == name) for table in UNITS[2:])
            self.curves += self._relations(shares, rates, name)
        self.onsets = self._onsets(curves.most_shots(rows["level_units"]))
        places = self._places()
        named = {name: self.onsets[place] for name, place in places.items() if place in self.onsets}
        missing = {name: self._missing(*place) for name, place in places.items() if name not in named}
        self.run = Run(series=series, steps=self.common, named=named, lacking=missing, ri=self._ri())

    def _induction(self, rows: pl.DataFrame) -> list[Curve]:
        found = {score: (block, chance) for score, block, chance in curves.induction_blocks(rows)}
        if not found:
            return []
        chosen = curves.chosen(found["prefix_matching"][0])
        self.followed.append(curves.followed(self.series, "prefix_matching", found["prefix_matching"][0], chosen))
        made: list[Curve] = []
        for score, (block, chance) in found.items():
            count = curves.block(rows.filter(pl.col("score") == score), "n").values
            made += curves.of_heads(block, score, "random", chosen, chance, np.nan_to_num(count))
            self.maps[score] = (block, chance)
        return made

    def _relations(self, rows: pl.DataFrame, rates: pl.DataFrame, corpus: str) -> list[Curve]:
        sets: dict[str, tuple[int, ...]] = {}
        alone = rows.filter(pl.col("relation") != "all")
        rows = rows.filter(pl.col("relation") == "all")
        for variant in curves.PRIMARY:
            block = curves.relation_block(rows, RI, "argmax", variant)
            sets[variant] = curves.chosen(block)
            if not self.corpus:
                self.followed.append(curves.followed(self.series, variant, block, sets[variant]))
                self.maps[f"{RI}:{variant}"] = (block, np.zeros(len(block.steps)))
        if not self.corpus:
            above = curves.pass_block(rates.filter(pl.col("relation") == "all"), PASSES, "argmax")
            self.maps[f"{PASSES}:argmax"] = (above, np.zeros(len(above.steps)))
            self.corpus = corpus
        followed, every = sets["ctx_src"], rates.filter(pl.col("relation") == "all")
        made = [*curves.pass_curves(every, corpus, followed, GATES), *curves.relation_curves(rows, corpus, sets)]
        for (relation,), part in alone.group_by(["relation"], maintain_order=True):
            if part["unit"].n_unique() >= timing.FEWEST:
                alike = rates.filter(pl.col("relation") == relation)
                made += curves.pass_curves(alike, f"{corpus} {relation}", followed, GATES[:1])
                made += curves.one_relation(part, f"{corpus} {relation}", followed)
        return made

    def _onsets(self, shots: int) -> dict[tuple[str, str], tuple[Curve, Onset]]:
        found: dict[tuple[str, str], tuple[Curve, Onset]] = {}
        for curve in self.curves:
            one = timing.curve_onset(curve, self.seed, self.common) if _timed(curve, shots) else None
            if one is not None:
                found[curve.quantity, curve.scope] = (curve, one)
        return found

    def _missing(self, quantity: str, scope: str) -> str:
        """Why there is no onset of a quantity."""
        curve = next((one for one in self.curves if (one.quantity, one.scope) == (quantity, scope)), None)
        if curve is not None:
            return timing.no_onset(curve, self.common)
        whole = next((one for one in self.curves if one.quantity == quantity), None)
        few = whole is not None and len(whole.units) < timing.FEWEST
        return timing.no_onset(whole, self.common) if whole is not None and few else "not measured, see `checkpoints`"

    def _places(self) -> dict[str, tuple[str, str]]:
        """Quantity and scope of the onsets that are compared with each other, by the names that tables and claims use."""
        pooled = next((one.scope for one in self.curves if one.quantity == "pattern" and POOLED in one.scope), "")
        heads = f"{self.corpus}/followed heads"
        return {
            "loss_reduction": ("loss_reduction", "text"),
            **{level: (level, pooled) for level in LEVELS[1:]},
            "prefix matching": ("prefix_matching", "random/followed heads"),
            "copying": ("copying_contextual", "random/followed heads"),
            PASSING: (f"{PASSES}:argmax", heads),
            FORMED: (f"{RI}:ctx_src:argmax", heads),
            "ri given passing": ("excess:ctx_src:argmax", heads),
            CONDITIONAL: (f"{HELD}:ctx_src:held", heads),
        }

    def _ri(self) -> Block | None:
        found = self.maps.get(f"{RI}:ctx_src")
        return None if found is None else found[0]

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables that only a training run has."""
        heads = [
            timing.head_onsets(self.series, score, block, chance, self.seed, self.common)
            for score, (block, chance) in self.maps.items()
        ]
        head_onsets = pl.concat([HEAD_ONSETS.empty(), *heads])
        levels = {name: found for name, found in self.run.named.items() if name in LEVELS}
        maps = [persistence(self.series, score, block) for score, (block, _) in self.maps.items()]
        return {
            "onsets": timing.onsets([timing.onset_row(self.series, curve, one) for curve, one in self.onsets.values()]),
            "onset_differences": pl.concat(
                [ONSET_DIFFERENCES.empty(), timing.difference_rows(self.series, self.run.named)]
            ),
            "head_onsets": head_onsets,
            "specificity": pl.concat(
                [SPECIFICITY.empty(), timing.specificity(self.series, levels, head_onsets, self.common)]
            ),
            "persistence": pl.concat([PERSISTENCE.empty(), *maps]),
            "followed": pl.concat([FOLLOWED.empty(), *self.followed]),
        }


def _corpora(rows: pl.DataFrame) -> list[str]:
    """Corpora with rows; letters, on which claims rest, first."""
    return sorted(rows["corpus"].unique().to_list(), key=lambda name: (name != "letters", name))


def _timed(curve: Curve, shots: int) -> bool:
    """Curves whose onset is asked: levels at the most shots, and quantities of all relations that have a chance level."""
    if curve.quantity in ("right", "legal") or (" " in curve.scope.split("/")[0] and POOLED not in curve.scope):
        return False
    kind, _, rest = curve.quantity.partition(":")
    if rest:
        return kind == PASSES or (rest.startswith(curves.PRIMARY) and kind in ("excess", RI))
    return "/" not in curve.scope or curve.scope.endswith((f"/{shots}", "heads"))


def _curve_table(found: Sequence[Curve], copy: str, series: str) -> pl.DataFrame:
    """Means over units with intervals, one row per checkpoint."""
    frames: list[pl.DataFrame] = []
    for curve in found:
        each = clustered_means(curve.values.T, np.arange(len(curve.units)))
        frames.append(
            pl.DataFrame(
                {
                    "copy": copy,
                    "series": series,
                    "step": curve.steps,
                    "quantity": curve.quantity,
                    "scope": curve.scope,
                    "estimate": each.estimate,
                    "low": each.low,
                    "high": each.high,
                    "chance": curve.chance,
                    "n": curve.n,
                    "n_units": each.n_units,
                    "method": each.method,
                    "reason": [str(why) for why in each.reason],
                },
                schema=CURVES.schema,
            )
        )
    return pl.concat([CURVES.empty(), *frames])
