"""The noise floor is measured on the unmodified model, and the tolerance is one line of arithmetic."""

import torch

from mnemoscope.engine.tolerance import evaluations, noise_floor, tolerance


def test_the_table():
    assert tolerance(1e-6, torch.float32, 10.0) == 32 * torch.finfo(torch.float32).eps * 10
    assert tolerance(1e-3, torch.float32, 10.0) == 3e-3
    assert tolerance(0.0, torch.bfloat16, 8.0) == 32 * 2**-7 * 8  # bfloat16 has 8 bits of mantissa


def test_the_floor_is_rounding_and_never_zero(naive):
    lm = naive.model("gpt2")
    batch = naive.prompts(lm, 1)
    names = [name for name, _ in evaluations(lm, batch)]
    assert names == ["alone", "beside others", "right-padded", "left-padded", "cached"]
    assert 0 < noise_floor(lm, batch) < tolerance(0.0, torch.float32, 10.0)


def test_half_precision_on_a_real_model(naive, stories):
    """About 0.1 logits in bfloat16 and 1e-5 in float32, as measured by hand when the design was made."""
    from mnemoscope.model.batch import tokenize
    from mnemoscope.model.load import load

    for dtype, low, high in ((torch.bfloat16, 1e-2, 0.5), (torch.float32, 1e-6, 1e-4)):
        lm = load(str(stories), dtype=dtype)
        prompts = ["Once upon a time, there was a little girl named Lily. She", "One day, Tom went to the"]
        assert low < noise_floor(lm, tokenize(lm, prompts)) < high
