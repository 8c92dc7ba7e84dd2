"""The three levels of in-context learning, and neutral-text loss, of a model with a group of heads ablated.

The heads' z is replaced at every position, of prompts and of texts, by a constant: its mean over all tokens of neutral texts
other than those measured (mean ablation, primary), or 0. Levels as in `icl_levels` (Ren et al. 2024, arXiv 2402.13055); an
extension of that paper, which ablates nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.intervene import intervene
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.record import record, wanted
from mnemoscope.errors import choose
from mnemoscope.measures.icl_levels import label_scores, text_losses
from mnemoscope.model.batch import batch_of_ids
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

LEVELS = ("loss", "loss_reduction", "format", "pattern", "right")
OPS = ("mean", "zero")
MEAN_TOKENS = 128  # of each neutral text that the mean runs over
Head = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Material:
    """Texts for the loss levels, prompts of label tasks for the others; label `set` of a prompt is its unit."""

    texts: tuple[str, ...]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """One value per text or prompt: level -> values. Prompts whose labels share tokens have no `right` (nan)."""

    values: Mapping[str, Float[np.ndarray, " item"]]

    def units(self, level: str, material: Material) -> list[str]:
        """The unit of independence of each value."""
        if level in ("loss", "loss_reduction"):
            return [f"text {i}" for i in range(len(self.values[level]))]
        return [str(prompt.labels["set"]) for prompt in material.prompts]


@torch.no_grad()
def mean_z(lm: LM, texts: Sequence[str]) -> dict[int, Float[Tensor, "head d_value"]]:
    """Mean of every head's z over all tokens of the texts (their first 128), layer by layer."""
    rows = [encode(lm.tokenizer, text, lm.bos).ids for text in texts]
    width = min(MEAN_TOKENS, lm.n_ctx or MEAN_TOKENS, *map(len, rows))
    batch = batch_of_ids(lm, [row[:width] for row in rows])
    found: dict[int, Float[Tensor, "head d_value"]] = {}

    def each(layer: int, seen: Mapping[str, Tensor]) -> None:
        found[layer] = seen["z"].float().mean((0, 1))

    record(lm, batch, wanted(lm, ("z",), None), torch.arange(width, device=lm.device).expand(len(rows), -1), each)
    return found


def levels_without(
    lm: LM,
    heads: Sequence[Head],
    material: Material,
    means: Mapping[int, Float[Tensor, "head d_value"]],
    *,
    op: str = "mean",
) -> Levels:
    """All levels with the heads ablated; with no heads those of the model itself."""
    choose("ablation", op, OPS)
    patches = [_patch(layer, head, means, op) for layer, head in heads]
    with ExitStack() as stack:
        if patches:
            stack.enter_context(intervene(lm, patches))
        losses = text_losses(lm, material.texts)
        said = label_scores(lm, material.prompts) if material.prompts else None
    values = {"loss": losses.loss, "loss_reduction": losses.reduction}
    if said is not None:
        values |= {"format": said.format, "pattern": said.pattern, "right": said.right}
    return Levels(values=values)


def _patch(layer: int, head: int, means: Mapping[int, Float[Tensor, "head d_value"]], op: str) -> Patch:
    if op == "zero":
        return Patch(site="z", layer=layer, head=head, position="all", op="zero")
    return Patch(site="z", layer=layer, head=head, position="all", op="replace", value=means[layer][head])
