"""Kendall's tau-a of RDMs with a hypothesis, permuted and with units left out, from one table of signs per layer.

A hypothesis is a function of the two units of a pair, so the concordant minus discordant pairs of pairs under any permutation
are a quadratic form of the hypothesis' levels in the table

    K[u, v] = sum of sign(d_p - d_q) over the pairs of prompts p of unit pair u and q of unit pair v

which is made once: 1,000 permutations are a few matrix products. Nili et al. 2014 (PLoS Comput. Biol. 10): tau-a does not reward
hypotheses with ties, as Spearman's rho does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemoscope.errors import InputError
from mnemoscope.stats.rsa_pairs import Pairs
from mnemoscope.stats.rsa_ranks import LeftOut

TAU_PAIRS: Final = 5_000  # of prompts: pairs of these are below 2^24, so sums in single precision are exact
LEVELS: Final = 64  # of a hypothesis: each is a matrix product


@dataclass(frozen=True, kw_only=True, eq=False)
class Signs:
    """`signs`: the table of one layer; weight: pairs of prompts per pair of units."""

    signs: Float[np.ndarray, "unit_pair unit_pair"]  # single precision
    weight: Float[np.ndarray, " unit_pair"]


def too_many(hypothesis: Int[np.ndarray, " unit_pair"], n_pairs: int) -> str:
    """Why tau-a is not computed; "" if it is."""
    if n_pairs > TAU_PAIRS:
        return f"tau-a of {n_pairs} pairs is not computed, at most {TAU_PAIRS}"
    levels = int(hypothesis.max(initial=0)) + 1
    return f"tau-a with {levels} levels of a hypothesis is not computed, at most {LEVELS}" if levels > LEVELS else ""


def signs(code: Int[np.ndarray, " kept"], pairs: Pairs) -> Signs:
    """Table of a layer's distances, given as dense codes."""
    if len(code) > TAU_PAIRS:
        raise InputError("tau-a of too many pairs", found=str(len(code)), allowed=f"at most {TAU_PAIRS}")
    n_blocks = len(pairs.size) * (len(pairs.size) - 1) // 2
    order = np.argsort(code, kind="stable")
    member = np.zeros((len(code) + 1, n_blocks), np.float32)
    member[np.arange(1, len(code) + 1), pairs.block[order]] = 1
    below = np.cumsum(member, axis=0, dtype=np.float32)  # row r: how many of each block are among the r smallest
    less, up_to = (np.searchsorted(code[order], code, side=side) for side in ("left", "right"))
    each = below[less] - (below[-1] - below[up_to])
    by_block = np.argsort(pairs.block, kind="stable")
    start = np.flatnonzero(np.r_[True, np.diff(pairs.block[by_block]) > 0])
    return Signs(signs=np.add.reduceat(each[by_block], start, axis=0), weight=below[-1].astype(float))


def tau_a(
    table: Signs, levels: Int[np.ndarray, "unit_pair set"], there: Bool[np.ndarray, "unit_pair set"]
) -> tuple[Float[np.ndarray, " set"], Float[np.ndarray, " set"]]:
    """tau-a for every column of hypothesis levels over the unit pairs that are there, and the largest that its ties allow.

    (concordant - discordant) / all pairs of pairs. Largest: all pairs of pairs that the hypothesis does not tie are concordant.
    nan where it ties all.
    """
    concordant = np.zeros(levels.shape[1])
    own = table.weight[:, None] * there
    n = own.sum(axis=0)
    tied = np.zeros(levels.shape[1])
    for level in range(int(levels.max(initial=0)) + 1):
        here = (levels == level) & there
        count = (own * here).sum(axis=0)
        tied += count * (count - 1) / 2
        if level:
            concordant += (here.astype(float) * (table.signs @ ((levels < level) & there).astype(np.float32))).sum(
                axis=0
            )
    every = n * (n - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tied < every, concordant / every, np.nan), np.where(tied < every, 1 - tied / every, np.nan)


def left_out(
    tables: list[Signs], hypothesis: Int[np.ndarray, " unit_pair"], group: Int[np.ndarray, " unit"]
) -> LeftOut:
    """tau-a of every layer on all units, then with each group of units left out."""
    a, b = np.triu_indices(len(group), 1)
    stays = [np.ones(len(a), bool), *((group[a] != g) & (group[b] != g) for g in range(int(group.max()) + 1))]
    there = np.stack(stays, axis=1)
    levels = np.repeat(hypothesis[:, None], there.shape[1], axis=1)
    found = [tau_a(table, levels, there) for table in tables]
    values, most = (np.stack([one[k] for one in found], axis=1) for k in (0, 1))
    return LeftOut(values=values, most=most)


def permuted(
    tables: list[Signs], hypothesis: Int[np.ndarray, " unit_pair"], perms: Int[np.ndarray, "perm unit"]
) -> Float[np.ndarray, "perm layer"]:
    """tau-a of every layer with the hypothesis moved among units."""
    n = perms.shape[1]
    a, b = np.triu_indices(n, 1)
    full = np.zeros((n, n), hypothesis.dtype)
    full[a, b] = full[b, a] = hypothesis
    levels = full[perms[:, a], perms[:, b]].T
    there = np.ones(levels.shape, bool)
    return np.stack([tau_a(table, levels, there)[0] for table in tables], axis=1)
