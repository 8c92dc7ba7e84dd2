"""One number for several layers: alignment, or its change, averaged over layers that were fixed beforehand.

A claim about "the layers" must not pick the layer where the data look best. The mean over a fixed set of layers is one statistic;
its interval leaves out one unit at a time, all layers together, so that their dependence is in it (B7.2).
"""

import numpy as np
from jaxtyping import Real, Shaped

from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife_t
from mnemoscope.stats.rdm import dense
from mnemoscope.stats.rsa import by_unit, groups_left, leave_out, pairs_between

METHOD = "(partial) spearman averaged over layers; jackknife-t over units"


def mean_over_layers(
    after: Real[np.ndarray, "layer pair"],
    before: Real[np.ndarray, "layer pair"] | None,
    hypothesis: Real[np.ndarray, " pair"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    nuisances: Real[np.ndarray, "nuisance pair"] | None = None,
    nuisances_before: Real[np.ndarray, "nuisance pair_before"] | None = None,
) -> Estimate:
    """Mean over layers of the (partial) rank correlation of RDMs with a hypothesis, minus the same of `before` if given.

        A = mean_l rho(RDM_l, H | nuisances)        change = A_after - A_before

    Pairs of prompts from different units only; `rng` groups units where there are more than 100. Layers whose distances are
    undefined or constant on either side are left out of both; none left: undefined.
    """
    pairs = pairs_between(units)
    h = dense(by_unit(hypothesis, pairs))[pairs.block]
    stays = np.vstack([np.ones((1, len(pairs.kept)), bool), groups_left(pairs, rng)])
    sides = [(after, nuisances)] if before is None else [(after, nuisances), (before, nuisances_before)]
    fine = [
        layer
        for layer in range(len(after))
        if all(not np.isnan(side[layer, pairs.kept]).any() and np.ptp(side[layer, pairs.kept]) > 0 for side, _ in sides)
    ]
    values = []
    for side, taken_out in sides:
        controls = [dense(row[pairs.kept]) for row in (taken_out if taken_out is not None else ())]
        values.append(leave_out([dense(side[layer, pairs.kept]) for layer in fine], h, controls, stays))
    found = values[0] if before is None else values[0] - values[1]
    found = found[:, ~np.isnan(found).any(axis=0)]  # a nuisance that is the layer itself leaves nothing to correlate
    if not found.shape[1]:
        return undefined("no layer has distances to compare", method=METHOD, n=len(pairs.kept), n_units=len(pairs.size))
    mean = found.mean(axis=1, keepdims=True)
    return jackknife_t(mean[0], mean[1:], n=len(pairs.kept)).at(0)
