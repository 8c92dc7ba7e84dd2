"""Remedies act inside the context, in forward and generate alike, and leave nothing behind."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module", params=["llama", "gpt_neox", "gemma2", "gpt2"])
def lm(request):
    """Sequential, parallel-block and post-norm models, tiny and random."""
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    return view(tiny(request.param), name=request.param)


@pytest.fixture(scope="module")
def ids(lm):
    return torch.randint(1, lm.d_vocab, (2, 6), generator=torch.Generator().manual_seed(0))


def logits(lm, ids):
    with torch.no_grad():
        return lm.model(input_ids=ids, use_cache=False).logits


def direction(lm):
    u = torch.randn(lm.d_model, generator=torch.Generator().manual_seed(1))
    return u / u.norm()


@pytest.mark.parametrize("name", ["heads", "frequency", "scale", "skip", "temperature", "random"])
def test_a_remedy_changes_the_model_and_is_removed_bit_by_bit(lm, ids, name):
    from mnemoscope.measures.mitigation import Remedy, mitigate

    options = {
        "heads": {"heads": (0,)},
        "frequency": {"direction": direction(lm), "amount": 0.5},
        "random": {"direction": direction(lm), "drawn": direction(lm).flip(0)},
        "scale": {"amount": 0.5},
        "skip": {},
        "temperature": {"temperature": 2.0},
    }[name]
    before = logits(lm, ids)
    with mitigate(lm, Remedy(name=name, **options)):
        inside = logits(lm, ids)
    assert (inside - before).abs().max() > 1e-3
    assert torch.equal(logits(lm, ids), before)
    with pytest.raises(ZeroDivisionError), mitigate(lm, Remedy(name=name, **options)):
        raise ZeroDivisionError
    assert torch.equal(logits(lm, ids), before)


def test_leaving_the_last_layer_out_is_the_logit_lens_before_it(lm, ids):
    from mnemoscope.engine.record import trace
    from mnemoscope.measures.mitigation import mitigate
    from mnemoscope.model.head import unembed

    before = trace(lm, ids, ("resid_pre",), "all", (lm.n_layers - 1,)).at("resid_pre", lm.n_layers - 1)
    with mitigate(lm, "skip"):
        found = logits(lm, ids)
    with torch.no_grad():
        torch.testing.assert_close(found[..., : lm.d_vocab], unembed(lm, before), rtol=1e-4, atol=1e-4)


def test_what_the_direction_says_is_gone(lm, ids):
    """amount 1: the last MLP's output has no component along u; amount 0: nothing changes."""
    from mnemoscope.engine.record import trace
    from mnemoscope.measures.mitigation import Remedy, mitigate

    u, last = direction(lm), lm.n_layers - 1
    sites = ("mlp_out", "resid_mid") if lm.name not in ("gpt_neox",) else ("mlp_out", "resid_pre")
    plain = trace(lm, ids, (*sites, "resid_post"), "all", (last,))
    with mitigate(lm, Remedy(name="frequency", direction=u)):
        inside = trace(lm, ids, ("resid_post",), "all", (last,))
    moved = plain.at("resid_post", last) - inside.at("resid_post", last)
    m = plain.at("mlp_out", last)
    torch.testing.assert_close(moved, (m @ u)[..., None] * u, rtol=1e-3, atol=1e-4 * float(m.abs().max()))


def test_generate_decodes_with_the_remedy(lm, ids):
    """Greedy decoding inside the context is the argmax of forward passes inside it, token by token, cache or not."""
    from mnemoscope.measures.mitigation import mitigate

    with mitigate(lm, "scale", amount=0.25):
        made = lm.model.generate(
            ids, max_new_tokens=3, do_sample=False, pad_token_id=0, eos_token_id=None, attention_mask=ids * 0 + 1
        )
        text = ids
        for _ in range(3):
            text = torch.cat([text, logits(lm, text)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(made, text)


def test_a_temperature_divides_logits(lm, ids):
    from mnemoscope.measures.mitigation import mitigate

    plain = logits(lm, ids)
    with mitigate(lm, "temperature", temperature=2.0):
        torch.testing.assert_close(logits(lm, ids), plain / 2)
        from mnemoscope.errors import UnsupportedError

        with pytest.raises(UnsupportedError, match="loss"):
            lm.model(input_ids=ids, labels=ids)


def test_what_cannot_be_done_is_refused(lm):
    from mnemoscope.errors import InputError, OptionError
    from mnemoscope.measures.mitigation import Remedy, mitigate

    def entered(*args, **kwargs):
        with mitigate(lm, *args, **kwargs):
            raise AssertionError("entered")

    with pytest.raises(OptionError, match="scale"):
        entered("scal")
    with pytest.raises(InputError, match="heads"):
        entered("heads")
    with pytest.raises(OptionError, match="99"):
        entered("heads", heads=[99])
    with pytest.raises(InputError, match="texts"):
        entered("frequency")
    with pytest.raises(InputError, match="temperature"):
        entered("temperature", temperature=0.0)
    with pytest.raises(InputError, match="direction"):
        entered(Remedy(name="frequency"))


def test_the_inverse_temperature_is_that_of_an_independent_search():
    from mnemoscope.measures.mitigation import inverse_temperature
    from mnemoscope.stats.calibration import temperature

    rng = np.random.default_rng(0)
    z = rng.standard_normal((400, 9)) * 2
    y = np.array([rng.choice(9, p=np.exp(row / 1.7) / np.exp(row / 1.7).sum()) for row in z])
    found = inverse_temperature(torch.from_numpy(z), torch.from_numpy(y))
    assert 1 / found == pytest.approx(temperature(z, y), rel=1e-6)
    assert inverse_temperature(torch.from_numpy(z), torch.from_numpy(z.argmax(1))) == pytest.approx(10.0, rel=1e-3)
