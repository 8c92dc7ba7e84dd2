"""Who sends on a path, and what stands in for its output: see `mnemoscope.engine.paths`."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.chunks import budget_bytes, prompt_groups, select
from mnemoscope.engine.plan import Patch, Position, places
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.store import record_sites
from mnemoscope.engine.sweep import site_reason
from mnemoscope.errors import InputError, OptionError, PromptError, UnsupportedError, choose, listed
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

Sender = tuple[int, int | None]  # (layer, head), or (layer, None) for the layer's MLP
Receivers = Sequence[tuple[int, int]]  # (layer, head); kv heads for k and v


def refuse_absent(lm: LM, senders: Sequence[Sender], mlps: str) -> None:
    """Raise where a sender does not exist, or an MLP that is needed cannot be patched."""
    heads = site_heads(lm)
    bad = [
        f"({layer}, {head})"
        for layer, head in senders
        if not 0 <= layer < lm.n_layers or (head is not None and not 0 <= head < heads.get(("z", layer), 0))
    ]
    if bad or not senders:
        raise OptionError("senders that do not exist", found=listed(bad) or "none", allowed="(layer, head | None)")
    needed = {layer for layer, head in senders if head is None} | set(range(lm.n_layers) if mlps == "frozen" else ())
    for layer in sorted(needed):
        reason = site_reason(lm, "mlp_out", layer)
        if reason:
            raise UnsupportedError(f"mlp_out of layer {layer} of {lm.name} cannot be patched", found=reason)


def refuse_foreign(lm: LM, receivers: Receivers, into: str) -> None:
    """Raise where a receiver does not exist; heads of k and v are key/value heads."""
    heads = site_heads(lm)
    bad = [f"({layer}, {head})" for layer, head in receivers if not 0 <= head < heads.get((into, layer), 0)]
    if bad or not receivers:
        raise OptionError(f"receivers that do not exist for {into}", found=listed(bad) or "none")


def one_column(batch: Batch, positions: Position, align: str | None, whose: str) -> Int[np.ndarray, " prompt"]:
    """The one token of every prompt at a position; refused where there are more."""
    into = places(batch, None, positions, align=align).into
    if into.shape[1] != 1 or (into < 0).any():
        raise PromptError(
            f"path patching at {positions!r} needs one token per prompt",
            found=f"up to {into.shape[1]} tokens in the {whose} prompts",
            allowed="'last', one position, or a role of one token",
            hint="align='last'",
        )
    return into[:, 0]


def shares(
    replacement: str | Float[np.ndarray, "prompt source_prompt"], n: int, n_source: int
) -> Float[np.ndarray, "prompt source_prompt"]:
    """How much of every source prompt stands in for each base prompt; rows sum to 1."""
    if isinstance(replacement, np.ndarray):
        if replacement.shape != (n, n_source) or not np.allclose(replacement.sum(axis=1), 1):
            raise InputError(
                "replacement weights", found=str(replacement.shape), allowed=f"({n}, {n_source}), rows sum to 1"
            )
        return replacement
    choose("replacement", replacement, ("pairs", "mean"))
    if replacement == "mean":
        return np.full((n, n_source), 1 / n_source)
    if n != n_source:
        raise PromptError("every base prompt needs its source prompt", found=f"{n} and {n_source}", hint="'mean'")
    return np.eye(n)


def sender_values(
    lm: LM,
    source: Batch,
    senders: Sequence[Sender],
    spot: Int[np.ndarray, " source_prompt"],
    weights: Float[np.ndarray, "prompt source_prompt"],
    budget: str | int,
) -> list[Float[Tensor, "prompt d"]]:
    """What each sender is replaced by, per base prompt."""
    wants: dict[str, set[int]] = {"z": set(), "mlp_out": set()}
    for layer, head in senders:
        wants["mlp_out" if head is None else "z"].add(layer)
    total: dict[tuple[str, int], Tensor] = {}
    for group in prompt_groups(lm, source, suffix=1, budget=budget_bytes(budget)):
        run = record_sites(lm, select(source, group), wants, spot[group][:, None])
        for key, value in run.sites.items():
            share = torch.from_numpy(weights[:, group]).to(value.device)
            part = einsum(share, value[:, 0].double(), "prompt source, source ... -> prompt ...")
            total[key] = total[key] + part if key in total else part
    chosen = [total["mlp_out", layer] if head is None else total["z", layer][:, head] for layer, head in senders]
    return [value.to(lm.dtype) for value in chosen]


def sender_patch(sender: Sender, value: Tensor, position: Position) -> Patch:
    """The sender's output replaced by a value per prompt."""
    layer, head = sender
    return Patch(site="mlp_out" if head is None else "z", layer=layer, head=head, position=position, value=value)
