"""The unembedding head: everything between the last block and the logits, discovered by pushing vectors through it.

    logits = cap( scale * (lm_head( m_2 * norm( m_1 * resid ) )) )       cap(y) = c tanh(y / c), where there is one

Which modules stand there is seen by following the residual stream from the last block to the output embedding (each one's
input has to be the one before's output, up to a number m). Scale and soft-cap are found by writing known numbers in the
place of the head's output; kind, gain and bias of the final norm by pushing vectors through it (Gemma's 1 + w needs no
table). All of it is then proven against the model's own logits on other inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemoscope.errors import PromptError, UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.norm import FinalNorm, norm_facts
from mnemoscope.model.seams import block_seam, module_seam


@dataclass(frozen=True, kw_only=True)
class Step:
    """One module on the way from the last block to the logits: what goes in is `multiplier` times what came before."""

    name: str
    module: nn.Module
    multiplier: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Unembedding:
    """What turns the residual stream after the last block into logits.

    steps   modules before the output embedding (the final norm; rarely a projection), in order
    head    the output embedding
    norm    facts about the first step if it is a norm; None where the model has no final norm
    scale   logits per unit of the head's output
    softcap c in c tanh(y / c); None where logits are not capped
    error   largest |rebuilt - model's own| logit over the proof's tokens, relative to the largest logit
    reason  why there is none; "" if there is
    """

    steps: tuple[Step, ...] = ()
    head: Step | None = None
    norm: FinalNorm | None = None
    scale: float = 1.0
    softcap: float | None = None
    error: float = float("nan")
    reason: str = ""


def unembedding(lm: LM) -> Unembedding:
    """The head of a model; `reason` says why where it is not understood. Found once per LM."""
    return lm.once("unembedding", lambda: _found(lm))


def final_norm(lm: LM) -> FinalNorm | None:
    """Facts about the norm before the output embedding; None if there is none. Raises where the head is not understood."""
    return _understood(lm).norm


def unembed(
    lm: LM, resid: Float[Tensor, "*batch d_model"], tokens: Int[Tensor, " token"] | None = None
) -> Float[Tensor, "*batch token"]:
    """Logits of a residual stream as if it stood after the last block, for all tokens or only the asked ones.

    The model's own modules compute them; asked tokens cost rows of W_U, not the vocabulary. Units: logits, capped where
    the model caps. Raises UnsupportedError where the head is not understood.
    """
    head = _understood(lm)
    return _capped(head, _capless(lm, head, _normed(head, resid), tokens))


def normed(lm: LM, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_head_in"]:
    """The stream as the output embedding reads it: after the final norm (and projection, where there is one)."""
    return _normed(_understood(lm), resid)


def capped(lm: LM, logits: Float[Tensor, "*batch token"]) -> Float[Tensor, "*batch token"]:
    """The soft-cap of the model; the logits themselves where it has none."""
    return _capped(_understood(lm), logits)


def _normed(head: Unembedding, resid: Tensor) -> Tensor:
    assert head.head is not None
    for step in head.steps:
        resid = _first(step.module(resid * step.multiplier if step.multiplier != 1 else resid))
    return resid * head.head.multiplier if head.head.multiplier != 1 else resid


def _capped(head: Unembedding, logits: Tensor) -> Tensor:
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def _capless(lm: LM, head: Unembedding, x: Tensor, tokens: Tensor | None) -> Tensor:
    assert head.head is not None
    module: Any = head.head.module
    if tokens is None:
        return module(x)[..., : lm.d_vocab] * head.scale
    foreign = tokens[(tokens < 0) | (tokens >= lm.d_vocab)]
    if foreign.numel():
        raise PromptError(
            "tokens outside the vocabulary", found=str(foreign.tolist()[:8]), allowed=f"0 to {lm.d_vocab - 1}"
        )
    if not isinstance(module, nn.Linear) or type(module).forward is not nn.Linear.forward:
        return module(x)[..., tokens] * head.scale
    bias = None if module.bias is None else module.bias[tokens]
    return nn.functional.linear(x, module.weight[tokens], bias) * head.scale


def _understood(lm: LM) -> Unembedding:
    head = unembedding(lm)
    if head.reason:
        raise UnsupportedError(f"the unembedding of {lm.name} is not understood", found=head.reason)
    return head


@dataclass(kw_only=True)
class _Run:
    """One forward pass, seen from the last block on."""

    resid: Tensor | None = None
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    order: list[str]
    logits: Tensor


def _found(lm: LM) -> Unembedding:
    head_module = lm.model.get_output_embeddings()
    if not isinstance(head_module, nn.Module):
        return Unembedding(reason="the model names no output embedding")
    try:
        run = _observed(lm, seed=0)
        names = {module: name for name, module in _outside(lm).items()}
        steps = _steps(run, _outside(lm), names[head_module])
        if isinstance(steps, str):
            return Unembedding(reason=steps)
        *before, head = steps
        curve = _scale_and_cap(lm, names[head_module], run)
        if isinstance(curve, str):
            return Unembedding(reason=curve)
        norm = norm_facts(before[0].module, before[0].name, lm.d_model, lm.dtype) if before else None
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        return Unembedding(reason=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return _proven(lm, Unembedding(steps=tuple(before), head=head, norm=norm, scale=curve[0], softcap=curve[1]))


def _outside(lm: LM) -> Mapping[str, nn.Module]:
    """Every module that is neither a block nor inside one."""
    inside = {module for block in lm.blocks for module in block.modules()}
    return {name: module for name, module in lm.model.named_modules() if name and module not in inside}


@torch.no_grad()
def _observed(lm: LM, seed: int) -> _Run:
    """Inputs and outputs of the modules that start after the last block, in order."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    order: list[str] = []
    last: list[Tensor] = []

    def after_block(layer: int, resid: Tensor) -> None:
        if layer == lm.n_layers - 1:
            last.append(resid)

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if last and given is not None:
            inputs[name] = given
            order.append(name)

    def after(name: str, output: Any) -> None:
        if name in inputs and isinstance(_first(output), Tensor):
            outputs[name] = _first(output)

    ids = torch.randint(0, lm.d_vocab, (2, 5), generator=torch.Generator().manual_seed(seed)).to(lm.device)
    with block_seam(lm.blocks, after=after_block), module_seam(_outside(lm), before=before, after=after):
        logits = lm.model(input_ids=ids, use_cache=False).logits
    if not last:
        raise ValueError("the last block gave nothing")
    return _Run(resid=last[-1], inputs=inputs, outputs=outputs, order=order, logits=logits)


def _steps(run: _Run, modules: Mapping[str, nn.Module], head: str) -> list[Step] | str:
    """From the last block to the head, module by module; the reason where the trail is lost."""
    assert run.resid is not None
    current, steps = run.resid, list[Step]()
    if current.ndim != 3 or tuple(current.shape[:2]) != tuple(run.logits.shape[:2]):
        return f"the stream has the shape {tuple(current.shape)}, not [batch, pos, d_model]"
    if head not in run.inputs:
        return "its output embedding is not called after the last block"
    for name in run.order:
        if name not in run.outputs:
            continue
        factor = _multiple(run.inputs[name], current)
        if factor is None:
            continue
        steps.append(Step(name=name, module=modules[name], multiplier=factor))
        if name == head:
            return steps
        current = run.outputs[name]
    return f"the stream is lost between the last block and {head} (after {', '.join(s.name for s in steps) or 'it'})"


def _multiple(given: Tensor, current: Tensor) -> float | None:
    """The number m with given = m * current, or None; 1 exactly where the two are the same."""
    if given.shape != current.shape:
        return None
    if given is current or torch.equal(given, current):
        return 1.0
    a, b = given.double(), current.double()
    factor = float((a * b).sum() / (b * b).sum())
    factor = rounded(factor, current.dtype)
    close = float((a - factor * b).norm()) <= 8 * torch.finfo(current.dtype).eps * float(a.norm())
    return factor if close and factor != 0 else None


@torch.no_grad()
def _scale_and_cap(lm: LM, head: str, run: _Run) -> tuple[float, float | None] | str:
    """What becomes of the head's output on its way to the logits, by writing numbers in its place."""
    shape, dtype = run.outputs[head].shape, run.outputs[head].dtype
    grid = torch.linspace(-1, 1, shape[-1], dtype=torch.float64)

    def sent(amplitude: float) -> tuple[Tensor, Tensor]:
        value = (amplitude * grid).to(run.outputs[head]).expand(shape).contiguous()
        module = lm.model.get_submodule(head)
        ids = torch.zeros(run.resid.shape[:2] if run.resid is not None else (1, 1), dtype=torch.long, device=lm.device)
        with module_seam({head: module}, after=lambda name, output: value.clone()):
            logits = lm.model(input_ids=ids, use_cache=False).logits
        return value[0, 0, : lm.d_vocab].double().cpu(), logits[0, 0].double().cpu()

    tolerance = 16 * torch.finfo(dtype).eps
    y, out = sent(1e-3 if dtype == torch.float16 else 1e-6)  # far below any cap
    scale = float((y * out).sum() / (y * y).sum())
    scale = rounded(scale, dtype)
    y, out = sent(1e4)  # far above it
    if float((out - scale * y).norm()) <= tolerance * float(out.norm()):
        return scale, None
    cap = float(out.abs().max())
    y, out = sent(cap)
    rebuilt = cap * torch.tanh(scale * y / cap)
    if float((out - rebuilt).norm()) <= 4 * tolerance * float(out.norm()):
        return scale, cap
    return "its logits are neither a multiple of the output embedding nor a soft-cap of one"


@torch.no_grad()
def _proven(lm: LM, head: Unembedding) -> Unembedding:
    """The head with its largest error on other tokens, or with a reason where that is too large."""
    run = _observed(lm, seed=1)
    assert run.resid is not None
    rebuilt = _capped(head, _capless(lm, head, _normed(head, run.resid), None))
    error = float((rebuilt.double() - run.logits.double()).abs().max() / run.logits.double().abs().max())
    if error <= 32 * torch.finfo(lm.dtype).eps:
        return replace(head, error=error)
    return Unembedding(reason=f"rebuilt logits differ from the model's by {error:.1e} of the largest", error=error)


def rounded(number: float, dtype: torch.dtype) -> float:
    """A number found by least squares, as the model must have held it: 1 if it is that close, else a float32 number."""
    if abs(number - 1) <= 8 * torch.finfo(dtype).eps:
        return 1.0
    return float(torch.tensor(number, dtype=torch.float32)) if dtype == torch.float32 else number


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) and value else value
