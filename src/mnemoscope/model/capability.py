"""What the model room itself can say about a model: capability -> why it is not there, "" if it is."""

from collections.abc import Callable
from typing import Final

from mnemoscope.model.batch import SIDES
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import padding_reason


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


REASONS: Final[dict[str, Callable[[LM], str]]] = {"record": record_reason, "padding": both_sides_reason}
