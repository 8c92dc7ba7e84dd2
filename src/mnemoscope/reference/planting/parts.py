"""What a circuit is made of, said in features: blocks, heads, MLPs. Nothing here knows an architecture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mnemoscope.reference.planting.clock import POSITIONS
from mnemoscope.reference.planting.space import BOS, ONE

MATCH = 24.0  # attention score of a planted match (before softmax)
REST = 8.0  # score of position 0, where a head rests that finds no match: e^8 beats any number of other tokens
BOTH = "&"  # joins two features in a row of `Mlp.gated`


@dataclass(frozen=True, kw_only=True)
class Block:
    """A small matrix between named features: rows are read, columns written (or: queries, keys)."""

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    values: Float[np.ndarray, "row col"]


def block(entries: Mapping[tuple[str, str], float]) -> Block:
    """The smallest block that holds these (row, column) entries; all others are zero."""
    rows = {row: i for i, row in enumerate(dict.fromkeys(row for row, _ in entries))}
    cols = {col: i for i, col in enumerate(dict.fromkeys(col for _, col in entries))}
    values = np.zeros((len(rows), len(cols)))
    for (row, col), value in entries.items():
        values[rows[row], cols[col]] = value
    return Block(rows=tuple(rows), cols=tuple(cols), values=values)


NOTHING = block({})
RESTING: Mapping[tuple[str, str], float] = {(ONE, BOS): REST}


@dataclass(frozen=True, kw_only=True)
class Head:
    """One attention head.

    match    query feature x key feature -> attention score, summed over the features present
    clock    amplitudes of cos(f (distance - offset)) for the three clock frequencies, added to the score
    drift    noise on the clocks' phasors, (real, imaginary) for each; see `noise.py`
    write    feature of the attended token x feature added to the stream
    exact    without noise: its numbers are prescribed
    """

    kind: str
    layer: int
    relation: str = ""
    match: Block = NOTHING
    clock: tuple[float, float, float] = (0.0, 0.0, 0.0)
    offset: int = 0
    drift: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 3
    write: Block = NOTHING
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """One part of a layer's MLP; a layer may hold several.

    linear   feature read x feature written, an exact linear map
    gated    rows "a&b": written where features a and b are both 1, nothing where one of them is 0
    exact    without noise
    """

    kind: str
    layer: int
    relation: str = ""
    linear: Block = NOTHING
    gated: Block = NOTHING
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A whole planted model before it has sizes.

    words   vocabulary (without special tokens) -> the features of each word's embedding beside its identity
    """

    n_layers: int
    words: Mapping[str, Mapping[str, float]]
    heads: tuple[Head, ...]
    mlps: tuple[Mlp, ...] = ()

    def features(self) -> tuple[str, ...]:
        """Every feature that is mentioned, each once, sorted; constant, BOS, positions and identities always."""
        return tuple(sorted(set(self._mentioned())))

    def _mentioned(self) -> Iterator[str]:
        yield from (ONE, BOS, *POSITIONS)
        for word, extra in self.words.items():
            yield from (f"id/{word}", f"out/{word}", *extra)
        for head in self.heads:
            for part in (head.match, head.write):
                yield from (*part.rows, *part.cols)
        for mlp in self.mlps:
            yield from (*mlp.linear.rows, *mlp.linear.cols, *mlp.gated.cols)
            for row in mlp.gated.rows:
                yield from row.split(BOTH)
