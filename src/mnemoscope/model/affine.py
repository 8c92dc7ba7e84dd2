"""The affine maps of an attention module, found by pushing the identity through it.

The attention module of a block is called with d_model one-token texts whose inputs are the rows of the identity, and the
seam shows the q, k and v that come of them; z in the place of the attention function's output gives what the module makes
of it. So fused, interleaved, transposed and quantised weights need no table. A text of one token stands at position 0,
where rotary does nothing. Each map is proven on random inputs, pushed one at a time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, attention_seam, module_seam

_ROWS = 1024  # texts pushed at once
_LARGE = 2.0**10  # a power of two: multiplying by it rounds nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine:
    """y = x W + b per head, proven on random inputs; `reason` says why it is not so.

    W [head d_in d_out] and b [head d_out], or [1 d_out] where all heads share it; error: largest relative error over random inputs.
    """

    W: Float[Tensor, "head d_in d_out"]
    b: Float[Tensor, "head_or_1 d_out"]
    error: float
    reason: str = ""


def attention_map(lm: LM, layer: int, name: str) -> Affine:
    """One of W_Q W_K W_V W_O of a layer, with its bias, its error and the reason where it does not exist."""
    if lm.attentions[layer] is None:
        return _absent("the block has no attention on the attention interface")
    if lm.structure.calls[layer] != 1:
        return _absent(f"its attention is called {lm.structure.calls[layer]} times per forward")
    try:
        if name == "W_O":
            return _output(lm, layer)
        return _projection(lm, layer, {"W_Q": "query", "W_K": "key", "W_V": "value"}[name])
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
        return _absent(
            f"its attention cannot be called by itself: {type(error).__name__}: {str(error).splitlines()[0]}"
        )


def _absent(reason: str) -> Affine:
    return Affine(W=torch.zeros(0, 0, 0), b=torch.zeros(0, 0), error=float("nan"), reason=reason)


class _Enough(Exception):
    """What was wanted has been seen; the rest of the forward pass is not needed."""


@dataclass(frozen=True, kw_only=True)
class _Module:
    """An attention module and the arguments it got for a text of one token."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    given: Tensor  # the argument that is the stream

    def __call__(self, x: Float[Tensor, "row d_model"]) -> Any:
        """Call it on texts of one token each, whose inputs are the rows of x."""
        stream = x.to(self.given)[:, None, :]
        args = tuple(stream if value is self.given else value for value in self.args)
        kwargs = {name: stream if value is self.given else value for name, value in self.kwargs.items()}
        return self.module(*args, **kwargs)


@torch.no_grad()
def _called(lm: LM, layer: int) -> _Module:
    module = lm.attentions[layer]
    assert module is not None
    seen: list[_Module] = []

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        wide = (1, 1, lm.d_model)
        values = (*args, *kwargs.values())
        given = [value for value in values if isinstance(value, Tensor) and tuple(value.shape) == wide]
        if not given:
            raise ValueError("none of its arguments is as wide as the stream")
        seen.append(_Module(module=module, args=args, kwargs=kwargs, given=given[0]))
        raise _Enough

    try:
        with module_seam({"attention": module}, before=before):
            lm.model(input_ids=torch.ones((1, 1), dtype=torch.long, device=lm.device), use_cache=False)
    except _Enough:
        pass
    return seen[0]


@torch.no_grad()
def _projection(lm: LM, layer: int, which: str) -> Affine:
    """q, k or v as a function of the attention module's input."""
    call = _called(lm, layer)
    assert lm.attentions[layer] is not None

    def mapped(x: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def handler(attention: AttentionCall) -> Any:
            seen.append(getattr(attention, which))
            raise _Enough

        try:
            with attention_seam({call.module: layer}, handler):
                call(x)
        except _Enough:
            pass
        return rearrange(seen[0], "row head 1 d_out -> row head d_out")

    return _affine(mapped, lm.d_model, lm, "its input")


@torch.no_grad()
def _output(lm: LM, layer: int) -> Affine:
    """The attention module's output as a function of z, at two inputs of the module: a gate makes them differ."""
    call, shape = _called(lm, layer), lm.shapes[layer]
    assert shape is not None
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(2, lm.d_model, generator=generator)

    def at(x: Tensor) -> Callable[[Tensor], Tensor]:
        def mapped(z: Tensor) -> Tensor:
            heads = rearrange(z, "row (head d_head) -> row 1 head d_head", head=shape.n_heads).to(call.given)
            with attention_seam({call.module: layer}, lambda _: (heads.contiguous(), None)):
                out = call(x.expand(len(z), -1))
            out = out[0] if isinstance(out, tuple) else out
            return out.reshape(len(z), 1, lm.d_model)

        return mapped

    width = shape.n_heads * shape.d_value
    first, second = (_affine(at(x[None]), width, lm, "z") for x in inputs)
    if first.reason or second.reason:
        return first if first.reason else second
    if _apart(first.W, second.W) > 64 * torch.finfo(lm.dtype).eps:
        return _absent("its output is gated by the attention module's input")
    W = rearrange(first.W, "1 (head d_head) d_model -> head d_head d_model", head=shape.n_heads)
    return Affine(W=W, b=first.b, error=first.error)


def _affine(mapped: Callable[[Tensor], Tensor], d_in: int, lm: LM, of_what: str) -> Affine:
    """The affine map [row d_in] -> [row head d_out], from the images of 0 and of multiples of the identity's rows.

    The multiple (a power of two) is large, and grows until the bias is no larger than what is added to it: a bias of 100 beside
    weights of 0.02, as real models have it, would otherwise leave rounding in the place of the weights.
    """
    b = mapped(torch.zeros(1, d_in))[0]
    size, W = _LARGE, _pushed(mapped, b, d_in, _LARGE)
    if float(W.abs().max()) == 0:
        return _absent(f"it does not depend on {of_what}: it comes from elsewhere")
    for _ in range(3):
        wanted = 2.0 ** math.ceil(math.log2(max(1e-30, float(b.abs().max()) / _rms(W))))
        if wanted <= size or lm.dtype == torch.float16:
            break
        size = min(wanted, 2.0**20)
        W = _pushed(mapped, b, d_in, size)
    worst = max(_misfit(mapped, W, b, size * factor) for factor in (1 / size, 0.5, 1.0, 4.0))
    if worst > 64 * torch.finfo(lm.dtype).eps:
        return _absent(f"it is not an affine function of {of_what}")
    return Affine(W=W, b=b, error=worst)


def _pushed(mapped: Callable[[Tensor], Tensor], b: Tensor, d_in: int, size: float) -> Tensor:
    images = torch.cat([mapped(size * rows) for rows in torch.eye(d_in).split(_ROWS)])
    return rearrange((images - b) / size, "d_in head d_out -> head d_in d_out")


def _misfit(mapped: Callable[[Tensor], Tensor], W: Tensor, b: Tensor, size: float) -> float:
    """Relative error of x W on a random text, pushed alone: nothing may depend on the company it is in."""
    x = size * torch.randn(1, W.shape[1], generator=torch.Generator().manual_seed(1))
    x = x.to(b.dtype).to(b.device)
    change, image = torch.einsum("i,hio->ho", x[0].double(), W.double()), mapped(x)[0].double()
    if size > 1:  # large enough for the weights to be seen beside the bias
        return _apart(change, image - b.double())
    return _apart(change + b.double(), image)


def _rms(W: Tensor) -> float:
    return float(W.double().square().mean().sqrt())


def _apart(found: Tensor, true: Tensor) -> float:
    """Relative distance of two tensors, Euclidean."""
    return float((found.double() - true.double()).norm() / true.double().norm().clamp_min(1e-300))
