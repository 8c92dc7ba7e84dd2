"""Attributions are the model's logits, cut into parts: against the logits, a foil, the mean, and a computation by hand."""

from functools import cache

import pytest
import torch

from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import trace
from mnemoscope.errors import InputError, OptionError, PromptError
from mnemoscope.model.head import unembedding
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import TWELVE, tiny

IDS = torch.randint(0, 211, (3, 9), generator=torch.Generator().manual_seed(3))
TOKENS, FOILS = torch.tensor([5, 7, 100]), torch.tensor([1, 2, 3])


@cache
def lm_of(name: str) -> LM:
    return view(tiny(name), name=name)


def uncapped(lm: LM) -> torch.Tensor:
    with torch.no_grad():
        logits = lm.model(input_ids=IDS, use_cache=False).logits.double()
    cap = unembedding(lm).softcap
    return logits if cap is None else cap * torch.atanh(logits / cap)


@pytest.mark.parametrize("name", TWELVE)
def test_attributions_sum_to_the_logit_the_difference_and_the_score(name: str) -> None:
    lm = lm_of(name)
    parts, logits, each = decompose(lm, IDS, "all"), uncapped(lm), torch.arange(3)
    expected = {
        "token": logits[each, :, TOKENS],
        "foil": logits[each, :, TOKENS] - logits[each, :, FOILS],
        "mean": logits[each, :, TOKENS] - logits.mean(-1),
    }
    for reference, value in expected.items():
        foils = FOILS if reference == "foil" else None
        found = attribute(parts, TOKENS, reference=reference, foils=foils)
        assert float((found.total - value).abs().max()) <= 1e-4


def test_a_head_by_hand() -> None:
    lm = lm_of("llama")
    model = lm.model
    found = attribute(decompose(lm, IDS), TOKENS).heads(lm.n_layers, lm.n_heads)[1, 2, :, 0]
    sites = trace(lm, IDS, ("z", "resid_post"))
    out = sites["z"][1, :, 0, 2] @ model.model.layers[1].self_attn.o_proj.weight.T[2 * 24 : 3 * 24]
    final = sites["resid_post"][-1, :, 0]
    scale = (final.pow(2).mean(-1, keepdim=True) + model.model.norm.variance_epsilon).sqrt()
    by_hand = (out / scale * model.model.norm.weight * model.lm_head.weight[TOKENS]).sum(-1)
    torch.testing.assert_close(found, by_hand.detach(), atol=1e-5, rtol=1e-4)


def test_the_top_components_are_the_largest() -> None:
    found = attribute(decompose(lm_of("gpt2"), IDS), TOKENS)
    means = found.values.mean(dim=(1, 2))
    top = found.top(3)
    assert [value for _, value in top] == pytest.approx(means[means.abs().argsort(descending=True)[:3]].tolist())
    assert all(component.kind == "head" for component, _ in found.top(5, kind="head"))


def test_nonsense_is_refused() -> None:
    parts = decompose(lm_of("gpt2"), IDS)
    with pytest.raises(OptionError, match="no reference is called"):
        attribute(parts, TOKENS, reference="median")
    with pytest.raises(InputError, match="do not fit"):
        attribute(parts, TOKENS, foils=FOILS)
    with pytest.raises(PromptError, match="one token per prompt"):
        attribute(parts, [1, 2])
    with pytest.raises(PromptError, match="outside the vocabulary"):
        attribute(parts, [1, 2, 211])
