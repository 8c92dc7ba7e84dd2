"""What a block adds is found whatever the architecture and the weights; what has no such sum is refused."""

import pytest
import torch

from mnemoscope.model.lm import view
from mnemoscope.model.parts import block_parts
from mnemoscope.model.probe import BlockRun, probe, probe_ids
from mnemoscope.model.tiny import TWELVE, tiny

POST_NORM = ("gemma2", "gemma3_text", "olmo2")
PARALLEL = ("gpt_neox", "phi")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TWELVE)
def test_two_writers_of_coefficient_one_and_a_projection(name: str, dtype: torch.dtype) -> None:
    lm = view(tiny(name, dtype=dtype), name=name)
    for part in block_parts(lm):
        assert (part.reason, part.o_proj_reason, part.others, part.residual) == ("", "", (), 1.0)
        assert part.attn is not None
        assert part.attn.coefficient == 1.0
        assert part.mlp is not None
        assert part.mlp.coefficient == 1.0
        assert part.parallel == (name in PARALLEL)
        assert part.o_proj is not None
        assert (part.o_proj.post is not None) == (name in POST_NORM)
        assert part.error <= 4 * torch.finfo(dtype).eps


def test_silencing_a_writer_takes_exactly_its_output_from_the_stream() -> None:
    lm = view(tiny("phi"))
    parts = block_parts(lm)
    ids = probe_ids(lm, 2, 6, seed=11)
    whole: dict[int, BlockRun] = {}
    silent: dict[int, BlockRun] = {}
    probe(lm, ids, lambda run: whole.__setitem__(run.layer, run))
    mlps = [part.mlp.name for part in parts if part.mlp]
    probe(
        lm,
        ids,
        lambda run: silent.__setitem__(run.layer, run),
        resid=lambda layer, _: whole[layer].resid_in,
        change=lambda layer, name, output: output * 0 if name == mlps[layer] else None,
    )
    for layer, run in whole.items():
        expected = run.resid_out - run.outputs[mlps[layer]].reshape(run.resid_in.shape)
        torch.testing.assert_close(silent[layer].resid_out, expected, atol=1e-5, rtol=1e-5)


def test_writers_are_found_where_heads_and_mlps_have_no_weights() -> None:
    model = tiny("llama")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.zero_()
    for part in block_parts(view(model)):
        assert part.attn is not None
        assert part.attn.name == "self_attn"
        assert part.mlp is not None
        assert part.mlp.name == "mlp"
        assert part.o_proj is not None
        assert not part.parallel


def test_residual_multipliers_are_coefficients() -> None:
    for part in block_parts(view(tiny("granite", residual_multiplier=0.22))):
        assert part.residual == 1.0
        assert [writer.coefficient for writer in part.writers] == pytest.approx([0.22, 0.22], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "writers"),
    [("bloom", ["self_attention.dense", "mlp.dense_4h_to_h"]), ("mpt", ["resid_attn_dropout", "ffn.down_proj"])],
)
def test_modules_that_add_the_stream_themselves_are_looked_into(name: str, writers: list[str]) -> None:
    for part in block_parts(view(tiny(name))):
        assert [writer.name for writer in part.writers] == writers
        assert part.residual == 1.0


def test_post_layer_norm_blocks_are_refused() -> None:
    for part in block_parts(view(tiny("openai-gpt"))):
        assert part.writers == ()
        assert "post-layer-norm" in part.reason


def test_heads_that_subtract_from_each_other_are_not_separable() -> None:
    for part in block_parts(view(tiny("diffllama"))):
        assert part.o_proj is None
        assert "not separable" in part.o_proj_reason


@pytest.mark.parametrize("name", ["gpt2", "llama", "deepseek_v3"])
def test_the_pushed_matrix_is_the_stored_weight(name: str) -> None:
    lm = view(tiny(name))
    for part in block_parts(lm):
        assert part.o_proj is not None
        weight = part.o_proj.module.weight
        stored = weight if name == "gpt2" else weight.T
        torch.testing.assert_close(part.o_proj.matrix().flatten(0, 1), stored.detach(), atol=1e-6, rtol=1e-6)


def test_the_search_leaves_no_hook_behind() -> None:
    model = tiny("qwen3")
    block_parts(view(model))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
