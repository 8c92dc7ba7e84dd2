import torch

from mnemoscope.measures.suppression import drop


def test_the_split_is_exact_for_a_layer_norm_model():
    g = torch.Generator().manual_seed(0)
    prompts, components, width, vocab = 5, 4, 16, 11
    before = torch.randn(prompts, width, generator=g, dtype=torch.float64)
    parts = torch.randn(components, prompts, width, generator=g, dtype=torch.float64)
    norm = torch.nn.LayerNorm(width, eps=1e-5).double()
    norm.weight.data = torch.rand(width, generator=g, dtype=torch.float64) + 0.5
    norm.bias.data = torch.randn(width, generator=g, dtype=torch.float64)
    W_U = torch.randn(width, vocab, generator=g, dtype=torch.float64)
    answer = torch.arange(prompts)
    after = before + parts.sum(0)

    def centred_logit(resid):
        logits = norm(resid) @ W_U
        return logits[torch.arange(prompts), answer] - logits.mean(-1)

    folded = norm.weight[:, None] * (W_U - W_U.mean(1, keepdim=True))
    direction = (folded - folded.mean(0)).T[answer].detach()

    def scale(resid):
        return (resid.var(-1, unbiased=False) + 1e-5).sqrt()

    found = drop(before, parts, scale(before), scale(after), direction)
    torch.testing.assert_close(
        found.total, (centred_logit(before) - centred_logit(after)).detach(), rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(found.dilution + found.write, found.total)
    torch.testing.assert_close(found.parts.sum(0), found.write)


def test_growing_the_stream_is_all_dilution():
    before = torch.tensor([[3.0, 4.0]])
    found = drop(before, before[None], torch.tensor([5.0]), torch.tensor([10.0]), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(found.total, torch.tensor([0.0]))  # a scale-invariant norm does not notice
    torch.testing.assert_close(found.dilution, torch.tensor([0.3]))
