"""Parts of the residual stream: what one is called, and the heads of a layer as they stand before the output projection."""

from dataclasses import dataclass

from einops import einsum
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.frozen import Frozen
from mnemoscope.model.parts import OutputProjection


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part. kind: "embed" "head" "attn" (all heads of a layer that cannot be told apart) "attn_bias" "mlp" "other"."""

    kind: str
    layer: int | None = None
    head: int | None = None
    name: str = ""

    def __str__(self) -> str:
        if self.layer is None:
            return self.name or self.kind
        return f"L{self.layer}H{self.head}" if self.kind == "head" else f"L{self.layer}.{self.name or self.kind}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """All heads of one layer: what goes into the output projection, and what is done to what comes out."""

    layer: int
    o_proj: OutputProjection
    given: Float[Tensor, "batch pos head width"]
    post: Frozen | None
    factor: float

    def push(self) -> Float[Tensor, "head batch pos d_model"]:
        """What every head adds to the final stream."""
        weight = self.o_proj.matrix().to(self.given.dtype)
        out = einsum(self.given, weight, "batch pos head width, head width d_model -> head batch pos d_model")
        return self.factor * (out if self.post is None else self.post.push(out))

    def read(self, direction: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "head batch pos"]:
        """<what every head adds, direction>, without making what it adds."""
        back = self.factor * (direction if self.post is None else self.post.pull(direction))
        pulled = self.o_proj.pull(back).to(self.given.dtype)
        return einsum(self.given, pulled, "batch pos head width, batch pos head width -> head batch pos")
