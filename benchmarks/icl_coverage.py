"""Do 95% intervals of alignments hold the truth, also near the largest value that a hypothesis allows (B2.5)?

    python -m benchmarks.icl_coverage [--seeds 400] [--write]

Estimand: the mean of the alignment (or change) over all data sets of the same make. `spread`: normal deviations of items (and of
prompts, and of conditions) from their cluster's or slope's place. Beside the intervals of `stats.rsa_intervals` those of the
jackknife-t on Fisher's scale (changes: without a scale), which were used before. "none": data sets without an interval because
the largest value is attained, by all units or with one left out.
"""

import numpy as np
from jaxtyping import Float

from benchmarks.icl_planted import share
from benchmarks.machine import options, report
from mnemoscope.stats.jackknife import jackknife_t
from mnemoscope.stats.rdm import dense, differs, numeric, rdm
from mnemoscope.stats.rsa import whole_and
from mnemoscope.stats.rsa_intervals import bounded_t
from mnemoscope.stats.rsa_pairs import by_unit, groups_left, pairs_between
from mnemoscope.stats.rsa_ranks import LeftOut, leave_out

HEAD = ("data", "kind", "truth", "of the largest", "interval holds it", "Fisher's, or none", "none")
Made = tuple[Float[np.ndarray, "prompt d"], Float[np.ndarray, " pair"], np.ndarray]


def clusters(rng: np.random.Generator, people: int, draws: int, spread: float) -> Made:
    """people x people items, a cluster for each activity; `draws` prompts of an item differ by half the spread."""
    cluster, item = np.tile(np.arange(people), people), np.repeat(np.arange(people**2), draws)
    x = np.eye(people)[cluster] + spread * rng.normal(size=(people**2, people))
    more = spread / 2 * rng.normal(size=(len(item), people)) if draws > 1 else 0.0
    return x[item] + more, differs(cluster[item]), item


def lines(rng: np.random.Generator, spread: float) -> Made:
    """16 lines of four slopes, four prompts each."""
    slope, line = np.repeat([-20.0, -5, 5, 20], 4), np.repeat(np.arange(16), 4)
    x = np.column_stack([np.cos(slope / 20), np.sin(slope / 20)]) @ rng.normal(size=(2, 12))
    x = x + spread * rng.normal(size=(16, 12))
    return x[line] + spread * rng.normal(size=(64, 12)), numeric(slope[line]), line


def left(made: Made, controls: list[np.ndarray]) -> LeftOut:
    """Alignment of one layer with each unit left out."""
    x, h, unit = made
    pairs = pairs_between(unit)
    stays = whole_and(groups_left(pairs, np.random.default_rng(0)))
    taken = [dense(row[pairs.kept]) for row in controls]
    return leave_out([dense(rdm(x)[pairs.kept])], dense(by_unit(h, pairs))[pairs.block], taken, stays)


def nuisances(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Position, length and format."""
    return [numeric(rng.integers(0, 4, n)), numeric(rng.integers(20, 30, n)), differs(rng.integers(0, 3, n))]


def row(name: str, kind: str, sets: list[list[tuple[float, LeftOut]]]) -> tuple[str, ...]:
    """Both intervals of all data sets against their mean."""
    found = [bounded_t(parts, n=1).at(0) for parts in sets]
    truth = float(np.mean([one.estimate for one in found]))
    total = [np.sum([weight * part.values for weight, part in parts], axis=0) for parts in sets]
    old = [jackknife_t(one[0], one[1:], n=1, fisher=len(sets[0]) == 1).at(0) for one in total]
    top = np.mean([max(abs(part.values[0, 0] / part.most[0, 0]) for _, part in parts) for parts in sets])
    held, before = (np.array([o.low <= truth <= o.high for o in some if not o.reason]) for some in (found, old))
    none = f"{np.mean([bool(one.reason) for one in found]):.3f}"
    return name, kind, f"{truth:.3f}", f"{top:.2f}", share(held), share(before), none


def alignments(seeds: int) -> list[tuple[str, ...]]:
    """Single alignments."""
    rows: list[tuple[str, ...]] = []
    for name, make, spreads in (
        ("25 items in 5", lambda rng, s: clusters(rng, 5, 1, s), (0.25, 0.3, 0.4, 0.5, 2.0)),
        ("36 items in 6, 2 prompts", lambda rng, s: clusters(rng, 6, 2, s), (0.25, 0.4)),
        ("16 lines, 4 prompts", lines, (0.1, 0.4, 0.8)),
    ):
        for spread in spreads:
            for kind in ("spearman", "partial"):
                sets = []
                for seed in range(seeds):
                    rng = np.random.default_rng(seed)
                    made = make(rng, spread)
                    taken = nuisances(rng, len(made[0])) if kind == "partial" else []
                    sets.append([(1.0, left(made, taken))])
                rows.append(row(f"{name}, spread {spread:g}", kind, sets))
    return rows


def changes(seeds: int) -> list[tuple[str, ...]]:
    """From one spread to another; half of an item's deviation is the same under both."""
    rows: list[tuple[str, ...]] = []
    cluster, item = np.tile(np.arange(5), 5), np.arange(25)
    for before, after in ((0.8, 0.8), (2.0, 0.8), (0.8, 0.3), (0.4, 0.25), (0.25, 0.3), (0.3, 0.4)):
        sets = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            own, taken = rng.normal(size=(25, 5)), nuisances(rng, 25)
            sides = [
                left(
                    (np.eye(5)[cluster] + s * (own + rng.normal(size=(25, 5))) / 2**0.5, differs(cluster), item), taken
                )
                for s in (after, before)
            ]
            sets.append([(1.0, sides[0]), (-1.0, sides[1])])
        rows.append(row(f"25 items in 5, spread {before:g} to {after:g}", "change, partial", sets))
    return rows


def main() -> None:
    """Print, and with --write add to RESULTS.md."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=400)
    asked = parser.parse_args()
    rows = alignments(asked.seeds) + changes(asked.seeds)
    report(f"icl_coverage, {asked.seeds} seeds", HEAD, rows, write=asked.write)


if __name__ == "__main__":
    main()
