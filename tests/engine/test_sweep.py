"""The sweep against one forward pass per patch, written down here with bare seams and no part of the engine's planner."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from mnemoscope.engine.plan import Patch
from mnemoscope.engine.rotary import rotary_layers
from mnemoscope.engine.sweep import sweep, sweep_cells
from mnemoscope.errors import AlignmentError, InputError, OptionError, PromptError, UnsupportedError
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.model.parts import block_parts
from mnemoscope.model.seams import attention_seam, block_seam, module_seam
from mnemoscope.model.tiny import TWELVE, tiny

STREAM = ("resid_pre", "resid_post", "resid_mid", "attn_out", "mlp_out")
LENGTHS = (9, 12, 7)
SUBJECT = ((2, 4), (5, 7), (1, 3))
TOKENS = (3, 40, 77)
VALUE = {"add": 0.0, "scale": 0.4}


@cache
def model(name: str) -> LM:
    return view(tiny(name))


def prompts(
    lm: LM, seed: int, lengths: tuple[int, ...] = LENGTHS, spans: tuple[tuple[int, int], ...] = SUBJECT
) -> Batch:
    """Right-padded random ids with a role "subject" of two tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, lm.d_vocab, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    roles = {"subject": tuple((span,) for span in spans)}
    return replace(tokenize(lm, ids), mask=mask, spans=roles)


def sites_of(lm: LM) -> list[str]:
    mid = [] if any(part.parallel for part in block_parts(lm)) else ["resid_mid"]
    return ["resid_pre", "resid_post", *mid, "attn_out", "mlp_out", "z", "q", "k", "v"]


def run(lm: LM, ids: torch.Tensor, changes: dict, seen: dict | None = None) -> torch.Tensor:
    """Logits of one prompt alone. changes, seen: (site, layer) -> function of the value [pos (head) d] in place / value."""

    def at(site, layer, value):
        value = value.clone()
        if (site, layer) in changes:
            changes[site, layer](value)
        if seen is not None:
            seen[site, layer] = value.clone()
        return value

    stream = {}

    def before(call):
        stream["in"] = at("resid_pre", call.layer, call.resid[0])[None]
        return call.with_resid(stream["in"])

    def after(layer, resid):
        return at("resid_post", layer, resid[0])[None]

    def attend(call):
        q, k, v = (
            at(s, call.layer, x[0].transpose(0, 1)).transpose(0, 1)[None]
            for s, x in (("q", call.query), ("k", call.key), ("v", call.value))
        )
        z, pattern = call.original(call.module, q, k, v, call.mask, **call.kwargs)
        return at("z", call.layer, z[0])[None], pattern

    parts = block_parts(lm)
    modules = {f"attn {l}": p.attn.module for l, p in enumerate(parts)} | {
        f"mlp {l}": p.mlp.module for l, p in enumerate(parts)
    }

    def written(name, output):
        kind, layer = name.split()
        part = parts[int(layer)]
        writer = part.attn if kind == "attn" else part.mlp
        first = output[0] if isinstance(output, tuple) else output
        value = at(f"{kind}_out", int(layer), first.reshape(stream["in"].shape)[0] * writer.coefficient)
        if kind == "attn" and not part.parallel:
            carried = part.residual * stream["in"][0]
            value = at("resid_mid", int(layer), value + carried) - carried
        new = (value / writer.coefficient).reshape(first.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    with (
        torch.no_grad(),
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend),
        module_seam(modules, after=written),
    ):
        return lm.model(input_ids=ids[None], use_cache=False).logits[0]


def spot(batch: Batch, prompt: int, position) -> list[int]:
    n = int(batch.lengths[prompt])
    if position == "last":
        return [n - 1]
    if position == "all":
        return list(range(n))
    if position == "subject":
        return list(range(*batch.spans["subject"][prompt][0]))
    return [p for p in ([position] if isinstance(position, int) else list(position)) if p < n]


def one_by_one(lm: LM, base: Batch, source: Batch, cells, means: dict, read) -> np.ndarray:
    """Patched minus unpatched logit of the token, [cell, prompt], one forward pass each."""
    effects = np.zeros((len(cells), len(base)))
    for b in range(len(base)):
        ids, other = base.ids[b, : base.lengths[b]], source.ids[b, : source.lengths[b]]
        recorded = {}
        run(lm, other, {}, recorded)
        plain = read(run(lm, ids, {}), b)
        for c, cell in enumerate(cells):
            changes = {}
            for patch in cell:
                changes[patch.site, patch.layer] = changed(patch, base, source, b, recorded, means, changes)
            effects[c, b] = read(run(lm, ids, changes), b) - plain
    return effects


def changed(patch, base, source, b, recorded, means, others):
    key = (patch.site, patch.layer)
    earlier = others.get(key)

    def change(value):
        if earlier is not None:
            earlier(value)
        for j, (here, there) in enumerate(
            zip(spot(base, b, patch.position), spot(source, b, patch.position), strict=True)
        ):
            index = (here,) if patch.head is None else (here, patch.head)
            origin = (there,) if patch.head is None else (there, patch.head)
            if patch.op == "replace":
                value[index] = recorded[key][origin]
            elif patch.op == "mean":
                value[index] = means[key, patch.position][j if patch.head is None else (j, patch.head)]
            elif patch.op == "zero":
                value[index] = 0
            elif patch.op == "add":
                value[index] = value[index] + patch.value
            else:
                value[index] = value[index] * patch.value

    return change


def dataset_means(lm: LM, source: Batch, position) -> dict:
    total = {}
    for b in range(len(source)):
        recorded = {}
        run(lm, source.ids[b, : source.lengths[b]], {}, recorded)
        for key, value in recorded.items():
            total[key, position] = total.get((key, position), 0) + value[spot(source, b, position)] / len(source)
    return total


def width(lm: LM, site: str) -> int:
    return lm.d_model if site in STREAM else lm.d_head if site in ("q", "k") else lm.d_value


def mixed_plan(lm: LM, *, every: bool) -> list[tuple[Patch, ...]]:
    """Every (site, op, position mode) that is not refused, in rotating layers and heads; or every pair of the three."""
    cells = []
    generator = torch.Generator().manual_seed(5)
    turned = bool(rotary_layers(lm))
    for i, site in enumerate(sites_of(lm)):
        heads = {"z": lm.n_heads, "q": lm.n_heads, "k": lm.n_kv_heads, "v": lm.n_kv_heads}.get(site)
        for j, op in enumerate(("replace", "zero", "mean", "add", "scale")):
            for k, position in enumerate(("last", "subject", "all", 4, (1, 5))):
                if site in ("q", "k") and turned and op in ("mean", "add"):
                    continue
                if op == "mean" and position == "all":
                    continue  # prompts of several lengths have no common places
                if not every and (i + j + k) % 5:
                    continue
                value = torch.randn(width(lm, site), generator=generator) if op == "add" else VALUE.get(op)
                head = None if heads is None or (j + k) % 3 == 2 else (i + k) % heads
                layer = (i + 2 * j + k) % lm.n_layers
                cells.append((Patch(site=site, layer=layer, head=head, position=position, op=op, value=value),))
    return cells


def last_logit(logits, b):
    return float(logits[-1, TOKENS[b]])


def compare(name: str, *, every: bool) -> None:
    lm = model(name)
    base, source = prompts(lm, 1), prompts(lm, 2)
    cells = mixed_plan(lm, every=every)
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=TOKENS)
    assert found.verification.path == "fast", found.verification.reason
    assert found.verification.rows >= 1
    means = {}
    for position in {p.position for cell in cells for p in cell if p.op == "mean"}:
        means |= dataset_means(lm, source, position)
    expected = one_by_one(lm, base, source, cells, means, last_logit)
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)
    assert np.abs(expected).max() > 1000 * found.verification.tolerance


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gpt_oss"])
def test_every_pair_of_site_op_and_position_is_one_forward_per_patch(name):
    compare(name, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWELVE)
def test_every_site_op_and_position_is_one_forward_per_patch(name):
    compare(name, every=True)


def test_joint_patches_in_one_row():
    lm = model("llama")
    base, source = prompts(lm, 1), prompts(lm, 2)
    cells = [
        (
            Patch(site="z", layer=0, head=1, position="subject"),
            Patch(site="k", layer=2, head=0, position=5),
            Patch(site="mlp_out", layer=1, position="last", op="zero"),
        ),
        (Patch(site="resid_post", layer=2, op="scale", value=0.5), Patch(site="resid_pre", layer=1, op="zero")),
        (Patch(site="z", layer=1, head=0), Patch(site="z", layer=1, head=3), Patch(site="z", layer=2, head=0)),
    ]
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=TOKENS)
    expected = one_by_one(lm, base, source, cells, {}, last_logit)
    assert found.verification.path == "fast"
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)


@pytest.mark.parametrize("name", TWELVE)
def test_patching_everything_gives_the_source_and_nothing_gives_the_base(name):
    lm = model(name)
    base, source = prompts(lm, 1, (9, 9, 9)), prompts(lm, 2, (9, 9, 9))
    logits = [[run(lm, batch.ids[b, :9], {})[-1, TOKENS[b]] for b in range(3)] for batch in (base, source)]
    into, out_of = np.array(logits)
    cells = [
        (Patch(site="resid_pre", layer=0, position="all"),),
        (Patch(site="resid_post", layer=lm.n_layers - 1),),
        (Patch(site="z", layer=1, op="scale", value=1.0, position="all"),),
    ]
    found = sweep_cells(lm, base, cells, sources=(source,), tokens=TOKENS)
    allowed = found.verification.tolerance
    np.testing.assert_allclose(found.base, into, atol=allowed)
    np.testing.assert_allclose(found.base + found.effects[0], out_of, atol=allowed)
    np.testing.assert_allclose(found.base + found.effects[1], out_of, atol=allowed)
    np.testing.assert_allclose(found.effects[2], 0, atol=allowed)
    assert found.verification.control <= allowed


def test_axes_metrics_and_positions_one_by_one():
    lm = model("qwen3")
    base, source = prompts(lm, 1, (8, 8, 8)), prompts(lm, 2, (8, 8, 8))
    logits = [run(lm, base.ids[b, :8], {}) for b in range(3)]
    each = sweep(lm, base, source, site="v", positions="each", tokens=[TOKENS] * 3)
    assert each.axes == ("layer", "kv_head", "position", "prompt", "token")
    assert each.effects.shape == (lm.n_layers, lm.n_kv_heads, 8, 3, 3)
    one = sweep(lm, base, source, site="v", positions=5, layers=[1], heads=[1], tokens=TOKENS[1], readout=6)
    cell = (Patch(site="v", layer=1, head=1, position=5),)
    expected = one_by_one(lm, base, source, [cell], {}, lambda out, b: float(out[6, TOKENS[1]]))
    np.testing.assert_allclose(one.effects[0], expected, atol=each.verification.tolerance)
    last = one_by_one(lm, base, source, [cell], {}, lambda out, b: float(out[-1, TOKENS[2]]))
    np.testing.assert_allclose(each.effects[1, 1, 5, :, 2], last[0], atol=each.verification.tolerance)
    assert each.to_polars().columns == ["layer", "kv_head", "position", "prompt", "token", "effect"]
    assert each.to_polars().height == each.effects.size
    definitions = {
        "logit": lambda out, b: out[-1, TOKENS[b]],
        "logit_diff": lambda out, b: out[-1, TOKENS[b]] - (out[-1, 9] + out[-1, 11]) / 2,
        "logit_minus_mean": lambda out, b: out[-1, TOKENS[b]] - out[-1].mean(),
        "logprob": lambda out, b: out[-1].log_softmax(-1)[TOKENS[b]],
        "loss": lambda out, b: -out[-1].log_softmax(-1)[TOKENS[b]],
    }
    for metric, definition in definitions.items():
        foils = [[9, 11]] * 3 if metric == "logit_diff" else None
        found = sweep(lm, base, site="z", op="zero", metric=metric, tokens=TOKENS, foils=foils, layers=[2], heads=[3])
        np.testing.assert_allclose(found.base, [float(definition(logits[b], b)) for b in range(3)], atol=1e-5)
        zero = (Patch(site="z", layer=2, head=3, op="zero"),)
        expected = one_by_one(lm, base, source, [zero], {}, lambda out, b, f=definition: float(f(out, b)))
        np.testing.assert_allclose(found.effects[0, 0], expected[0], atol=1e-4)


def test_sequence_loss_restarts_at_the_first_ablated_position():
    lm = model("gemma3_text")
    base = prompts(lm, 1)

    def loss(out, b):
        n = int(base.lengths[b])
        picked = out[: n - 1].log_softmax(-1)[torch.arange(n - 1), base.ids[b, 1:n]]
        return -float(picked.mean())

    found = sweep(lm, base, site="z", op="zero", positions=(5,), metric="loss", readout="all", heads=[0, 2])
    cells = [(Patch(site="z", layer=l, head=h, position=(5,), op="zero"),) for l in range(lm.n_layers) for h in (0, 2)]
    expected = one_by_one(lm, base, base, cells, {}, loss).reshape(lm.n_layers, 2, 3)
    assert found.verification.path == "fast"
    np.testing.assert_allclose(found.effects, expected, atol=found.verification.tolerance)


def test_a_two_layer_attention_only_model_by_hand():
    """Two attention-only layers (MLP outputs zero) without norms' nonlinearity being touched: direct effects add up."""
    lm = model("gpt2")
    base = prompts(lm, 1, (6,), ((1, 3),))
    base = replace(base, ids=base.ids[:1], mask=base.mask[:1])
    found = sweep_cells(
        lm,
        base,
        [(Patch(site="resid_post", layer=lm.n_layers - 1, op="zero"),)],
        tokens=TOKENS[0],
    )
    head, norm = lm.model.lm_head, lm.model.transformer.ln_f
    by_hand = float((head.weight @ norm.bias)[TOKENS[0]])  # a stream of zeros leaves the norm's bias
    np.testing.assert_allclose(found.base + found.effects[0], by_hand, atol=1e-4)


def test_rotary_is_found_where_it_is():
    assert {n: bool(rotary_layers(model(n))) for n in ("gpt2", "opt", "llama", "gpt_neox", "phi", "deepseek_v3")} == {
        "gpt2": False,
        "opt": False,
        "llama": True,
        "gpt_neox": True,
        "phi": True,
        "deepseek_v3": True,
    }
