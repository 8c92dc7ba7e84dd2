"""Training curves as arrays: every quantity as checkpoints x units, from the rows that jobs wrote. No torch.

Two scopes of heads: all heads of the model, and `followed` ones. Those are chosen without looking at the curve: the strongest at
the last checkpoint on every other unit; their curve is made of the units between.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from mnemoscope.results.schema.emergence import FOLLOWED, LEVEL_QUANTITIES, VARIANTS

FOLLOWED_SHARE = 0.05  # of all heads; at least 2
FALLS = ("loss", "loss_reduction")  # learning makes them smaller
POOLED = "all tasks"
PASSES = "excess_pass_rate"  # beyond what a head's distances give
RI = "excess_per_opportunity"  # the primary quantity of the relation index, gate argmax (methods P1.5)
PRIMARY = ("ctx_src", "out")  # variants on which claims rest (B1.1)
HELD = "excess"  # on fixed events


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity over training.

    values   nan where a unit has none;  chance: of each checkpoint, nan where there is no such level;  n: observations
    """

    quantity: str
    scope: str
    steps: Int[np.ndarray, " checkpoint"]
    values: Float[np.ndarray, "checkpoint unit"]
    chance: Float[np.ndarray, " checkpoint"]
    n: Int[np.ndarray, " checkpoint"]
    units: tuple[str, ...]

    @property
    def falls(self) -> bool:
        """Whether learning makes it smaller."""
        return self.quantity in FALLS


@dataclass(frozen=True, kw_only=True)
class Block:
    """One column of rows about heads as an array; nan where there is no row."""

    steps: Int[np.ndarray, " checkpoint"]
    units: tuple[str, ...]
    heads: tuple[tuple[int, int], ...]
    values: Float[np.ndarray, "checkpoint unit head"]


def block(rows: pl.DataFrame, column: str, axes: pl.DataFrame | None = None, *, empty: float = np.nan) -> Block:
    """`column` by step, unit and head. axes: rows whose steps, units and heads span the array (default: `rows`)."""
    span = rows if axes is None else axes
    steps = np.array(sorted(span["step"].unique().to_list()), dtype=np.int64)
    units = tuple(sorted(span["unit"].unique().to_list()))
    heads = tuple(sorted(span.select("layer", "head").unique().iter_rows()))
    values = np.full((len(steps), len(units), len(heads)), empty)
    if rows.height:
        at = {unit: i for i, unit in enumerate(units)}
        place = {head: i for i, head in enumerate(heads)}
        i = np.searchsorted(steps, rows["step"].to_numpy())
        j = np.array([at[unit] for unit in rows["unit"].to_list()])
        k = np.array([place[head] for head in rows.select("layer", "head").iter_rows()])
        values[i, j, k] = rows[column].cast(pl.Float64).to_numpy()
    return Block(steps=steps, units=units, heads=heads, values=values)


def mean(values: Float[np.ndarray, "*rest last"]) -> Float[np.ndarray, "*rest"]:
    """Mean over the last axis without nan; nan where nothing is there."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(-1) / np.where(there.any(-1), there.sum(-1), np.nan)


def levels(rows: pl.DataFrame) -> Iterator[Curve]:
    """Curves of losses, and of every task and number of shots; the pooled one is the mean of all tasks at the most shots."""
    for (quantity, task, shots), part in rows.group_by(["quantity", "task", "shots"], maintain_order=True):
        found = _level(part, str(quantity), str(task) if task == "text" else f"{task}/{shots}")
        if found is not None:
            yield found
    asked = rows.filter(pl.col("task") != "text")
    if not asked.height:
        return
    most = most_shots(rows)
    same = asked.filter(pl.col("shots") == most).with_columns(unit=pl.col("unit").str.replace(r"^.*:", "set:"))
    whole = same.group_by("quantity", "step", "unit", maintain_order=True).agg(
        pl.col("value", "chance").mean(), pl.col("n").sum(), pl.len().alias("tasks")
    )
    whole = whole.filter(pl.col("tasks") == same["task"].n_unique())
    for quantity in LEVEL_QUANTITIES:
        found = _level(whole.filter(pl.col("quantity") == quantity), quantity, f"{POOLED}/{most}")
        if found is not None:
            yield found


def most_shots(rows: pl.DataFrame) -> int:
    """The largest number of shots that every task was asked with; -1 without tasks."""
    asked = rows.filter(pl.col("task") != "text")
    each = asked.group_by("task", maintain_order=True).agg(pl.col("shots").unique())["shots"].to_list()
    return max(set.intersection(*map(set, each)), default=-1) if each else -1


def _level(part: pl.DataFrame, quantity: str, scope: str) -> Curve | None:
    if not part.height:
        return None
    single = part.with_columns(layer=pl.lit(0), head=pl.lit(0))
    value, chance, n = (block(single, name) for name in ("value", "chance", "n"))
    if np.isnan(value.values).all():
        return None
    known = quantity not in ("legal",)
    return Curve(
        quantity=quantity,
        scope=scope,
        steps=value.steps,
        values=value.values[..., 0],
        chance=mean(chance.values[..., 0]) if known else np.full(len(value.steps), np.nan),
        n=np.nan_to_num(n.values[..., 0]).sum(1).astype(np.int64),
        units=value.units,
    )


def chosen(found: Block) -> tuple[int, ...]:
    """The heads to follow: the strongest at the last checkpoint, on every other unit; undefined ones are never chosen."""
    k = max(2, round(FOLLOWED_SHARE * len(found.heads)))
    last = np.nan_to_num(mean(np.moveaxis(found.values[-1, ::2], 0, -1)), nan=-np.inf)
    return tuple(int(i) for i in np.argsort(-last, kind="stable")[: min(k, len(found.heads))])


def followed(series: str, score: str, found: Block, heads: Sequence[int]) -> pl.DataFrame:
    """Rows of the table `followed`."""
    last = mean(np.moveaxis(found.values[-1, ::2], 0, -1))
    rows = [
        {"series": series, "score": score, "rank": rank, "layer": layer, "head": head, "chosen": float(last[i])}
        for rank, i in enumerate(heads)
        for layer, head in [found.heads[i]]
    ]
    return pl.DataFrame(rows, schema=FOLLOWED.schema)


def of_heads(
    found: Block, quantity: str, prefix: str, heads: Sequence[int], chance: np.ndarray | Block, n: np.ndarray
) -> Iterator[Curve]:
    """The curve of all heads on all units, and of the followed heads on the units that did not choose them.

    chance: of each checkpoint, the same for all heads; or a null of every head and unit, then averaged as the values are.
    """
    shown = [("all heads", range(len(found.heads)), slice(None))]
    shown += [("followed heads", heads, slice(1, None, 2))] if len(heads) and len(found.units) > 1 else []
    for name, which, units in shown:
        values = mean(found.values[:, units][:, :, list(which)])
        level = mean(mean(chance.values[:, units][:, :, list(which)])) if isinstance(chance, Block) else chance
        if not np.isnan(values).all():
            yield Curve(
                quantity=quantity,
                scope=f"{prefix}/{name}",
                steps=found.steps,
                values=values,
                chance=level,
                n=n[:, units][:, :, list(which)].sum((1, 2)).astype(np.int64),
                units=found.units[units],
            )


def induction_blocks(rows: pl.DataFrame) -> Iterator[tuple[str, Block, Float[np.ndarray, " checkpoint"]]]:
    """(score, values, chance at every checkpoint) of ordinary induction."""
    for (score,), part in rows.group_by(["score"], maintain_order=True):
        chance = block(part, "chance")
        yield str(score), block(part, "value"), mean(chance.values.reshape(len(chance.steps), -1))


def relation_block(rows: pl.DataFrame, column: str, gate: str, variant: str) -> Block:
    """One quantity of the relation index of one corpus. Per opportunity it is 0 where a head never passes, given passing undefined.

    column: index, null, percentile, per_opportunity, excess (index - null) or excess_per_opportunity.
    """
    span = rows.filter(pl.col("slice") == "free")
    part = rows.filter((pl.col("slice") == gate) & (pl.col("variant") == variant)).with_columns(
        excess=pl.col("index") - pl.col("null"),
        excess_per_opportunity=pl.col("per_opportunity") - pl.col("null_per_opportunity"),
    )
    rate = column in ("per_opportunity", "null_per_opportunity", "excess_per_opportunity")
    return block(part, column, span, empty=0.0 if rate else np.nan)


def pass_block(rows: pl.DataFrame, column: str, gate: str) -> Block:
    """pass_rate, null_pass_rate, n, or excess_pass_rate (their difference) of every head, from rows of `pass_units`."""
    part = rows.filter(pl.col("slice") == gate)
    return block(part.with_columns(excess_pass_rate=pl.col("pass_rate") - pl.col("null_pass_rate")), column)


def pass_curves(rows: pl.DataFrame, scope: str, heads: Sequence[int], gates: Sequence[str]) -> Iterator[Curve]:
    """Pass rates beside the rate that each head's distances give, and the difference, whose chance is 0."""
    for gate in gates:
        found, null = (pass_block(rows, column, gate) for column in ("pass_rate", "null_pass_rate"))
        n = np.nan_to_num(pass_block(rows, "n", gate).values)
        yield from of_heads(found, f"pass_rate:{gate}", scope, heads, null, n)
        above, zero = pass_block(rows, PASSES, gate), np.zeros(len(found.steps))
        yield from of_heads(above, f"{PASSES}:{gate}", scope, heads, zero, n)


def relation_curves(rows: pl.DataFrame, corpus: str, sets: Mapping[str, Sequence[int]]) -> Iterator[Curve]:
    """All curves of the index on one corpus: shares given passing, per opportunity, and on fixed events, for all variants.

    sets: variant -> heads to follow. The chance of a share is its matched null, so the excess has chance 0.
    """
    counts = {gate: relation_block(rows, "n", gate, "out").values for gate in ("argmax", "tau", "free", "held")}
    for variant in VARIANTS:
        heads = sets.get(variant, sets.get("ctx_src", ()))
        for gate in ("argmax", "tau", "free", "held"):
            null = relation_block(rows, "null", gate, variant)
            zero, half = np.zeros(len(null.steps)), np.full(len(null.steps), 0.5)
            n = np.nan_to_num(counts[gate])
            kinds: list[tuple[str, np.ndarray | Block]] = [("index", null), ("excess", zero), ("percentile", half)]
            kinds += [("excess_per_opportunity", zero)] if gate in ("argmax", "tau") else []
            for column, chance in kinds:
                found = relation_block(rows, column, gate, variant)
                yield from of_heads(found, f"{column}:{variant}:{gate}", corpus, heads, chance, n)


def one_relation(rows: pl.DataFrame, scope: str, heads: Sequence[int]) -> Iterator[Curve]:
    """The curves of one relation of a corpus, in RI-ctx-src: given passing, per opportunity, on all opportunities."""
    for column, gate in (("excess", "argmax"), (RI, "argmax"), ("excess", "free")):
        found = relation_block(rows, column, gate, "ctx_src")
        n = np.nan_to_num(relation_block(rows, "n", gate, "ctx_src").values)
        yield from of_heads(found, f"{column}:ctx_src:{gate}", scope, heads, np.zeros(len(found.steps)), n)
