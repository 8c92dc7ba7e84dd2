import torch

from mnemoscope.measures import copying


def test_a_copying_head_scores_one_an_eraser_zero_and_a_silent_one_is_undefined():
    m = 5
    one = torch.eye(m)
    W_V = torch.stack([one, one, torch.zeros(m, m)])
    W_O = torch.stack([one, -one, one])
    logits, bound = copying.literal_logits(one, W_V, W_O, one)
    share = copying.own_share(logits, bound)
    torch.testing.assert_close(share[0], torch.ones(m))
    torch.testing.assert_close(share[1], torch.zeros(m))
    assert torch.isnan(share[2]).all()


def test_equals_the_definition_written_out_and_chance_is_one_over_m():
    generator = torch.Generator().manual_seed(1)
    heads, m, d_model, d_head = 400, 10, 16, 4
    E, U = torch.randn(m, d_model, generator=generator), torch.randn(d_model, m, generator=generator)
    V = torch.randn(heads, d_model, d_head, generator=generator)
    O = torch.randn(heads, d_head, d_model, generator=generator)
    logits, bound = copying.literal_logits(E, V, O, U)
    share = copying.own_share(logits, bound)
    z = E[3] @ V[7] @ O[7] @ U
    q = (z - z.mean()).clamp(min=0)
    torch.testing.assert_close(share[7, 3], q[3] / q.sum())
    se = float(share.mean(-1).std()) / heads**0.5
    assert abs(float(share.mean()) - 1 / m) < 4 * se  # random heads are at chance
    contextual, _ = copying.contextual_logits(torch.einsum("em,hmd->hed", E, V), O, U)
    torch.testing.assert_close(contextual, logits, rtol=1e-4, atol=1e-4)
