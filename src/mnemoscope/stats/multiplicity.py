"""Holm and Benjamini-Hochberg, and the rule for when not to use them (B2.1).

A permutation p cannot fall below its smallest attainable value; if that is not below alpha / m, a correction over m cells can
find nothing whatever the data are. Such a family is marked "underpowered" and its adjusted values are nan, instead of looking
like a negative result. The primary family-wise control is `maxt`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mnemoscope.errors import InputError, choose

METHODS = ("holm", "bh")


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """adjusted: adjusted p values (nan where p is nan, everywhere if underpowered); rejected at `alpha`; m tests in the family;
    smallest: the smallest attainable p; note: "" or "underpowered: ..."."""

    adjusted: Float[np.ndarray, " cell"]
    rejected: Bool[np.ndarray, " cell"]
    m: int
    smallest: float
    method: str
    note: str


def holm(p: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """Holm's step-down adjusted p (1979, Scand. J. Stat. 6): running max of (m - i) p_(i), i from 0; nan stays out of m."""
    return _adjusted(p, lambda sorted_, m: np.maximum.accumulate((m - np.arange(m)) * sorted_))


def benjamini_hochberg(p: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """False-discovery-rate adjusted p (1995, JRSS B 57): running min from above of m p_(i) / i, i from 1; nan stays out of m."""
    return _adjusted(p, lambda sorted_, m: np.minimum.accumulate((m / np.arange(1, m + 1) * sorted_)[::-1])[::-1])


def _adjusted(p: np.ndarray, steps: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    p = np.asarray(p, float)
    if np.any((p < 0) | (p > 1)):
        raise InputError("these are no p values", found=f"{np.nanmin(p)} to {np.nanmax(p)}", allowed="[0, 1] or nan")
    out = np.full(p.shape, math.nan)
    kept = np.flatnonzero(~np.isnan(p))
    order = kept[np.argsort(p[kept], kind="stable")]
    out[order] = np.minimum(steps(p[order], len(order)), 1.0)
    return out


def corrected(
    p: Float[np.ndarray, " cell"], *, smallest: float, alpha: float = 0.05, method: str = "holm"
) -> Corrected:
    """Adjust a family whose smallest attainable p is `smallest` (`permutation.smallest_p`; 0 for a continuous test)."""
    choose("correction", method, METHODS)
    m = int((~np.isnan(p)).sum())
    if m and smallest >= alpha / m:
        note = f"underpowered: smallest attainable p {smallest:.2g}, {alpha:g}/{m} = {alpha / m:.2g} needed"
        adjusted = np.full(p.shape, math.nan)
    else:
        note = "" if m else "no tests"
        adjusted = holm(p) if method == "holm" else benjamini_hochberg(p)
    return Corrected(
        adjusted=adjusted,
        rejected=np.nan_to_num(adjusted, nan=1.0) <= alpha,
        m=m,
        smallest=smallest,
        method=method,
        note=note,
    )
