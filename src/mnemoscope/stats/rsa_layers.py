"""One number for several layers: alignment averaged over layers that were fixed beforehand, and its changes.

A claim about "the layers" must not pick the layer where the data look best. The mean over a fixed set of layers is one statistic;
its interval leaves out one unit at a time, all layers and all conditions together, so that their dependence is in it (B7.2).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.jackknife import jackknife_t
from mnemoscope.stats.rdm import dense
from mnemoscope.stats.rsa import by_unit, groups_left, leave_out, pairs_between

METHOD = "(partial) spearman averaged over layers; jackknife-t over units"


def layer_alignments(
    rdms: Real[np.ndarray, "layer pair"],
    hypothesis: Real[np.ndarray, " pair"],
    units: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    nuisances: Real[np.ndarray, "nuisance pair"] | None = None,
) -> Float[np.ndarray, "left layer"]:
    """(Partial) rank correlation of every layer's RDM with a hypothesis: first on all units, then with each unit left out.

    Pairs of prompts from different units only. `rng` groups units where there are more than 100: give generators in the same state
    to what is compared. nan for a layer whose distances are undefined or constant, or of which nuisances leave nothing.
    """
    pairs = pairs_between(units)
    h = dense(by_unit(hypothesis, pairs))[pairs.block]
    stays = np.vstack([np.ones((1, len(pairs.kept)), bool), groups_left(pairs, rng)])
    controls = [dense(row[pairs.kept]) for row in (nuisances if nuisances is not None else ())]
    kept = rdms[:, pairs.kept]
    fine = np.flatnonzero(~np.isnan(kept).any(axis=1) & (np.ptp(kept, axis=1) > 0))
    out = np.full((len(stays), len(rdms)), np.nan)
    out[:, fine] = leave_out([dense(kept[layer]) for layer in fine], h, controls, stays)
    return out


def mean_over_layers(parts: Sequence[tuple[float, Float[np.ndarray, "left layer"]]], *, n: int) -> Estimate:
    """Weighted sum over conditions of the mean over layers: sum_c w_c mean_l rho_lc, from `layer_alignments` of each condition.

    Weights (1,) give an alignment, (1, -1) a change, (1, -1, -1, 1) the difference of two changes. `n`: pairs compared. Layers that
    are undefined in one condition are left out of all; none left: undefined.
    """
    if len({values.shape for _, values in parts}) != 1:
        raise InputError("alignments of different units or layers", found=str([values.shape for _, values in parts]))
    total = np.sum([weight * values for weight, values in parts], axis=0)
    total = total[:, ~np.isnan(total).any(axis=0)]
    if not total.shape[1]:
        return undefined("no layer has distances to compare", method=METHOD, n=n, n_units=len(total) - 1)
    mean = total.mean(axis=1, keepdims=True)
    found = jackknife_t(mean[0], mean[1:], n=n).at(0)
    return Estimate(**{**vars(found), "method": METHOD})
