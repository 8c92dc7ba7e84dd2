"""Clusters in strata: topics stratified by the relations that ask for them (B2.2).

Relations are not a sample of anything, so what they differ by is no uncertainty: intervals of a pooled effect come from topics
within relations. A topic that several relations ask for is still one cluster. Its stratum is therefore the *set* of relations
that ask for it, and clusters lie in exactly one stratum each. A stratum of a single cluster says nothing about its own
spread: all such clusters form one stratum together (Wolter 2007, "Introduction to Variance Estimation", section 2.5: collapsed
strata, conservative), and where only one is left it joins the largest.

    V = ((n-1)/n)^2 sum_s n_s/(n_s-1) sum_{g in s} (theta_(g) - mean_s theta_(.))^2          n_s clusters in stratum s, n in all

is the delete-one-cluster jackknife (Shao and Tu 1995, "The Jackknife and Bootstrap", section 6.2.3; the first factor is 1 in their
linear case, where theta_(g) is taken at fixed weights). For a mean of n values it is exactly the textbook sum_s
n_s/(n_s-1) sum (x - mean_s)^2 / n^2, and with one stratum the plain jackknife. Degrees of freedom: clusters minus strata.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped

from mnemoscope.errors import InputError


def strata_of(
    clusters: Shaped[np.ndarray, " unit"], labels: Shaped[np.ndarray, " unit"] | None
) -> Int[np.ndarray, " cluster"]:
    """Stratum of every cluster (in sorted order of the clusters): the set of labels (relations) of its units, small ones merged.

    All 0 without labels: one stratum.
    """
    names, code = np.unique(clusters, return_inverse=True)
    if labels is None:
        return np.zeros(len(names), np.int64)
    if len(labels) != len(clusters):
        raise InputError("strata: arrays of different length", found=f"clusters {len(clusters)}, labels {len(labels)}")
    kinds, kind = np.unique(labels, return_inverse=True)
    has = np.zeros((len(names), len(kinds)), dtype=bool)
    has[code.reshape(-1), kind.reshape(-1)] = True
    stratum = np.unique(has, axis=0, return_inverse=True)[1].reshape(-1)
    return _merged(stratum)


def _merged(stratum: Int[np.ndarray, " cluster"]) -> Int[np.ndarray, " cluster"]:
    size = np.bincount(stratum)
    alone = size[stratum] == 1
    if alone.sum() > 1:
        stratum = np.where(alone, len(size), stratum)
    elif alone.any() and size.max(initial=0) > 1:
        stratum = np.where(alone, int(size.argmax()), stratum)
    return np.unique(stratum, return_inverse=True)[1].reshape(-1).astype(np.int64)


def centred(
    values: Float[np.ndarray, "cluster cell"],
    stratum: Int[np.ndarray, " cluster"],
    there: Shaped[np.ndarray, "cluster cell"] | None = None,
) -> tuple[Float[np.ndarray, "cluster cell"], Float[np.ndarray, "cluster cell"]]:
    """Deviations of clusters from the mean of their stratum, 0 where a cluster is not there; and n_s of each, per cell.

    Clusters alone in their stratum in a cell (all others missing there) deviate from the mean over all clusters instead.
    """
    present = np.ones(values.shape, bool) if there is None else np.asarray(there, bool)
    member = np.eye(int(stratum.max(initial=0)) + 1)[stratum]  # cluster stratum
    filled = np.where(present, values, 0.0)
    size = member.T @ present
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (member.T @ filled) / size
        whole = filled.sum(axis=0) / present.sum(axis=0)
    lone = size == 1
    mean, size = np.where(lone, whole, mean)[stratum], np.where(lone, present.sum(axis=0), size)[stratum]
    return np.where(present, values - mean, 0.0), size


def spread(
    without: Float[np.ndarray, "cluster cell"],
    stratum: Int[np.ndarray, " cluster"],
    there: Shaped[np.ndarray, "cluster cell"] | None = None,
) -> Float[np.ndarray, " cell"]:
    """V from the statistic with each cluster left out; clusters that are not there (in a cell) count nowhere."""
    present = np.ones(without.shape, bool) if there is None else np.asarray(there, bool)
    d, size = centred(without, stratum, present)
    n = present.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((n - 1) / n) ** 2 * np.where(present, size / (size - 1) * d**2, 0.0).sum(axis=0)


def freedom(
    stratum: Int[np.ndarray, " cluster"], there: Shaped[np.ndarray, "cluster cell"]
) -> Int[np.ndarray, " cell"]:
    """Clusters that are there minus strata that have two of them, at least 1."""
    present = np.asarray(there, bool)
    size = np.eye(int(stratum.max(initial=0)) + 1)[stratum].T @ present
    return np.maximum(present.sum(axis=0) - np.maximum((size >= 2).sum(axis=0), 1), 1).astype(np.int64)


def draws(
    stratum: Int[np.ndarray, " cluster"], n_boot: int, rng: np.random.Generator
) -> Float[np.ndarray, "boot cluster"]:
    """How often each cluster occurs in each resample: drawn with replacement within its stratum, as many as the stratum has."""
    found = np.zeros((n_boot, len(stratum)))
    for s in range(int(stratum.max(initial=0)) + 1):
        mine = np.flatnonzero(stratum == s)
        found[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=n_boot)
    return found
