"""One number for several layers: alignment averaged over layers that were fixed beforehand, and its changes.

A claim about "the layers" must not pick the layer where the data look best. The mean over a fixed set of layers is one statistic;
its interval leaves out one unit at a time, all layers and all conditions together, so that their dependence is in it (B7.2).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.rdm import dense
from mnemoscope.stats.rsa import defined, placed, whole_and
from mnemoscope.stats.rsa_intervals import bounded_t
from mnemoscope.stats.rsa_pairs import by_unit, groups_left, pairs_between
from mnemoscope.stats.rsa_ranks import LeftOut, leave_out

METHOD = "(partial) spearman averaged over layers; "


def layer_alignments(
    rdms: Real[np.ndarray, "layer pair"],
    hypothesis: Real[np.ndarray, " pair"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    nuisances: Real[np.ndarray, "nuisance pair"] | None = None,
) -> LeftOut:
    """(Partial) rank correlation of every layer's RDM with a hypothesis: first on all units, then with each unit left out.

    Pairs of prompts from different units only. `rng` groups units where there are more than 100: give generators in the same state
    to what is compared. nan for a layer whose distances are undefined or constant, or of which nuisances leave nothing.
    """
    pairs = pairs_between(units)
    h = dense(by_unit(hypothesis, pairs))[pairs.block]
    stays = whole_and(groups_left(pairs, rng))
    controls = [dense(row[pairs.kept]) for row in (nuisances if nuisances is not None else ())]
    kept = rdms[:, pairs.kept]
    fine = defined(kept)
    return placed(leave_out([dense(kept[layer]) for layer in fine], h, controls, stays), fine, len(rdms))


def mean_over_layers(parts: Sequence[tuple[float, LeftOut]], *, n: int) -> Estimate:
    """Weighted sum over conditions of the mean over layers: sum_c w_c mean_l rho_lc, from `layer_alignments` of each condition.

    Weights (1,) give an alignment, (1, -1) a change, (1, -1, -1, 1) the difference of two changes. `n`: pairs compared. Layers that
    are undefined in one condition are left out of all; none left: undefined. Intervals: `rsa_intervals`, a mean over layers being
    taken relative to the mean of the largest values.
    """
    if len({part.values.shape for _, part in parts}) != 1:
        raise InputError("alignments of different units or layers", found=str([p.values.shape for _, p in parts]))
    there = ~np.any([np.isnan(part.values).any(axis=0) for _, part in parts], axis=0)
    if not there.any():
        units = len(parts[0][1].values) - 1
        return undefined("no layer has distances to compare", method=METHOD, n=n, n_units=units)
    means = [(weight, _mean(part, there)) for weight, part in parts]
    found = bounded_t(means, n=n).at(0)
    return replace(found, method=METHOD + found.method)


def _mean(part: LeftOut, there: np.ndarray) -> LeftOut:
    """Over the layers that are there, as one cell."""
    values, most = (side[:, there].mean(axis=1, keepdims=True) for side in (part.values, part.most))
    return LeftOut(values=values, most=most)
