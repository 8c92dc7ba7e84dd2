"""Representational dissimilarity matrices: patterns of prompts to distances between prompts (P3.2).

An RDM is kept condensed: the strict upper triangle, pairs (0,1), (0,2) ... row by row, as scipy and rsatoolbox order it.
Dimensions are standardised over prompts first, because a few rogue dimensions own the cosine otherwise. Hypotheses and nuisances
are RDMs as well, made from design variables by `numeric` and `differs`. Kriegeskorte, Mur and Bandettini 2008, Front. Syst.
Neurosci. 2.
"""

import math
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from mnemoscope.errors import InputError, choose

METRICS: Final = ("cosine", "correlation", "euclidean")


def standardised(patterns: Real[np.ndarray, "prompt d"]) -> Float[np.ndarray, "prompt d"]:
    """Every dimension with mean 0 and standard deviation 1 over prompts; dimensions that do not vary are 0."""
    x = np.asarray(patterns, float)
    x = x - x.mean(axis=0)
    spread = np.sqrt((x * x).mean(axis=0))
    flat = spread <= 1e-12 * np.maximum(np.abs(patterns).max(axis=0), 1e-300)
    return np.where(flat, 0.0, x / np.where(flat, 1.0, spread))


def rdm(
    patterns: Real[np.ndarray, "prompt d"], *, metric: str = "cosine", standardise: bool = True
) -> Float[np.ndarray, " pair"]:
    """Distances between all pairs of prompts.

    cosine 1 - cos (0 to 2), correlation 1 - Pearson r over dimensions (0 to 2), euclidean the squared distance divided by the
    number of dimensions. A pattern without length (after standardising, or constant over dimensions for "correlation") has no
    direction: its pairs are nan.
    """
    choose("distance", metric, METRICS)
    x = standardised(patterns) if standardise else np.asarray(patterns, float)
    if metric == "correlation":
        x = x - x.mean(axis=1, keepdims=True)
    square = (x * x).sum(axis=1)
    upper = np.triu_indices(len(x), 1)
    if metric == "euclidean":
        return np.maximum(square[upper[0]] + square[upper[1]] - 2 * (x @ x.T)[upper], 0) / x.shape[1]
    size = np.sqrt(square)
    tiny = size <= 1e-10 * max(float(size.max(initial=0)), float(np.abs(patterns).max(initial=0)), 1e-300)
    x = x / np.where(tiny, math.nan, size)[:, None]
    return 1 - np.clip(x @ x.T, -1, 1)[upper]


def numeric(values: Real[np.ndarray, " prompt"]) -> Float[np.ndarray, " pair"]:
    """|v_i - v_j|: slopes, lengths, query positions, digit counts."""
    v = np.asarray(values, float)
    i, j = np.triu_indices(len(v), 1)
    return np.abs(v[i] - v[j])


def differs(labels: Shaped[np.ndarray, " prompt"]) -> Float[np.ndarray, " pair"]:
    """0 where two prompts share the label (line, name, activity), 1 where they do not."""
    i, j = np.triu_indices(len(labels), 1)
    return (labels[i] != labels[j]).astype(float)


def token_overlap(counts: Real[np.ndarray, "prompt token"]) -> Float[np.ndarray, " pair"]:
    """1 - Jaccard overlap of the sets of tokens (counts > 0): the shared-words nuisance. Two empty prompts: 0."""
    has = (np.asarray(counts) > 0).astype(float)
    i, j = np.triu_indices(len(has), 1)
    both, size = (has @ has.T)[i, j], has.sum(axis=1)
    either = size[i] + size[j] - both
    return np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)


def prompts_of(n_pairs: int) -> int:
    """Number of prompts whose condensed RDM has `n_pairs` entries; refuses lengths that no RDM has."""
    n = round((1 + math.sqrt(1 + 8 * n_pairs)) / 2)
    if n * (n - 1) // 2 != n_pairs:
        raise InputError("this is no condensed RDM", found=f"{n_pairs} pairs", allowed="n (n - 1) / 2 of them")
    return n


def square(condensed: Real[np.ndarray, " pair"]) -> Float[np.ndarray, "prompt prompt"]:
    """The symmetric matrix with a zero diagonal."""
    n = prompts_of(len(condensed))
    out = np.zeros((n, n))
    upper = np.triu_indices(n, 1)
    out[upper] = condensed
    return out + out.T


def dense(values: Real[np.ndarray, " pair"]) -> Int[np.ndarray, " pair"]:
    """Each value's place among the distinct values, 0 first: all that ranks of any subset need. Refuses nan."""
    if np.isnan(values).any():
        raise InputError("an RDM with undefined distances cannot be ranked", found=f"{int(np.isnan(values).sum())} nan")
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int32)


def midranks(
    code: Int[np.ndarray, " pair"], weight: Real[np.ndarray, " pair"] | None = None
) -> Float[np.ndarray, " pair"]:
    """Ranks 1..n of dense codes, ties averaged; with weights an entry stands for that many equal ones."""
    count = np.bincount(code, weight)
    return (np.cumsum(count) - count / 2 + 0.5)[code]
