"""Direct logit attribution: what every part of the stream adds to the logit of a token.

Exact, because the final norm is held at the scale it had; what a part does through later parts is not in it (that is what
the sweep measures). Logits are taken before any soft-cap: the cap is monotone, so ranks survive, sums do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.component import Component
from mnemoscope.engine.decompose import Decomposition
from mnemoscope.engine.vocabulary import Rows, mean_row, token_rows
from mnemoscope.errors import InputError, PromptError, choose

REFERENCES = ("token", "foil", "mean")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """What every component adds to a logit (or a difference of logits), in logits.

    values [component batch pos]; constant [batch pos]: what no component brings (bias of the final norm, bias of the
    unembedding); total: their sum, the model's own logit (difference) before any soft-cap. reference: what is subtracted.
    """

    components: tuple[Component, ...]
    values: Float[Tensor, "component batch pos"]
    constant: Float[Tensor, "batch pos"]
    reference: str

    @property
    def total(self) -> Float[Tensor, "batch pos"]:
        """Sum of the components and the constant."""
        return self.values.sum(0) + self.constant

    def heads(self, n_layers: int, n_heads: int) -> Float[Tensor, "layer head batch pos"]:
        """The heads as a map; nan in layers whose heads are not told apart."""
        found = self.values.new_full((n_layers, n_heads, *self.values.shape[1:]), torch.nan)
        for component, value in zip(self.components, self.values, strict=True):
            if component.kind == "head" and component.layer is not None and component.head is not None:
                found[component.layer, component.head] = value
        return found

    def top(self, n: int = 10, *, kind: str | None = None) -> list[tuple[Component, float]]:
        """The n components of largest absolute mean value over prompts and positions, with that mean."""
        means = self.values.mean(dim=(1, 2)).tolist()
        found = [(c, m) for c, m in zip(self.components, means, strict=True) if kind in (None, c.kind)]
        return sorted(found, key=lambda item: -abs(item[1]))[:n]


def attribute(
    parts: Decomposition,
    tokens: Sequence[int] | Int[Tensor, " batch"],
    *,
    reference: str = "token",
    foils: Sequence[int] | Int[Tensor, " batch"] | None = None,
) -> Attribution:
    """Direct push of every component on the logit of one token per prompt.

    With x_c the output of component c (centred first if the final norm centres), s, g and b the recorded scale, gain and
    bias of that norm, u and beta row and bias of the unembedding (logit scale included):

        a_c = <g x_c / s, u>        sum_c a_c + <b, u> + beta = the model's logit

    reference: "token" the logit itself; "foil" minus the logit of `foils`; "mean" minus the mean logit over the tokens
    that the tokenizer can emit (pi of methods.md P2). The sign of an attribution depends on it: report which.
    Units: logits, before any soft-cap; 0 is no direct effect. Exact up to rounding. Raises where prompts and tokens differ
    in number, and UnsupportedError where the unembedding is not understood.
    Reference: Elhage et al. 2021 ("direct path"); Wang et al. 2022, section 3.1. We differ in nothing.
    """
    choose("reference", reference, REFERENCES)
    if (foils is not None) != (reference == "foil"):
        raise InputError(
            "foils and reference do not fit", found=f"reference={reference!r}, foils={foils}", hint='reference="foil"'
        )
    rows = _per_prompt(parts, tokens)
    if reference != "token":
        other = mean_row(parts.lm) if foils is None else _per_prompt(parts, foils)
        rows = Rows(rows=rows.rows - other.rows, bias=rows.bias - other.bias)
    direction = rows.rows[:, None].expand(-1, parts.columns.shape[1], -1)
    direction = direction.to(parts.whole.device, parts.whole.dtype)
    constant = einsum(direction, parts.norm_bias, "batch pos d_model, d_model -> batch pos")
    return Attribution(
        components=parts.components,
        values=parts.read(direction),
        constant=constant + rows.bias[:, None].to(constant),
        reference=reference,
    )


def _per_prompt(parts: Decomposition, tokens: Sequence[int] | Tensor) -> Rows:
    asked = torch.as_tensor(tokens, dtype=torch.long)
    if asked.shape != (len(parts.batch),):
        raise PromptError(
            "one token per prompt is read", found=f"{tuple(asked.shape)} tokens for {len(parts.batch)} prompts"
        )
    return token_rows(parts.lm, asked)
