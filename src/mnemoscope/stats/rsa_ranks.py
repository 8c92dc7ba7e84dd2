"""(Partial) Spearman correlation of RDMs with units left out, and the largest value that a hypothesis allows.

A hypothesis with ties cannot be followed perfectly by distances that all differ. The largest attainable rank correlation is that
of the ranking which follows the hypothesis and, where it is silent, the distances themselves:

    plain      sqrt( 1 - sum_ties (t^3 - t) / (N^3 - N) )          .65 for five clusters of five items
    partial    the same partial correlation of the ranking (hypothesis, then distance)
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemoscope.stats.rdm import dense, midranks


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """A statistic per layer: row 0 on all units, then with each unit (or group) left out; `most`: the largest attainable."""

    values: Float[np.ndarray, "left layer"]
    most: Float[np.ndarray, "left layer"]

    def __post_init__(self) -> None:
        assert self.values.shape == self.most.shape


def leave_out(
    ranked: list[Int[np.ndarray, " kept"]],
    hypothesis: Int[np.ndarray, " kept"],
    controls: list[Int[np.ndarray, " kept"]],
    stays: Bool[np.ndarray, "group kept"],
) -> LeftOut:
    """(Partial) Spearman per layer among the pairs that stay, for every mask; all inputs are dense codes over kept pairs."""
    values, most = np.empty((2, len(stays), len(ranked)))
    perfect = [_perfect(code, hypothesis) for code in ranked] if controls else []
    for g, mask in enumerate(stays):
        rank = [centred(midranks(code[mask])) for code in (hypothesis, *controls)]
        basis = orthonormal(rank[1:], len(rank[0]))
        target = rank[0] - basis @ (basis.T @ rank[0])
        size = float(target @ target)
        if size <= 1e-9 * max(float(rank[0] @ rank[0]), 1e-300):  # constant, or nothing is left of it
            values[g] = most[g] = math.nan
            continue
        values[g] = [_correlated(code[mask], target, size, basis) for code in ranked]
        if controls:
            most[g] = [_correlated(code[mask], target, size, basis) for code in perfect]
        else:
            most[g] = _largest(hypothesis[mask])
    return LeftOut(values=values, most=most)


def _correlated(code: np.ndarray, target: np.ndarray, size: float, basis: np.ndarray) -> float:
    """Correlation of ranks with a target that is orthogonal to the controls; nan where the controls leave nothing."""
    d = centred(midranks(code))
    rest = float(d @ d) - float(((basis.T @ d) ** 2).sum())
    return float(d @ target) / math.sqrt(size * rest) if rest > 1e-9 * float(d @ d) else math.nan


def _perfect(code: np.ndarray, hypothesis: np.ndarray) -> Int[np.ndarray, " kept"]:
    """The ranking by hypothesis, then by distance."""
    return dense(hypothesis.astype(np.int64) * (int(code.max(initial=0)) + 1) + code)


def _largest(hypothesis: np.ndarray) -> float:
    """Spearman's rho of a hypothesis with a ranking that follows it and has no ties."""
    n, ties = float(len(hypothesis)), np.bincount(hypothesis).astype(float)
    return math.sqrt(max(0.0, 1 - float((ties**3 - ties).sum()) / (n**3 - n)))


def centred(rank: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """Minus its mean."""
    return rank - rank.mean()


def orthonormal(columns: list[np.ndarray], n: int) -> Float[np.ndarray, "pair basis"]:
    """Orthonormal basis of centred columns; dependent and constant ones drop out."""
    table = np.column_stack(columns) if columns else np.zeros((n, 0))
    size = np.sqrt((table * table).sum(axis=0))
    table = table[:, size > 0] / size[size > 0]
    if not table.shape[1]:
        return table
    values, vectors = np.linalg.eigh(table.T @ table)
    good = values > 1e-9
    return table @ (vectors[:, good] / np.sqrt(values[good]))
