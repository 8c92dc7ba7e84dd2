"""The residual stream of a planted model: named features as orthonormal directions, in blocks (methods.md B8).

A feature is a string "block/name": "id/fox" is the token itself, "out/fox" what the unembedding reads, "carried/fox" what
a previous-token head has brought, "pos/cos0" a clock, "tag/bos" a property, "const/one" the constant coordinate. The
constant is large, so that the norm of the stream hardly depends on the rest: with its gain set to constant / sqrt(d_model)
a norm is the identity up to about |content|^2 / (2 constant^2), a few parts in a thousand. Directions are a seeded random
rotation (no measure can profit from axes), all at right angles to the vector of ones, so that LayerNorm's centring changes
nothing. The constant alone is kept to four coordinates, like the rogue dimensions of trained models: spread over all of
them, it would cost the content beside it two digits of precision.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mnemoscope.errors import InputError

ONE = "const/one"
BOS = "tag/bos"
CONSTANT = 60.0  # larger: norms nearer to the identity; smaller: less rounding beside it
ROGUE = 4  # coordinates that hold the constant
LOGIT_GAIN = 6.0  # logits per unit of an "out" feature: a head that writes 1 pushes a token by 6 logits


@dataclass(frozen=True, kw_only=True)
class Space:
    """Features and their directions.

    index   feature -> row of the basis
    basis   orthonormal rows, each at right angles to the vector of ones
    """

    index: Mapping[str, int]
    basis: Float[np.ndarray, "code d_model"]

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.basis.shape[1]

    def read(self, features: Sequence[str]) -> Float[np.ndarray, "feature d_model"]:
        """Rows whose inner product with the stream is the value of each feature; the constant reads as 1."""
        scale = np.array([1 / CONSTANT if name == ONE else 1.0 for name in features])
        return self._rows(features) * scale[:, None]

    def write(self, features: Sequence[str]) -> Float[np.ndarray, "feature d_model"]:
        """Rows which, added to the stream, add 1 to each feature."""
        scale = np.array([CONSTANT if name == ONE else 1.0 for name in features])
        return self._rows(features) * scale[:, None]

    def point(self, values: Mapping[str, float]) -> Float[np.ndarray, " d_model"]:
        """The stream that holds these values."""
        return np.array(list(values.values()), dtype=float) @ self.write(list(values))

    def _rows(self, features: Sequence[str]) -> Float[np.ndarray, "feature d_model"]:
        return self.basis[[self.index[name] for name in features]].reshape(len(features), self.d_model)


def space_of(features: Iterable[str], *, d_model: int, rng: np.random.Generator, constant: float = CONSTANT) -> Space:
    """Give every feature a direction. Raises InputError if d_model has no room for them and for the vector of ones."""
    names = tuple(dict.fromkeys((ONE, *features)))
    if d_model < max(len(names) + 1, ROGUE):
        raise InputError(
            f"a residual stream of width {d_model} for a circuit of {len(names)} features",
            allowed=f"d_model >= {max(len(names) + 1, ROGUE)}",
            hint="take a larger d_head, more heads, or a smaller vocabulary",
        )
    start = rng.standard_normal((d_model, len(names) + 1))
    start[:, 0] = 1.0
    start[:, 1] = 0.0
    start[rng.choice(d_model, size=ROGUE, replace=False), 1] = [1.0, -1.0] * (ROGUE // 2)
    q, _ = np.linalg.qr(start)
    return Space(index={name: i for i, name in enumerate(names)}, basis=np.ascontiguousarray(q[:, 1:].T))
