"""The lens is the model's own norm and unembedding, applied to every layer."""

from functools import cache

import pytest
import torch

from mnemoscope.engine.lens import lens
from mnemoscope.engine.record import trace
from mnemoscope.errors import OptionError, PromptError
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import TWELVE, tiny

IDS = torch.randint(0, 211, (2, 9), generator=torch.Generator().manual_seed(4))


@cache
def lm_of(name: str) -> LM:
    return view(tiny(name), name=name)


@pytest.mark.parametrize("name", TWELVE)
def test_at_the_last_layer_it_is_the_models_logit_and_rank(name: str) -> None:
    lm = lm_of(name)
    with torch.no_grad():
        own = lm.model(input_ids=IDS, use_cache=False).logits
    found = lens(lm, IDS, [3, 50], "all", ranks=True, top=4)
    torch.testing.assert_close(found.logits[-1], own[..., [3, 50]], atol=2e-5, rtol=1e-5)
    order = own.argsort(-1, descending=True)
    assert torch.equal(found.top_tokens[-1], order[..., :4])
    ranks = (order[..., None] == torch.tensor([3, 50])).int().argmax(-2)
    assert torch.equal(found.ranks[-1], ranks.double())


def test_in_between_it_is_norm_then_unembedding() -> None:
    lm = lm_of("gpt2")
    stream = trace(lm, IDS, ("resid_pre",), layers=(1,))["resid_pre"]
    with torch.no_grad():
        expected = lm.model.lm_head(lm.model.transformer.ln_f(stream))[..., [[5]]]
    found = lens(lm, IDS, torch.tensor([[5], [5]]), layers=(1,), site="resid_pre", zscores=True)
    torch.testing.assert_close(found.logits, expected[..., 0], atol=1e-5, rtol=1e-5)
    assert (found.layers, found.ranks, found.top_tokens) == ((1,), None, None)
    assert found.zscores.shape == found.logits.shape


def test_other_sites_and_shapes_are_refused() -> None:
    with pytest.raises(OptionError, match="no lens"):
        lens(lm_of("gpt2"), IDS, [1], site="z")
    with pytest.raises(PromptError, match="tokens are read as"):
        lens(lm_of("gpt2"), IDS, torch.zeros(3, 1, dtype=torch.long))
