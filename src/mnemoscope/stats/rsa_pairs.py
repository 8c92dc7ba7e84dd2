"""Pairs of prompts from different units, for similarity (B7.1): what is compared, what is permuted, what is left out.

A hypothesis is assigned to units (lines, items); pairs inside a unit say nothing about it and are left out. Kept pairs are
numbered as in the condensed RDM, and each knows the pair of units it belongs to.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from mnemoscope.errors import InputError
from mnemoscope.stats.clusters import codes

GROUPS: Final = 100  # units left out in at most this many groups


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of prompts from different units, and the pair of units each belongs to.

    kept   places in the condensed RDM;  first, second: unit of either prompt, first < second
    size   prompts per unit;  labels of the units, sorted: the order that permutations index
    """

    kept: Int[np.ndarray, " kept"]
    first: Int[np.ndarray, " kept"]
    second: Int[np.ndarray, " kept"]
    size: Int[np.ndarray, " unit"]
    labels: Shaped[np.ndarray, " unit"]

    @property
    def block(self) -> Int[np.ndarray, " kept"]:
        """Place of each pair's units in the condensed matrix over units."""
        n = len(self.size)
        return (self.first * (2 * n - self.first - 1)) // 2 + self.second - self.first - 1


def pairs_between(units: Shaped[np.ndarray, " prompt"]) -> Pairs:
    """Pairs of prompts from different units. Refuses fewer than 3 units."""
    code, n = codes(units)
    if n < 3:
        raise InputError("a comparison of units needs at least 3", found=f"{n} different among {len(units)} prompts")
    i, j = np.triu_indices(len(code), 1)
    kept = np.flatnonzero(code[i] != code[j])
    a, b = code[i[kept]], code[j[kept]]
    return Pairs(
        kept=kept,
        first=np.minimum(a, b),
        second=np.maximum(a, b),
        size=np.bincount(code, minlength=n),
        labels=np.unique(units),
    )


def by_unit(hypothesis: Real[np.ndarray, " pair"], pairs: Pairs) -> Float[np.ndarray, " unit_pair"]:
    """The hypothesis as a condensed matrix over units; refuses one that is not constant between two units, or constant at all."""
    value, block = np.asarray(hypothesis, float)[pairs.kept], pairs.block
    n = len(pairs.size)
    out = np.full(n * (n - 1) // 2, math.nan)
    out[block] = value
    if np.isnan(value).any() or not np.allclose(out[block], value, rtol=1e-9, atol=1e-12):
        raise InputError(
            "the hypothesis is not assigned to units",
            found="different or undefined values between the same two units",
            hint="units must be what the hypothesis depends on; what varies inside a unit is a nuisance",
        )
    if np.ptp(value) == 0:
        raise InputError("the hypothesis is constant over all pairs", found=f"{value[0]:g}", hint="it predicts nothing")
    return out


def strata_of_units(strata: np.ndarray | None, units: np.ndarray, pairs: Pairs) -> Int[np.ndarray, " unit"]:
    """Stratum of every unit (one for all if None); refuses strata that vary within a unit."""
    if strata is None:
        return np.zeros(len(pairs.size), np.int64)
    (code, n), (level, _) = codes(units), codes(strata)
    out = np.zeros(n, np.int64)
    out[code] = level
    if (out[code] != level).any():
        raise InputError("strata of a permutation vary within a unit", hint="each unit belongs to one stratum")
    return out


def groups_left(pairs: Pairs, rng: np.random.Generator) -> Bool[np.ndarray, "group kept"]:
    """Masks [group, kept pair] of the pairs that stay when a unit (or a random group of units) is left out."""
    n = len(pairs.size)
    groups = min(n, GROUPS)
    mine = np.arange(n) if n <= GROUPS else rng.permutation(n) % groups
    return np.stack([(mine[pairs.first] != g) & (mine[pairs.second] != g) for g in range(groups)])


def grouped(pairs: Pairs, rng: np.random.Generator) -> Int[np.ndarray, " unit"]:
    """Group of every unit: each its own, or one of GROUPS at random where there are more units."""
    n = len(pairs.size)
    return np.arange(n) if n <= GROUPS else rng.permutation(n) % GROUPS
