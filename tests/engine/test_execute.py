"""Chunks, resuming and interruption: the same numbers however the work is cut."""

import numpy as np
import pytest
import torch

from mnemoscope.engine.sweep import sweep

ARGUMENTS = {"site": "z", "positions": (4, 6), "heads": [0, 2], "tokens": [3, 40, 77, 5, 8]}
SMALL = 700_000  # bytes: a few prompts and a few rows


def both(naive):
    lm = naive.model("gpt2")
    lengths, spans = (9, 9, 9, 9, 9), ((1, 2),) * 5
    return lm, naive.prompts(lm, 1, lengths, spans), naive.prompts(lm, 2, lengths, spans)


def test_chunks_change_nothing_and_finished_ones_are_not_computed_again(naive):
    lm, base, source = both(naive)
    whole = sweep(lm, base, source, **ARGUMENTS)
    kept: dict[str, np.ndarray] = {}
    steps: list[tuple[int, int]] = []
    cut = sweep(
        lm,
        base,
        source,
        budget=SMALL,
        on_chunk=kept.__setitem__,
        progress=lambda done, total: steps.append((done, total)),
        **ARGUMENTS,
    )
    assert len(kept) > 3
    assert steps == [(i + 1, len(kept)) for i in range(len(kept))]
    np.testing.assert_allclose(cut.effects, whole.effects, atol=whole.verification.tolerance)
    again: dict[str, np.ndarray] = {}
    some = dict(list(kept.items())[:-2])
    resumed = sweep(lm, base, source, budget=SMALL, done=some, on_chunk=again.__setitem__, **ARGUMENTS)
    assert set(again) == set(kept) - set(some)
    np.testing.assert_array_equal(resumed.effects, cut.effects)


def test_an_interrupted_sweep_leaves_the_model_as_it_was(naive):
    lm, base, source = both(naive)
    with torch.no_grad():
        before = lm.model(base.ids).logits
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lm.model.modules()]
    kept: dict[str, np.ndarray] = {}

    def interrupt(name: str, chunk: np.ndarray) -> None:
        kept[name] = chunk
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(lm, base, source, budget=SMALL, on_chunk=interrupt, **ARGUMENTS)
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lm.model.modules()] == hooks
    with torch.no_grad():
        assert torch.equal(lm.model(base.ids).logits, before)
    resumed = sweep(lm, base, source, budget=SMALL, done=kept, **ARGUMENTS)
    whole = sweep(lm, base, source, budget=SMALL, **ARGUMENTS)
    np.testing.assert_array_equal(resumed.effects, whole.effects)


def test_the_slow_path_is_cut_and_resumed_too(naive):
    lm, base, source = both(naive)
    arguments = {**ARGUMENTS, "positions": 4, "path": "slow"}
    kept: dict[str, np.ndarray] = {}
    whole = sweep(lm, base, source, **arguments)
    cut = sweep(lm, base, source, budget=SMALL, on_chunk=kept.__setitem__, **arguments)
    again: dict[str, np.ndarray] = {}
    resumed = sweep(lm, base, source, budget=SMALL, done=kept, on_chunk=again.__setitem__, **arguments)
    assert not again
    np.testing.assert_allclose(cut.effects, whole.effects, atol=1e-5)
    np.testing.assert_array_equal(resumed.effects, cut.effects)
