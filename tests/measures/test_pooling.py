import torch

from mnemoscope.measures.pooling import pool


def test_poolings_equal_numpy_on_the_chosen_tokens():
    g = torch.Generator().manual_seed(0)
    resid = torch.randn(3, 6, 4, generator=g)
    chosen = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]]).bool()
    for b in range(2):
        rows = resid[b][chosen[b]].numpy()
        assert (pool(resid, chosen, "max")[b].numpy() == rows.max(0)).all()
        assert abs(pool(resid, chosen, "mean")[b].numpy() - rows.mean(0)).max() < 1e-6
        assert (pool(resid, chosen, "last")[b].numpy() == rows[-1]).all()
    for how in ("max", "mean", "last"):
        assert torch.isnan(pool(resid, chosen, how)[2]).all()
