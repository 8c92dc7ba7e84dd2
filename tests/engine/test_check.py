"""The check holds on every class it should hold on, refuses with reasons, and notices what is broken."""

import pytest
import torch

from mnemoscope.axes import CAPABILITIES
from mnemoscope.engine.check import check
from mnemoscope.model.lm import view
from mnemoscope.model.tiny import TWELVE, tiny

NO_AFFINE_QK = ("qwen3", "gemma3_text", "olmo2", "deepseek_v3")  # norms on q and k, latent attention


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float32) for name in TWELVE), ("olmo2", torch.bfloat16), ("gpt_oss", torch.bfloat16)],
)
def test_the_twelve(name: str, dtype: torch.dtype) -> None:
    report = check(view(tiny(name, dtype=dtype), name=name))
    assert report.ok, report.table()
    assert tuple(report.capabilities) == CAPABILITIES
    for capability, verdict in report.capabilities.items():
        partly = capability == "weights" and name in NO_AFFINE_QK
        assert verdict.verdict == ("partly" if partly else "yes"), f"{capability} {verdict}"
        assert bool(verdict.reason) == partly
    errors = {line.identity: line.error for line in report.lines}
    assert errors["seams idle = the model's own logits"] == 0
    assert errors["body alone = body inside the model"] == 0
    assert all(line.identity in report.table() for line in report.lines)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_pretrained_model(stories, dtype: str) -> None:
    from mnemoscope.model.load import load

    report = check(load(str(stories), dtype=dtype))
    assert report.ok, report.table()
    assert {str(verdict) for verdict in report.capabilities.values()} == {"yes"}
    assert report.floor <= 1e-4 or dtype == "bfloat16"


@pytest.mark.parametrize(
    ("name", "capability", "verdict", "reason"),
    [
        ("openai-gpt", "decompose", "no", "post-layer-norm"),
        ("diffllama", "decompose", "partly", "heads not told apart"),
        ("diffllama", "patch-slow", "partly", "no z, q, k, v: the attention of this block is called 2 times"),
        ("bloom", "record", "partly", "residual sites only"),
        ("deepseek_v3", "weights", "partly", "no W_Q, W_K, W_V"),
    ],
)
def test_refusals_are_verdicts_with_reasons(name: str, capability: str, verdict: str, reason: str) -> None:
    report = check(view(tiny(name), name=name))
    found = report.capabilities[capability]
    assert found.verdict == verdict, str(found)
    assert reason in found.reason
    assert report.ok, report.table()


@pytest.mark.slow
def test_a_model_that_is_another_one_every_time_is_not_ok() -> None:
    model = tiny("gpt2")
    lm = view(model)
    model.transformer.h[1].mlp.register_forward_hook(lambda m, a, out: out + torch.randn_like(out))
    report = check(lm)
    assert not report.ok
    assert not next(line for line in report.lines if line.identity == "the same call twice").ok


def test_a_model_that_cannot_be_run_is_a_report_too() -> None:
    model = tiny("gpt2")
    lm = view(model)

    def broken(module, args):
        raise RuntimeError("out of order")

    model.transformer.h[0].register_forward_pre_hook(broken)
    report = check(lm)
    assert not report.ok
    assert {verdict.verdict for verdict in report.capabilities.values()} == {"no"}
    assert "out of order" in report.capabilities["record"].reason
