"""Alignment of single items, and the ceiling that noise puts on any alignment (B7.2, B7.5)."""

import math

import numpy as np
from jaxtyping import Float, Real, Shaped

from mnemoscope.stats.clusters import codes, matched
from mnemoscope.stats.correlation import ceiling, spearman, spearman_brown
from mnemoscope.stats.estimate import Estimate, undefined
from mnemoscope.stats.rdm import prompts_of, square
from mnemoscope.stats.rsa import compare


def item_alignment(
    rdm: Real[np.ndarray, " pair"], hypothesis: Real[np.ndarray, " pair"], items: Shaped[np.ndarray, " prompt"]
) -> Float[np.ndarray, " prompt"]:
    """Every prompt's own alignment: Spearman correlation of its row of the RDM with its row of the hypothesis, other items only.

    The quantity that is linked with behaviour (B7.5); average over the prompts of an item where a unit is the item. nan where a
    row is constant (a hypothesis that puts all other items at the same distance) or undefined.
    """
    matched("item alignment", rdm=prompts_of(len(rdm)), hypothesis=prompts_of(len(hypothesis)), items=len(items))
    d, h, (code, _) = square(rdm), square(hypothesis), codes(items)
    out = np.full(len(code), math.nan)
    for i in range(len(code)):
        other = code != code[i]
        if not np.isnan(d[i, other]).any():
            out[i] = spearman(d[i, other], h[i, other])
    return out


def rdm_ceiling(
    rdm: Real[np.ndarray, " pair"],
    items: Shaped[np.ndarray, " prompt"],
    *,
    rng: np.random.Generator,
    n_splits: int = 50,
) -> Estimate:
    """Largest alignment that a perfect hypothesis could reach: root of the Spearman-Brown split-half reliability of the item RDM.

    Every item's prompts are split into two halves at random; each half gives an item-level RDM (mean distance between the
    prompts of two items); r is the Spearman correlation of the two, averaged over splits, and the ceiling sqrt(2 r / (1 + r)).
    low, high: 2.5 and 97.5 percentiles over splits. Undefined: an item with one prompt ("no ceiling"), fewer than 3 items, r <
    0, undefined distances.
    """
    d, (code, n) = square(rdm), codes(items)
    method = f"root of Spearman-Brown split-half reliability of the item RDM, {n_splits} splits; range over splits"
    size = np.bincount(code, minlength=n)
    if size.min() < 2 or n < 4 or np.isnan(rdm).any():
        why = "no ceiling: an item has one prompt" if size.min() < 2 else "fewer than 4 items, or undefined distances"
        return undefined(why, method=method, n=len(code), n_units=n)
    upper = np.triu_indices(n, 1)
    r = np.empty(n_splits)
    for split in range(n_splits):
        mine = _half(code, n, rng)
        r[split] = compare(*(_item_rdm(d, code, n, kept)[upper] for kept in (mine, ~mine)))
    if not r.mean() >= 0:
        return undefined(f"no ceiling: split-half correlation {r.mean():.2g}", method=method, n=len(code), n_units=n)
    low, mid, high = (
        ceiling(max(0.0, spearman_brown(float(x)))) for x in (np.quantile(r, 0.025), r.mean(), np.quantile(r, 0.975))
    )
    return Estimate(
        estimate=mid, low=min(low, mid), high=max(mid, high), p=math.nan, n=len(code), n_units=n, method=method
    )


def _half(code: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """A random half of every item's prompts (the smaller half where the number is odd)."""
    order = np.lexsort((rng.random(len(code)), code))
    start = np.searchsorted(code[order], np.arange(n))
    place = np.arange(len(code)) - start[code[order]]
    mine = np.zeros(len(code), bool)
    mine[order] = place < (np.bincount(code, minlength=n) // 2)[code[order]]
    return mine


def _item_rdm(d: np.ndarray, code: np.ndarray, n: int, kept: np.ndarray) -> Float[np.ndarray, "item item"]:
    member = np.eye(n)[code[kept]]
    count = member.sum(axis=0)
    return member.T @ d[np.ix_(kept, kept)] @ member / np.outer(count, count)
