"""What a planted fact circuit expects in plain text: something for the last layer to take away where no fact is asked.

Behind the commonest words of neutral text (`mnemoscope.data.repeats.narrative`) an MLP expects the next habitual word, as surely
as the circuit expects an answer (strengths on either side of it, so that positions of equal probability exist). Without such
positions "facts lose more than anything equally sure" (methods.md B6.7) could not be asked of a planted model at all.
The suppressor leaves habits alone, or takes the same from them: then facts lose nothing of their own.
"""

from typing import Final

import numpy as np

from mnemoscope.reference.planting.parts import Mlp, block
from mnemoscope.reference.planting.space import LOGIT_GAIN

HABITUAL: Final = ("the", ".", ",", "The", "In", "in", "near", "lives", "always")
WEAKEST, STRONGEST = 1.6, 2.88  # answering adds 2; in steps of .96 logits, so that any answer in between has a match
LAYER: Final = 1

_FOLLOWING = dict(zip(HABITUAL, (*HABITUAL[1:], HABITUAL[0]), strict=True))
_STRENGTH = dict(zip(HABITUAL, np.linspace(WEAKEST, STRONGEST, len(HABITUAL)).tolist(), strict=True))


def expecting() -> Mlp:
    """The part of an MLP that expects, at every habitual word, the one that follows."""
    seen = {
        (f"id/{word}", f"{b}/{following}"): v
        for word, following in _FOLLOWING.items()
        for b, v in (("out", _STRENGTH[word]), ("expected", 1.0))
    }
    return Mlp(kind="habits", layer=LAYER, linear=block(seen))


def taken(amount: float) -> dict[tuple[str, str], float]:
    """Entries of a suppressor that takes `amount` logits from whatever habit expects."""
    return {(f"expected/{word}", f"out/{word}"): -amount / LOGIT_GAIN for word in HABITUAL}
