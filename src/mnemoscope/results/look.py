"""What `mnemoscope look` knows about one prompt, as plain values: what the terminal and the page show, and what JSON prints.

Made by `mnemoscope.measures.one_prompt`. Every number stands beside its unit and its sign convention in the docstring of
its record. A number that a model does not have is nan, and `missing` says why.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

QUANTITIES = ("logit_diff", "logit_minus_mean")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token that could come next. logit as the model gives it; probability after softmax; rank 0 is the top."""

    token: int
    text: str
    logit: float
    probability: float
    rank: float


@dataclass(frozen=True, kw_only=True)
class LayerLine:
    """One layer, read at the last position.

    rank, probability, logit    of the token, where the stream after this layer is unembedded (logit lens)
    top, top_probability        what the lens would say there
    attention, mlp              direct push of the layer's attention and MLP on the quantity, in logits
    """

    layer: int
    rank: float
    probability: float
    logit: float
    top: str
    top_probability: float
    attention: float
    mlp: float


@dataclass(frozen=True, kw_only=True)
class HeadLine:
    """One head, read at the last position.

    direct    what it adds to the quantity itself, final norm held fixed, in logits: > 0 pushes the token up
    effect    change of the quantity when it is patched there (`Look.change`), in logits: < 0 means that it was needed
    attends   (position, weight) of the keys it looks at most
    """

    layer: int
    head: int
    direct: float
    effect: float
    attends: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Change of the quantity when the stream into `layer` at `position` is taken from the foil prompt, in logits."""

    layer: int
    position: int
    effect: float


@dataclass(frozen=True, kw_only=True)
class AttentionRow:
    """Attention of one head from one query to the keys 0, 1, ..., query; may sum to < 1 beside a sink."""

    layer: int
    head: int
    query: int
    weights: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One identity that was checked while looking: largest difference, what rounding allows, over how many values."""

    identity: str
    error: float
    allowed: float
    unit: str
    n: int
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it holds; where nothing had to be compared (whole forward passes), it does."""
        return self.n == 0 or self.error <= self.allowed


@dataclass(frozen=True, kw_only=True)
class Look:
    """One prompt under the microscope.

    quantity   logit_diff: logit of the token minus logit of the foil; logit_minus_mean: minus the vocabulary's mean
    value      the quantity on the prompt; foil_value: on the foil prompt (nan without one)
    change     what `HeadLine.effect` did to a head: its z zeroed, or replaced by its z in the foil prompt
    """

    model: str
    dtype: str
    device: str
    prompt: str
    tokens: tuple[str, ...]
    predictions: tuple[Candidate, ...]
    token: Candidate
    foil: Candidate | None
    quantity: str
    value: float
    change: str
    foil_prompt: str = ""
    foil_tokens: tuple[str, ...] = ()
    foil_value: float = math.nan
    layers: tuple[LayerLine, ...] = ()
    heads: tuple[HeadLine, ...] = ()
    entries: tuple[Entry, ...] = ()
    attention: tuple[AttentionRow, ...] = ()
    proofs: tuple[Proof, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    seconds: float = math.nan

    def ranked(self, by: str) -> tuple[HeadLine, ...]:
        """Heads by the size of "direct" or "effect", the largest first; those without the number are left out."""
        there = [line for line in self.heads if not math.isnan(getattr(line, by))]
        return tuple(sorted(there, key=lambda line: -abs(getattr(line, by))))

    def shown_heads(self, most: int) -> tuple[HeadLine, ...]:
        """The heads to look at first: the top ones by effect and by direct push in turn, at most `most`."""
        found: dict[tuple[int, int], HeadLine] = {}
        lists = [lines for lines in (self.ranked("effect"), self.ranked("direct")) if lines]
        for lines in zip(*lists, strict=False):
            for line in lines:
                found.setdefault((line.layer, line.head), line)
        return tuple(found.values())[:most]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: undefined numbers are null."""
        return finite(asdict(self))


def finite(value: Any) -> Any:
    """A value as JSON has it: numbers that are not finite are null, tuples are lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value
