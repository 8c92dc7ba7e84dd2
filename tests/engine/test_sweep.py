"""The sweep against one forward pass per patch (`naive.py`), on every claimed site, op and kind of position."""

import numpy as np
import pytest
import torch

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.rotary import rotary_layers
from mnemoscope.engine.sweep import sweep, sweep_cells
from mnemoscope.errors import InputError, OptionError, PromptError, UnsupportedError
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import TWELVE, tiny

VALUE = {"add": 0.0, "scale": 0.4}


def mixed_plan(naive, lm, *, every: bool) -> list[tuple[Patch, ...]]:
    """Every (site, op, position mode) that is not refused, in rotating layers and heads; or every pair of the three."""
    cells = []
    generator = torch.Generator().manual_seed(5)
    turned = bool(rotary_layers(lm))
    for i, site in enumerate(naive.sites_of(lm)):
        heads = {"z": lm.n_heads, "q": lm.n_heads, "k": lm.n_kv_heads, "v": lm.n_kv_heads}.get(site)
        for j, op in enumerate(("replace", "zero", "mean", "add", "scale")):
            for k, position in enumerate(("last", "subject", "all", 4, (1, 5))):
                if site in ("q", "k") and turned and op in ("mean", "add"):
                    continue
                if op == "mean" and position == "all":
                    continue  # prompts of several lengths have no common places
                if not every and (i + j + k) % 5:
                    continue
                value = torch.randn(naive.width(lm, site), generator=generator) if op == "add" else VALUE.get(op)
                head = None if heads is None or (j + k) % 3 == 2 else (i + k) % heads
                layer = (i + 2 * j + k) % lm.n_layers
                cells.append((Patch(site=site, layer=layer, head=head, position=position, op=op, value=value),))
    return cells


def compare(naive, name: str, *, every: bool) -> None:
    lm = naive.model(name)
    base, source = naive.prompts(lm, 1), naive.prompts(lm, 2)
    cells = mixed_plan(naive, lm, every=every)
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=naive.TOKENS)
    assert found.verification.path == "fast", found.verification.reason
    assert found.verification.rows >= 1
    means = {}
    for position in {p.position for cell in cells for p in cell if p.op == "mean"}:
        means |= naive.dataset_means(lm, source, position)
    expected = naive.one_by_one(lm, base, source, cells, means, naive.last_logit)
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)
    assert np.abs(expected).max() > 1000 * found.verification.tolerance


@pytest.mark.parametrize("name", ["gpt2", "gpt_oss"])
def test_every_pair_of_site_op_and_position_is_one_forward_per_patch(naive, name):
    compare(naive, name, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWELVE)
def test_every_site_op_and_position_is_one_forward_per_patch(naive, name):
    compare(naive, name, every=True)


def test_joint_patches_in_one_row(naive):
    lm = naive.model("llama")
    base, source = naive.prompts(lm, 1), naive.prompts(lm, 2)
    cells = [
        (
            Patch(site="z", layer=0, head=1, position="subject"),
            Patch(site="k", layer=2, head=0, position=5),
            Patch(site="mlp_out", layer=1, position="last", op="zero"),
        ),
        (Patch(site="resid_post", layer=2, op="scale", value=0.5), Patch(site="resid_pre", layer=1, op="zero")),
        (Patch(site="z", layer=1, head=0), Patch(site="z", layer=1, head=3), Patch(site="z", layer=2, head=0)),
    ]
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=naive.TOKENS)
    expected = naive.one_by_one(lm, base, source, cells, {}, naive.last_logit)
    assert found.verification.path == "fast"
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)


@pytest.mark.parametrize(
    "name", [name if name in ("phi", "gemma2") else pytest.param(name, marks=pytest.mark.slow) for name in TWELVE]
)
def test_patching_everything_gives_the_source_and_nothing_gives_the_base(naive, name):
    lm = naive.model(name)
    base, source = naive.prompts(lm, 1, (9, 9, 9)), naive.prompts(lm, 2, (9, 9, 9))
    logits = [[naive.run(lm, batch.ids[b, :9], {})[-1, naive.TOKENS[b]] for b in range(3)] for batch in (base, source)]
    into, out_of = np.array(logits)
    cells = [
        (Patch(site="resid_pre", layer=0, position="all"),),
        (Patch(site="resid_post", layer=lm.n_layers - 1),),
        (Patch(site="z", layer=1, op="scale", value=1.0, position="all"),),
    ]
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=naive.TOKENS)
    allowed = found.verification.tolerance
    np.testing.assert_allclose(found.base, into, atol=allowed)
    np.testing.assert_allclose(found.base + found.effects[0], out_of, atol=allowed)
    np.testing.assert_allclose(found.base + found.effects[1], out_of, atol=allowed)
    np.testing.assert_allclose(found.effects[2], 0, atol=allowed)
    assert found.verification.control <= allowed


def test_axes_metrics_and_positions_one_by_one(naive):
    lm = naive.model("qwen3")
    base, source = naive.prompts(lm, 1, (8, 8, 8)), naive.prompts(lm, 2, (8, 8, 8))
    logits = [naive.run(lm, base.ids[b, :8], {}) for b in range(3)]
    each = sweep(lm, base, source, site="v", positions="each", tokens=[naive.TOKENS] * 3)
    assert each.axes == ("layer", "kv_head", "position", "prompt", "token")
    assert each.effects.shape == (lm.n_layers, lm.n_kv_heads, 8, 3, 3)
    one = sweep(lm, base, source, site="v", positions=5, layers=[1], heads=[1], tokens=naive.TOKENS[1], readout=6)
    cell = (Patch(site="v", layer=1, head=1, position=5),)
    expected = naive.one_by_one(lm, base, source, [cell], {}, lambda out, b: float(out[6, naive.TOKENS[1]]))
    np.testing.assert_allclose(one.effects[0], expected, atol=each.verification.tolerance)
    last = naive.one_by_one(lm, base, source, [cell], {}, lambda out, b: float(out[-1, naive.TOKENS[2]]))
    np.testing.assert_allclose(each.effects[1, 1, 5, :, 2], last[0], atol=each.verification.tolerance)
    assert each.to_polars().columns == ["layer", "kv_head", "position", "prompt", "token", "effect"]
    assert each.to_polars().height == each.effects.size
    definitions = {
        "logit": lambda out, b: out[-1, naive.TOKENS[b]],
        "logit_diff": lambda out, b: out[-1, naive.TOKENS[b]] - (out[-1, 9] + out[-1, 11]) / 2,
        "logit_minus_mean": lambda out, b: out[-1, naive.TOKENS[b]] - out[-1].mean(),
        "logprob": lambda out, b: out[-1].log_softmax(-1)[naive.TOKENS[b]],
        "loss": lambda out, b: -out[-1].log_softmax(-1)[naive.TOKENS[b]],
    }
    for metric, definition in definitions.items():
        foils = [[9, 11]] * 3 if metric == "logit_diff" else None
        found = sweep(
            lm, base, site="z", op="zero", metric=metric, tokens=naive.TOKENS, foils=foils, layers=[2], heads=[3]
        )
        np.testing.assert_allclose(found.base, [float(definition(logits[b], b)) for b in range(3)], atol=1e-5)
        zero = (Patch(site="z", layer=2, head=3, op="zero"),)
        expected = naive.one_by_one(lm, base, source, [zero], {}, lambda out, b, f=definition: float(f(out, b)))
        np.testing.assert_allclose(found.effects[0, 0], expected[0], atol=1e-4)


def test_sequence_loss_restarts_at_the_first_ablated_position(naive):
    lm = naive.model("gemma3_text")
    base = naive.prompts(lm, 1)

    def loss(out, b):
        n = int(base.lengths[b])
        picked = out[: n - 1].log_softmax(-1)[torch.arange(n - 1), base.ids[b, 1:n]]
        return -float(picked.mean())

    found = sweep(lm, base, site="z", op="zero", positions=(5,), metric="loss", readout="all", heads=[0, 2])
    cells = [(Patch(site="z", layer=l, head=h, position=(5,), op="zero"),) for l in range(lm.n_layers) for h in (0, 2)]
    expected = naive.one_by_one(lm, base, base, cells, {}, loss).reshape(lm.n_layers, 2, 3)
    assert found.verification.path == "fast"
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)


def normed(x, norm, eps):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * norm.weight.double().detach().numpy() + norm.bias.double().detach().numpy()


def two_layers_by_hand(lm, ids, swap=None, donor=None):
    """(logits, z per layer) of an attention-only GPT-2 in numpy; swap (layer, head): z at the last position is donor's."""
    body, eps = lm.model.transformer, lm.config.layer_norm_epsilon
    weight = {name: value.double().detach().numpy() for name, value in lm.model.state_dict().items()}
    n, d = len(ids), lm.d_head
    stream = weight["transformer.wte.weight"][ids] + weight["transformer.wpe.weight"][:n]
    kept = []
    for layer in range(2):
        name = f"transformer.h.{layer}.attn."
        qkv = normed(stream, body.h[layer].ln_1, eps) @ weight[name + "c_attn.weight"] + weight[name + "c_attn.bias"]
        q, k, v = (part.reshape(n, lm.n_heads, d) for part in np.split(qkv, 3, axis=1))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(d) + np.triu(np.full((n, n), -np.inf), 1)
        pattern = np.exp(scores - scores.max(-1, keepdims=True))
        z = np.einsum("hqk,khd->qhd", pattern / pattern.sum(-1, keepdims=True), v)
        if swap is not None and swap[0] == layer:
            z[-1, swap[1]] = donor[layer][-1, swap[1]]
        kept.append(z)
        stream = stream + z.reshape(n, -1) @ weight[name + "c_proj.weight"] + weight[name + "c_proj.bias"]
    return normed(stream, body.ln_f, eps) @ weight["lm_head.weight"].T, kept


def test_a_two_layer_attention_only_model_by_hand():
    model = tiny("gpt2", n_layer=2)
    for block in model.transformer.h:
        block.mlp.c_proj.weight.data.zero_()
        block.mlp.c_proj.bias.data.zero_()
    lm = view(model)
    base, source = torch.tensor([[5, 9, 2, 7, 1]]), torch.tensor([[3, 8, 8, 1, 4]])
    found = sweep(lm, base, source, site="z", tokens=11)
    plain, _ = two_layers_by_hand(lm, base[0].numpy())
    _, donor = two_layers_by_hand(lm, source[0].numpy())
    for layer in range(2):
        for head in range(lm.n_heads):
            patched, _ = two_layers_by_hand(lm, base[0].numpy(), (layer, head), donor)
            by_hand = patched[-1, 11] - plain[-1, 11]
            assert abs(by_hand) > 1e-3
            np.testing.assert_allclose(found.effects[layer, head, 0], by_hand, atol=found.verification.tolerance)


def test_rotary_is_found_where_it_is(naive):
    assert {
        n: bool(rotary_layers(naive.model(n))) for n in ("gpt2", "opt", "llama", "gpt_neox", "phi", "deepseek_v3")
    } == {
        "gpt2": False,
        "opt": False,
        "llama": True,
        "gpt_neox": True,
        "phi": True,
        "deepseek_v3": True,
    }


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"site": "resid"}, OptionError, "resid_p"),
        ({"site": "z", "op": "replce"}, OptionError, "replace"),
        ({"site": "z", "heads": [9]}, OptionError, "heads per site"),
        ({"site": "resid_pre", "heads": [0]}, OptionError, "no heads"),
        ({"site": "z", "layers": [7]}, OptionError, "layers 0 to 2"),
        ({"site": "z", "op": "add"}, InputError, "without a value"),
        ({"site": "z", "positions": "subjct"}, OptionError, "subject"),
        ({"site": "z", "positions": "all"}, PromptError, "equal length"),
        ({"site": "z", "positions": 8, "op": "zero"}, PromptError, "prompt 2: 7 tokens"),
        ({"site": "q", "op": "mean"}, UnsupportedError, "rotary"),
        ({"site": "z", "metric": "logit_diff"}, InputError, "foils"),
        ({"site": "z", "metric": "logits"}, OptionError, "logit"),
        ({"site": "z", "tokens": [1, 2]}, InputError, "one per prompt"),
        ({"site": "z", "tokens": 10**6}, PromptError, "vocabulary"),
        ({"site": "z", "budget": "much"}, OptionError, "GiB"),
    ],
)
def test_what_cannot_be_asked_says_why(naive, arguments, error, words):
    lm = naive.model("llama")
    base, source = naive.prompts(lm, 1), naive.prompts(lm, 2, (9, 12, 8))
    with pytest.raises(error, match=words):
        sweep(lm, base, source, **{"tokens": naive.TOKENS, **arguments})


def test_each_is_nan_where_a_prompt_has_no_such_position(naive):
    lm = naive.model("gpt2")
    base = naive.prompts(lm, 1)
    found = sweep(lm, base, site="resid_mid", op="zero", positions="each", tokens=naive.TOKENS)
    assert found.effects.shape == (lm.n_layers, 12, 3)
    there = np.arange(12)[:, None] < base.lengths.numpy()[None]
    assert (np.isnan(found.effects) == ~there[None]).all()


def test_roles_of_unequal_length_need_align(naive):
    lm = naive.model("llama")
    base, source = naive.prompts(lm, 1), naive.prompts(lm, 2, spans=((2, 5), (5, 7), (1, 3)))
    with pytest.raises(PromptError, match="last"):
        sweep(lm, base, source, site="z", positions="subject", tokens=naive.TOKENS)
    found = sweep(lm, base, source, site="v", positions="subject", align="last", tokens=naive.TOKENS, heads=[1])
    cells = [(Patch(site="v", layer=layer, head=1, position="subject"),) for layer in range(lm.n_layers)]
    ends = [
        naive.prompts(lm, seed, spans=tuple((stop - 1, stop) for _, stop in spans))
        for seed, spans in ((1, ((2, 4), (5, 7), (1, 3))), (2, ((2, 5), (5, 7), (1, 3))))
    ]
    expected = naive.one_by_one(lm, *ends, cells, {}, naive.last_logit)
    np.testing.assert_allclose(found.effects[:, 0], expected, atol=found.verification.tolerance)
