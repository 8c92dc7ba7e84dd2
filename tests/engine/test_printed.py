"""What an answer prints of itself: what it is, how large, how it was verified; never its arrays."""

import numpy as np
import torch

from mnemoscope.engine.check import check
from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import Sweep
from mnemoscope.engine.verify import Verification
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import tiny

NAN = float("nan")


def test_models_traces_and_checks() -> None:
    lm = view(tiny("gpt2"), name="small")
    shape = lm.shape
    assert repr(lm) == f"<LM small: GPT2LMHeadModel, {lm.n_layers} layers x {shape.n_heads} heads, float32 on cpu>"
    found = trace(lm, torch.tensor([[1, 2, 3], [4, 5, 6]]), sites=("z", "resid_post"))
    assert repr(found) == f"<Trace [batch 2, pos 1]: z [layer {lm.n_layers}], resid_post [layer {lm.n_layers}]>"
    report = check(lm)
    assert repr(report) == report.table()


def test_sweeps_say_their_range_and_how_they_were_verified() -> None:
    fast = Verification(path="fast", reason="", rows=2, largest=1e-6, control=3e-6, floor=2e-6, tolerance=1e-5)
    slow = Verification(path="slow", reason="asked for", rows=0, largest=NAN, control=NAN, floor=NAN, tolerance=NAN)
    effects = np.array([[[0.5, NAN], [-1.25, 0.0]]])
    said = "<Sweep of z, zero: effects on logit [layer 1, head 2, prompt 2], from -1.25 to 0.5; "
    for verification, more in (
        (fast, "fast path, differences <= 3.0e-06 (rows recomputed: 2; rounding: 1.0e-05)>"),
        (slow, "slow path (asked for)>"),
    ):
        found = Sweep(
            effects=effects,
            axes=("layer", "head", "prompt"),
            coordinates={"layer": (0,), "head": (0, 1), "prompt": (0, 1)},
            base=np.zeros(2),
            verification=verification,
            site="z",
            op="zero",
            metric="logit",
        )
        assert repr(found) == said + more
