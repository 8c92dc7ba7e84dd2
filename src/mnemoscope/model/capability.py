"""What the model room itself can say about a model: capability -> why it is not there, "" if it is."""

from collections.abc import Callable
from typing import Final

import torch

from mnemoscope.model.batch import SIDES
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason
from mnemoscope.model.weights import weight_reason


def record_reason(lm: LM) -> str:
    """Why the residual stream and the attention of a model cannot be recorded."""
    missing = [layer for layer, module in enumerate(lm.attentions) if module is None]
    if not missing:
        return ""
    where = "no layer" if len(missing) == lm.n_layers else f"layers {', '.join(map(str, missing))}"
    verb = "has attention" if len(missing) == lm.n_layers else "have no attention"
    return f"residual sites only: {where} {verb} on the attention interface"


def both_sides_reason(lm: LM) -> str:
    """Why prompts of different length cannot share a batch, side by side."""
    reasons = [padding_reason(lm, side) for side in SIDES]
    return "; ".join(reason for reason in reasons if reason)


def weights_reason(lm: LM) -> str:
    """Which weight matrices a model lacks, in which layers, and why; each different reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        for layer in range(lm.n_layers):
            if reason := weight_reason(lm, name, layer):
                found.setdefault((name, reason), []).append(str(layer))
    lines = [f"no {name} in layers {', '.join(layers)}: {reason}" for (name, reason), layers in found.items()]
    lines += [f"no {name}: {reason}" for name in ("W_E", "W_U") if (reason := weight_reason(lm, name))]
    return "; ".join(lines)


@torch.no_grad()
def causal_reason(lm: LM) -> str:
    """Whether later tokens move earlier logits: asked by changing the last token of a text."""
    ids = torch.randint(0, lm.d_vocab, (1, 7), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % lm.d_vocab
    before, after = (lm.model(input_ids=i.to(lm.device), use_cache=False).logits[:, :-1].float() for i in (ids, other))
    difference, largest = float((after - before).abs().max()), float(before.abs().max())
    if difference <= 32 * torch.finfo(lm.dtype).eps * largest:
        return ""
    return f"a later token moves earlier logits by {difference:.2g}"


REASONS: Final[dict[str, Callable[[LM], str]]] = {
    "causal": causal_reason,
    "record": record_reason,
    "padding": both_sides_reason,
    "weights": weights_reason,
}
